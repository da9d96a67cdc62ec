import { deepEqual, equal, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { Completion } from './completion.ts'
import { Slots } from './slots.ts'

const BODIES = new URL('../../test/bodies/locks.js', import.meta.url)

function twoThreads(): {
  mine: Completion
  others: Completion
  table: Slots
  slots: Int32Array
  words: Int32Array
} {
  const slots = sharedWords(Slots.words(4))
  const table = new Slots(slots)
  const words = sharedWords(16)
  const mine = new Completion(table.attach(testOracle(1)), words, 0)
  const others = new Completion(table.attach(testOracle(2)), words, 0)
  return { mine, others, table, slots, words }
}

test('each complete lets one through, also one that comes later', () => {
  const { mine, others } = twoThreads()

  equal(mine.tryWait(), false)
  others.complete()
  others.complete()
  equal(mine.isDone(), true)
  mine.wait()
  equal(mine.tryWait(), true)

  equal(mine.tryWait(), false)
  equal(mine.isDone(), false)
})

test('completeAll lets everybody through until reinit', () => {
  const { mine, others } = twoThreads()

  others.completeAll()
  others.complete()
  for (let i = 0; i < 3; i++) mine.wait()
  others.reinit()

  equal(mine.tryWait(), false)
})

test('completions beyond all counting stay for everybody', () => {
  const { mine, others, words } = twoThreads()
  words[0] = 0x7ffffe00 // one below everybody

  others.complete()
  others.complete()

  equal(mine.tryWait(), true)
  equal(others.isDone(), true)
})

test('complete wakes one sleeping thread, completeAll the rest', async () => {
  const { others, slots, words } = twoThreads()
  const threads = [3, 4].map(tid => new TestThread(BODIES, 'waitOnce', { slots, words, tid }))
  await until('both are about to sleep', () => words[8] === 2)

  others.complete()
  await Promise.race(threads.map(thread => thread.result))
  equal(words[9], 1)
  others.completeAll()
  await Promise.all(threads.map(thread => thread.result))

  equal(words[9], 2)
})

test('operations of an event loop wait in turn', async () => {
  const { mine, others } = twoThreads()
  const order: number[] = []

  const waits = [1, 2, 3].map(n => mine.waitAsync().then(() => order.push(n)))
  others.complete()
  others.complete()
  others.complete()
  await Promise.all(waits)

  deepEqual(order, [1, 2, 3])
})

test('an operation that gives up leaves its wake-up to another', async () => {
  const { mine, others } = twoThreads()
  const abort = new AbortController()

  const first = mine.waitAsync({ signal: abort.signal })
  const second = others.waitAsync()
  abort.abort(new Error('no'))
  mine.complete()

  await rejects(first, /no/)
  await second
  equal(mine.isDone(), false)
})

test('waiting is limited by a timeout above 0', async () => {
  const { mine } = twoThreads()

  await rejects(mine.waitAsync({ timeoutMs: 3 }), {
    code: 'ETIMEDOUT',
    message: 'wait for completion: not granted within 3 ms (ETIMEDOUT)',
  })
  for (const timeoutMs of [0, -1, Number.NaN]) {
    await rejects(mine.waitAsync({ timeoutMs }), { code: 'EINVAL' })
  }
  await rejects(mine.waitAsync({ signal: AbortSignal.abort(new Error('no')) }), /no/)
})

test('who waits for a declared completer is told that it has died', async () => {
  const { mine, others, table } = twoThreads()
  table.register(mine)
  const dead = {
    code: 'EOWNERDEAD',
    message: 'wait for completion: slot 1, which was to complete it, is dead (EOWNERDEAD)',
  }

  others.expect()
  const waiting = mine.waitAsync()
  table.close(others.slot.index, others.slot.generation)
  await rejects(waiting, dead)
  throws(() => mine.wait(), dead)
  mine.complete()
  mine.wait()

  throws(() => mine.wait(), dead)
})

test('what a completer did before it died counts', () => {
  const { mine, others, table } = twoThreads()
  table.register(mine)

  others.expect()
  others.complete()
  table.close(others.slot.index, others.slot.generation)
  mine.wait()

  throws(() => mine.wait(), { code: 'EOWNERDEAD' })
  mine.reinit()
  equal(mine.tryWait(), false)
  mine.completeAll()
  mine.wait()
})

test('a completer that is killed wakes a sleeping thread with EOWNERDEAD', async () => {
  for (const isRegistered of [true, false]) {
    const { mine, table, slots, words } = twoThreads()
    if (isRegistered) table.register(mine)
    const completer = new TestThread(BODIES, 'expectForEver', { slots, words, tid: 3 })
    await until('the completer is declared', () => words[8] === 1)
    const sleeper = new TestThread(BODIES, 'waitOnce', { slots, words, tid: 4 })
    await until('the sleeper is about to sleep', () => words[8] === 2)

    await completer.kill()
    for (let i = 0; i < table.nrSlots; i++) table.reap(i, testOracle(1, [3]))

    await rejects(sleeper.result, { code: 'EOWNERDEAD' })
  }
})

test('a thread may not block on what it is to complete itself, or its operations wait for', async () => {
  const { mine, others } = twoThreads()

  mine.expect()
  throws(() => mine.wait(), { code: 'EDEADLK', message: /this thread itself is to complete it/ })
  mine.reinit()
  const waiting = mine.waitAsync()
  throws(() => mine.wait(), { code: 'EDEADLK' })

  others.complete()
  await waiting
})

test('a detached slot is refused by every call', async () => {
  const { mine } = twoThreads()
  mine.slot.detach()

  const gone = { code: 'EINVAL', message: /slot 0 is detached/ }
  for (const call of [
    () => mine.wait(),
    () => mine.tryWait(),
    () => mine.complete(),
    () => mine.completeAll(),
    () => mine.reinit(),
    () => mine.expect(),
    () => mine.isDone(),
  ]) {
    throws(call, gone)
  }
  await rejects(mine.waitAsync(), gone)
})
