import { equal, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { PERCPU_COUNT_MAX } from './percpu-count.ts'
import { PercpuRef } from './percpu-ref.ts'
import { Slots } from './slots.ts'

const BODIES = new URL('../../test/bodies/locks.js', import.meta.url)
const NR_SLOTS = 4

function twoThreads(): {
  mine: PercpuRef
  others: PercpuRef
  table: Slots
  slots: Int32Array
  words: Int32Array
} {
  const slots = sharedWords(Slots.words(NR_SLOTS))
  const table = new Slots(slots)
  const words = sharedWords(PercpuRef.words(NR_SLOTS))
  const mine = new PercpuRef(table.attach(testOracle(1)), words, 0)
  const others = new PercpuRef(table.attach(testOracle(2)), words, 0)
  return { mine, others, table, slots, words }
}

test('references are got until the kill, and the drain ends when all are put', async () => {
  const { mine, others } = twoThreads()

  equal(others.tryGet(), true)
  equal(others.isHeld(), true)
  equal(mine.kill(), true)
  equal(others.tryGet(), false)
  equal(mine.tryDrain(), false)
  const drained = mine.drainAsync()
  others.put()
  await drained
  mine.drain()

  equal(mine.tryDrain(), true)
  equal(others.isHeld(), false)
})

test('a second kill says so, and a revival takes a kill back', () => {
  const { mine, others } = twoThreads()

  equal(mine.revive(), false)
  equal(mine.kill(), true)
  equal(others.kill(), false)
  equal(others.isKilled(), true)
  equal(others.revive(), true)
  equal(mine.isKilled(), false)

  equal(mine.tryGet(), true)
  mine.put()
})

test('a drain needs a kill, and is told when it was revived', async () => {
  const { mine, others } = twoThreads()

  throws(() => mine.drain(), { code: 'EINVAL', message: 'drain ref: it is not killed (EINVAL)' })
  others.tryGet()
  mine.kill()
  const drained = mine.drainAsync()
  others.revive()
  others.kill()

  await rejects(drained, { code: 'EAGAIN' })
})

test('a reference can be put by another thread, in the name of the one that got it', () => {
  const { mine, others } = twoThreads()

  mine.tryGet()
  others.put(mine.slot.token)

  equal(mine.isHeld(), false)
  throws(() => others.put(mine.slot.token), {
    code: 'EPERM',
    message: 'put ref: slot 0 has no reference (EPERM)',
  })
  throws(() => others.put(), { code: 'EPERM' })
})

test('a put from another thread wakes the drain', async () => {
  const { mine, others, slots, words } = twoThreads()

  others.tryGet()
  mine.kill()
  const drainer = new TestThread(BODIES, 'drainOnce', { slots, words, tid: 3 })
  await until('the drainer is about to sleep', () => words[3] === 1)
  mine.put(others.slot.token)

  await drainer.result
})

test('threads that get and put while another kills and revives lose no count', async () => {
  const { mine, slots, words } = twoThreads()
  const data = { slots, words, rounds: 20_000 }

  const threads = [3, 4].map(tid => new TestThread(BODIES, 'getAndPut', { ...data, tid }))
  let nrDrains = 0
  const all = Promise.all(threads.map(thread => thread.result))
  let isOver = false
  void all.then(() => (isOver = true))
  while (!isOver) {
    mine.kill()
    await mine.drainAsync()
    equal(Atomics.load(words, 2), 0)
    nrDrains++
    mine.revive()
    await new Promise(setImmediate)
  }
  await all
  mine.kill()

  equal(mine.tryDrain(), true)
  equal(nrDrains > 0, true)
})

test('a reference of an operation ends with its block', () => {
  const { mine } = twoThreads()
  {
    using held = mine.tryAcquire()
    equal(held !== null && mine.isHeld(), true)
  }

  equal(mine.isHeld(), false)
  mine.kill()
  equal(mine.tryAcquire(), null)
})

test('the references of a dead thread count until it is gone from the machine', async () => {
  const { mine, others, table } = twoThreads()
  table.register(mine)

  others.tryGet()
  mine.kill()
  const drained = mine.drainAsync()
  table.close(others.slot.index, others.slot.generation)
  equal(mine.tryDrain(), false)
  mine.put(others.slot.token)
  equal(mine.tryDrain(), true)
  await drained
})

test('a drain ends when the slot of the dead is freed, told or not', async () => {
  for (const isRegistered of [true, false]) {
    const { mine, others, table } = twoThreads()
    if (isRegistered) table.register(mine)

    others.tryGet()
    mine.kill()
    const drained = mine.drainAsync()
    table.reap(others.slot.index, testOracle(1, [2]))

    await drained
  }
})

test('a thread that detaches with references keeps its slot', () => {
  const { mine, others, table } = twoThreads()

  others.tryGet()
  const { token } = others.slot
  others.slot.detach()
  mine.kill()

  equal(table.isFreed(token), false)
  equal(mine.tryDrain(), false)
})

test('a drain is limited by a timeout and an abort, and the kill can be taken back', async () => {
  const { mine, others } = twoThreads()

  others.tryGet()
  mine.kill()
  await rejects(mine.drainAsync({ timeoutMs: 3 }), { code: 'ETIMEDOUT' })
  const abort = new AbortController()
  const drained = mine.drainAsync({ signal: abort.signal })
  abort.abort(new Error('no'))
  await rejects(drained, /no/)
  for (const timeoutMs of [0, -1, Number.NaN]) {
    await rejects(mine.drainAsync({ timeoutMs }), { code: 'EINVAL' })
  }
  mine.revive()

  equal(others.tryGet(), true)
})

test('a thread with a reference may not block in a drain', () => {
  const { mine } = twoThreads()

  mine.tryGet()
  mine.kill()

  throws(() => mine.drain(), {
    code: 'EDEADLK',
    message: 'drain ref: this thread has a reference (EDEADLK)',
  })
})

test('a thread can have so many references and no more', () => {
  const { mine } = twoThreads()

  for (let i = 0; i < PERCPU_COUNT_MAX; i++) mine.tryGet()

  throws(() => mine.tryGet(), { code: 'EAGAIN' })
  for (let i = 0; i < PERCPU_COUNT_MAX; i++) mine.put()
  throws(() => mine.put(), { code: 'EPERM' })
})

test('a detached slot is refused by every call', async () => {
  const { mine, words } = twoThreads()
  const { slot } = mine
  slot.detach()

  const gone = { code: 'EINVAL', message: /slot 0 is detached/ }
  for (const call of [
    () => mine.tryGet(),
    () => mine.tryAcquire(),
    () => mine.put(),
    () => mine.kill(),
    () => mine.revive(),
    () => mine.isKilled(),
    () => mine.isHeld(),
    () => mine.drain(),
    () => mine.tryDrain(),
    () => new PercpuRef(slot, words, 0),
  ]) {
    throws(call, gone)
  }
  await rejects(mine.drainAsync(), gone)
})
