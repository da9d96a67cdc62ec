import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { bootMemory } from '../../test/bodies/collections.ts'
import {
  VIRTUAL_HIGH,
  VIRTUAL_LIVE,
  VIRTUAL_OWNER,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
} from '../mm/geometry.ts'
import { Candidates } from './candidates.ts'
import type { CollectionsContext } from './layout.ts'

const FULL = 1024

/** Says in the page table that a page is sealed, with so much live on it. */
function seal({ memory }: CollectionsContext, vpn: number, live: number): void {
  const { pageTable, events } = memory
  pageTable[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_OWNER] = VirtualKind.Entries
  pageTable[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_LIVE] = live
  pageTable[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = VirtualState.Sealed
  events[VIRTUAL_HIGH] = Math.max(events[VIRTUAL_HIGH]!, vpn + 1)
}

function free({ memory }: CollectionsContext, vpn: number): void {
  memory.pageTable[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = VirtualState.Free
}

/** Takes pages until there is none. */
function takeAll(candidates: Candidates, belowUnits: number): number[] {
  const taken: number[] = []
  for (let vpn = 0; vpn >= 0; ) {
    vpn = candidates.take(belowUnits)
    if (vpn >= 0) taken.push(vpn)
  }
  return taken
}

test('the pages with the least on them come first, and none with too much', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const candidates = new Candidates(context.pages)
  for (const [i, live] of [50, 10, 90, 30, 0].entries()) seal(context, i + 1, live)

  equal(candidates.take(60), -1)
  equal(candidates.look(60), 5)

  deepEqual(takeAll(candidates, 40), [5, 2, 4])
  deepEqual(takeAll(candidates, 60), [1])
})

test('a page that is gone, or another one by now, is not given out', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const candidates = new Candidates(context.pages)
  for (let vpn = 1; vpn <= 4; vpn++) seal(context, vpn, 10)
  candidates.look(FULL)

  free(context, 2)
  seal(context, 3, 900)

  deepEqual(takeAll(candidates, FULL), [1, 4])
})

test('without pages there is nothing to look at, and nothing to take', async () => {
  await using memory = await bootMemory(1)
  const candidates = new Candidates(memory.context.pages)

  deepEqual([candidates.look(FULL), candidates.take(FULL)], [1, -1])
})

test('one look after the other comes to every page', async () => {
  await using memory = await bootMemory(1, { pageSize: 4096, maxMemory: 1024 * 2 ** 20 })
  const { context } = memory
  const candidates = new Candidates(context.pages)
  const far = [1, 60_000, 70_000, 140_000, 200_000]
  for (const vpn of far) seal(context, vpn, 10)

  const found: number[] = []
  for (let nrPages = 0; nrPages < context.pages.end() - 1; ) {
    nrPages += candidates.look(FULL)
    found.push(...takeAll(candidates, FULL))
  }
  candidates.look(FULL)

  deepEqual(found, far)
  deepEqual(takeAll(candidates, FULL), [1, 60_000]) // and begins again
})

test('what compaction has filled is left alone until a tenth of it is garbage', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const candidates = new Candidates(context.pages)
  const isTaken = (live: number): boolean => {
    seal(context, 1, live)
    candidates.look(FULL)
    return candidates.take(FULL) === 1
  }
  candidates.notePacked(1, 500)

  deepEqual([500, 451, 449].map(isTaken), [false, false, true])
  candidates.notePacked(1, 500)
  free(context, 1)
  candidates.look(FULL)
  equal(isTaken(490), true) // it is another page
  candidates.notePacked(1, 500)
  equal(isTaken(501), true) // the same
})
