import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { type Ship, shipVerdict } from './ship.ts'

test('a ship is bad if a record is, unfinished if time was over, good only if all was done', () => {
  const done = { failed: 0, wrong: 0, lost: 0, readWaits: 0, originalsLeft: 0, isTimeOver: false }
  const some = { count: 1 }
  const ship = { ...done, voyages: 2, voyagesDone: 2, reads: some, writes: some } as Ship

  equal(shipVerdict(ship), 'good')
  equal(shipVerdict({ ...ship, voyagesDone: 1, isTimeOver: true }), 'unfinished')
  equal(shipVerdict({ ...ship, voyagesDone: 1, isTimeOver: true, lost: 1 }), 'bad')
  equal(shipVerdict({ ...ship, voyagesDone: 1 }), 'bad')
  equal(shipVerdict({ ...ship, originalsLeft: 1 }), 'bad')
  for (const what of ['failed', 'wrong', 'lost', 'readWaits']) {
    equal(shipVerdict({ ...ship, [what]: 1 }), 'bad', what)
  }
})
