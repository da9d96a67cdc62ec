import { equal, match, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { bootSmall } from '../../test/bodies/blocks.ts'
import { type HistoryData, notLinearizable, type Recorded } from '../../test/bodies/history.ts'
import { sharedWords, TestThread } from '../../test/thread.ts'

const BODIES = new URL('../../test/bodies/history.js', import.meta.url)
const NR_THREADS = 4
const NR_OPERATIONS = 2500
const KEYS = ['a', 'b', 'c']

/** As one thread records it. */
function op(
  [thread, start, end]: readonly [number, number, number],
  kind: Recorded['kind'],
  saw: Recorded['saw'] = null,
  wrote: string | null = null,
): Recorded {
  return { thread, key: 'k', kind, wrote, saw, start, end }
}

test('what threads do to keys while blocks are moved is linearizable', async t => {
  const machine = await bootSmall(t, { memory: '16MiB' })
  const { memory, handle } = machine
  const words = sharedWords(3)
  words[2] = NR_THREADS
  let nrRunning = NR_THREADS
  const threads = Array.from({ length: NR_THREADS }, (_, thread) => {
    const nrOperations = NR_OPERATIONS
    const data: HistoryData = { handle, thread, seed: thread, keys: KEYS, nrOperations, words }
    return new TestThread(BODIES, 'recordHistory', data)
  })
  const recorded = Promise.all(
    threads.map(async thread => {
      const history = (await thread.result) as Recorded[]
      nrRunning--
      return history
    }),
  )
  recorded.catch(() => (nrRunning = 0))
  let nrMoved = 0
  for (let turn = 0; nrRunning > 0; turn++) {
    const block = 1 + (turn % 3)
    nrMoved += (await memory.offline(block)).pagesMoved
    await memory.online(block, 'online_movable')
  }
  const history = (await recorded).flat()

  equal(history.length, NR_THREADS * NR_OPERATIONS)
  equal(notLinearizable(history), '')
  ok(nrMoved > 0)
})

test('histories that a variable can have are accepted', () => {
  const set = op([0, 0, 5], 'set', null, 'x')

  equal(notLinearizable([]), '')
  equal(notLinearizable([set, op([1, 1, 2], 'get', null), op([1, 3, 4], 'get', 'x')]), '')
  equal(notLinearizable([set, op([1, 1, 2], 'get', 'x'), op([1, 3, 4], 'has', true)]), '')
  equal(
    notLinearizable([set, op([1, 1, 6], 'update', 'x', 'y'), op([2, 2, 7], 'delete', true)]),
    '',
  )
  equal(notLinearizable([op([0, 0, 3], 'getOrSet', 'y', 'x'), op([1, 1, 2], 'set', null, 'y')]), '')
})

test('histories that no variable can have are rejected, with their operations', () => {
  const set = op([0, 0, 5], 'set', null, 'x')
  const wrong: Recorded[][] = [
    [set, op([1, 6, 7], 'get', null)],
    [set, op([1, 1, 2], 'get', 'x'), op([2, 3, 4], 'get', null)],
    [set, op([1, 6, 7], 'has', false)],
    [set, op([1, 6, 8], 'delete', true), op([2, 7, 9], 'delete', true)],
    [op([0, 0, 2], 'update', null, 'x'), op([1, 1, 3], 'update', null, 'y')],
    [op([0, 0, 2], 'getOrSet', null, 'x'), op([1, 1, 3], 'getOrSet', null, 'y')],
    [set, op([1, 6, 7], 'set', null, 'y'), op([2, 8, 9], 'getInto', 'x')],
  ]

  for (const history of wrong) match(notLinearizable(history), /^k: after \d operations it has/)
  const stale = notLinearizable(wrong[1]!)
  match(stale, /it has x, then\n {2}thread 2: get, wrote null, saw null, from 3 to 4$/)
})
