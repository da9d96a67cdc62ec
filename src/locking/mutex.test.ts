import { deepEqual, equal, notEqual, ok, rejects, throws } from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { Mutex } from './mutex.ts'
import { Slots, slotOfToken } from './slots.ts'

const BODIES = new URL('../../test/bodies/locks.js', import.meta.url)

function machine(nrSlots = 4): { slots: Int32Array; words: Int32Array; table: Slots } {
  const slots = sharedWords(Slots.words(nrSlots))
  return { slots, words: sharedWords(16), table: new Slots(slots) }
}

function twoThreads(): { mine: Mutex; others: Mutex; words: Int32Array; table: Slots } {
  const { words, table } = machine()
  const mine = new Mutex(table.attach(testOracle(1)), words, 0)
  const others = new Mutex(table.attach(testOracle(2)), words, 0)
  return { mine, others, words, table }
}

test('a mutex is free, then held, then free again', () => {
  const { mine, words } = twoThreads()

  equal(mine.isHeld(), false)
  equal(mine.lock(), false)
  equal(mine.isHeld(), true)
  mine.unlock()

  equal(mine.isHeld(), false)
  equal(words[0], 0)
})

test('four real threads count under a mutex without losing one', async () => {
  const { slots, words } = machine()
  const data = { slots, words, rounds: 20_000 }

  const threads = [1, 2, 3, 4].map(
    tid => new TestThread(BODIES, 'countUnderMutex', { ...data, tid }),
  )
  await Promise.all(threads.map(thread => thread.result))

  equal(words[1], 80_000)
  equal(words[0], 0)
})

test('operations of two event loops and a blocking thread exclude each other', async () => {
  const { slots, words } = machine()
  const data = { slots, words, rounds: 300 }

  const threads = ['countUnderMutexAsync', 'countUnderMutexAsync', 'countUnderMutex'].map(
    (name, i) => new TestThread(BODIES, name, { ...data, tid: i + 1 }),
  )
  await Promise.all(threads.map(thread => thread.result))

  equal(words[1], 300 * 3 * 2 + 300)
})

test('unlock is refused to who does not own the mutex, and changes nothing', () => {
  const { mine, others, words } = twoThreads()

  throws(() => mine.unlock(), { code: 'EPERM', message: 'unlock mutex: nobody has it (EPERM)' })
  mine.lock()
  throws(() => others.unlock(), { code: 'EPERM', message: 'unlock mutex: slot 0 has it (EPERM)' })
  ok(mine.isHeld())
  mine.unlock()
  throws(() => mine.unlock(), { code: 'EPERM' })

  equal(words[0], 0)
})

test('a thread that has the mutex may not block on it', () => {
  const { mine } = twoThreads()

  mine.lock()

  throws(() => mine.lock(), {
    code: 'EDEADLK',
    message: 'lock mutex: this thread has it already (EDEADLK)',
  })
  equal(mine.tryLock(), null)
  ok(mine.isHeld())
})

test('a thread whose operations have or await the mutex may not block on it', async () => {
  const { mine, others } = twoThreads()

  const held = await mine.lockAsync()
  throws(() => mine.lock(), { code: 'EDEADLK' })
  held.release()
  others.lock()
  const waiting = mine.lockAsync()
  throws(() => mine.lock(), {
    code: 'EDEADLK',
    message: 'lock mutex: an operation of this thread waits for it (EDEADLK)',
  })

  others.unlock()
  ;(await waiting).release()
  equal(mine.isHeld(), false)
})

test('a thread that others call back under the mutex takes it at once, or not by blocking', async () => {
  const { mine, others, table } = twoThreads()

  mine.callbacks.count++
  equal(mine.lock(), false)
  mine.unlock()
  others.lock()
  throws(() => mine.lock(), {
    code: 'EDEADLK',
    message: /a callback of this thread, .* await lockAsync\(\) instead \(EDEADLK\)$/,
  })
  equal(mine.tryLock(), null)
  const waiting = mine.lockAsync()
  others.unlock()
  ;(await waiting).release()

  others.lock()
  table.close(1, 0)
  equal(mine.lock(), true, 'whoever is dead asks nobody')
  mine.unlock()
  mine.callbacks.count--
  equal(mine.lock(), false)
})

test('tryLock takes a free mutex and says no to a held one', () => {
  const { mine, others, words } = twoThreads()

  const held = mine.tryLock()
  equal(others.tryLock(), null)
  held?.release()

  equal(words[0], 0)
  ok(others.tryLock())
})

test('unlock is refused while an operation of the thread has the mutex', async () => {
  const { mine } = twoThreads()

  const held = await mine.lockAsync()

  throws(() => mine.unlock(), { code: 'EPERM', message: /an operation of this thread has it/ })
  ok(mine.isHeld())
  held.release()
  equal(mine.isHeld(), false)
})

test('what an operation holds is released once, by a call or by the end of its block', async () => {
  const { mine, words } = twoThreads()

  const held = await mine.lockAsync()
  held.release()
  throws(() => held.release(), { code: 'EPERM' })
  held[Symbol.dispose]()
  {
    using _held = mine.acquire()
    ok(mine.isHeld())
  }

  equal(words[0], 0)
})

test('a Held that is released late does not release the next one', async () => {
  const { mine } = twoThreads()

  const first = await mine.lockAsync()
  first.release()
  const second = await mine.lockAsync()

  throws(() => first.release(), { code: 'EPERM' })
  ok(mine.isHeld())
  second.release()
})

test('operations of one event loop get the mutex in the order they asked', async () => {
  const { mine } = twoThreads()
  const order: number[] = []

  const first = await mine.lockAsync()
  const operations = [1, 2, 3].map(async n => {
    using _held = await mine.lockAsync()
    order.push(n)
  })
  first.release()
  await Promise.all(operations)

  deepEqual(order, [1, 2, 3])
})

test('an operation that gives up its turn does not let the next one overtake', async () => {
  const { mine, others } = twoThreads()
  const order: string[] = []
  const abort = new AbortController()

  others.lock()
  const first = mine.lockAsync().then(held => {
    order.push('first')
    return held
  })
  const second = mine.lockAsync({ signal: abort.signal })
  abort.abort(new Error('changed my mind'))
  await rejects(second, /changed my mind/)
  const third = mine.lockAsync().then(held => {
    order.push('third')
    held.release()
  })
  others.unlock()
  ;(await first).release()
  await third

  deepEqual(order, ['first', 'third'])
})

test('an aborted signal is refused at once with its own reason', async () => {
  const { mine, words } = twoThreads()
  const reason = new Error('no')

  await rejects(mine.lockAsync({ signal: AbortSignal.abort(reason) }), error => error === reason)

  equal(words[0], 0)
})

test('an abort before the grant rejects with the reason and leaves nothing held', async () => {
  const { mine, others, words } = twoThreads()
  const abort = new AbortController()
  const reason = { why: 'because' }

  others.lock()
  const waiting = mine.lockAsync({ signal: abort.signal, timeoutMs: 10_000 })
  abort.abort(reason)
  await rejects(waiting, error => error === reason)
  others.unlock()

  equal(getEventListeners(abort.signal, 'abort').length, 0)
  equal(words[0], 0)
})

test('an abort after the grant changes nothing', async () => {
  const { mine, others } = twoThreads()
  const abort = new AbortController()

  const held = await mine.lockAsync({ signal: abort.signal })
  abort.abort()

  ok(mine.isHeld())
  equal(others.tryLock(), null)
  held.release()
  equal(getEventListeners(abort.signal, 'abort').length, 0)
})

test('an operation that gives up passes on a wake-up that it swallowed', async () => {
  const { slots, words, table } = machine()
  const mine = new Mutex(table.attach(testOracle(1)), words, 0)
  const others = new Mutex(table.attach(testOracle(2)), words, 0)
  const abort = new AbortController()
  others.lock()
  const waiting = mine.lockAsync({ signal: abort.signal })
  const thread = new TestThread(BODIES, 'lockOnce', { slots, words, tid: 3 })
  await until('both threads have a slot', () => table.tokenAt(2) !== 0)

  abort.abort(new Error('gone'))
  others.unlock() // wakes the operation that no longer wants it

  await rejects(waiting, /gone/)
  equal(await thread.result, false)
})

test('a lock that is not granted in time is ETIMEDOUT, and nothing is held', async () => {
  const { mine, others, words } = twoThreads()

  others.lock()
  await rejects(mine.lockAsync({ timeoutMs: 5 }), {
    code: 'ETIMEDOUT',
    message: 'lock mutex: not granted within 5 ms (ETIMEDOUT)',
  })
  others.unlock()

  equal(words[0], 0)
})

test('a timeout that is not above 0 is refused', async () => {
  const { mine, words } = twoThreads()

  for (const timeoutMs of [0, -1, Number.NaN]) {
    await rejects(mine.lockAsync({ timeoutMs }), {
      code: 'EINVAL',
      message: `lock mutex: timeoutMs is ${timeoutMs}, not more than 0 (EINVAL)`,
    })
  }

  equal(words[0], 0)
})

test('whoever takes over from a dead owner is told, once', () => {
  const { mine, others, table } = twoThreads()

  others.lock()
  table.close(others.slot.index, others.slot.generation)

  equal(mine.lock(), true)
  mine.unlock()
  equal(mine.lock(), false)
})

test('a Held says whether the last owner died', async () => {
  const { mine, others, table } = twoThreads()

  others.lock()
  table.close(others.slot.index, others.slot.generation)
  const first = await mine.lockAsync()
  first.release()
  const second = mine.acquire()

  equal(first.ownerDied, true)
  equal(second.ownerDied, false)
})

test('a sleeper takes over when its owner is killed, reaped or not', async () => {
  for (const isRegistered of [true, false]) {
    const { slots, words, table } = machine()
    if (isRegistered) table.register(new Mutex(table.attach(testOracle(1)), words, 0))
    const owner = new TestThread(BODIES, 'lockForEver', { slots, words, tid: 2 })
    await until('the owner has the mutex', () => words[1] === 1)
    const sleeper = new TestThread(BODIES, 'lockOnce', { slots, words, tid: 3 })
    await until('the sleeper said so', () => ((words[0] as number) & 1) === 1)

    await owner.kill()
    for (let i = 0; i < table.nrSlots; i++) table.reap(i, testOracle(1, [2]))

    equal(await sleeper.result, true)
  }
})

test('a wake-up that dies with its sleeper does not keep the next one asleep', async () => {
  for (let round = 0; round < 5; round++) {
    const { slots, words, table } = machine()
    const mutex = new Mutex(table.attach(testOracle(1)), words, 0)
    table.register(mutex)
    mutex.lock()
    const first = new TestThread(BODIES, 'lockOnce', { slots, words, tid: 2 })
    await until('the first sleeps', () => ((words[0] as number) & 1) === 1)
    const second = new TestThread(BODIES, 'lockOnce', { slots, words, tid: 3 })
    await until('the second comes', () => table.tokenAt(2) !== 0)

    const killed = first.kill()
    mutex.unlock() // wakes the first, which is about to die
    await killed
    for (let i = 0; i < table.nrSlots; i++) table.reap(i, testOracle(1, [2]))

    equal(typeof (await second.result), 'boolean')
  }
})

test('a detached slot is refused by every call', async () => {
  const { mine, words } = twoThreads()
  const held = mine.acquire()
  mine.slot.detach()

  const gone = { code: 'EINVAL', message: /slot 0 is detached/ }
  throws(() => mine.lock(), gone)
  throws(() => mine.tryLock(), gone)
  throws(() => mine.acquire(), gone)
  throws(() => mine.unlock(), gone)
  throws(() => mine.isHeld(), gone)
  throws(() => held.release(), gone)
  await rejects(mine.lockAsync(), gone)
  throws(() => mine.slot.detach(), gone)
  notEqual(words[0], 0)
})

test('an operation that waits while its slot is detached is refused', async () => {
  const { mine, others, words } = twoThreads()

  others.lock()
  const waiting = mine.lockAsync()
  mine.slot.detach()
  await rejects(waiting, { code: 'EINVAL' })
  others.unlock()

  equal(slotOfToken((words[0] as number) >>> 2), -1)
})

test('memory that is not shared, not words, or too small is refused', () => {
  const { table } = machine()
  const slot = table.attach(testOracle(1))

  throws(() => new Mutex(slot, new Int32Array(4), 0), {
    code: 'EINVAL',
    message: 'make mutex: its memory is not shared (EINVAL)',
  })
  throws(() => new Mutex(slot, sharedWords(4), 4), { code: 'EINVAL' })
  throws(() => new Mutex(slot, sharedWords(4), 0.5), { code: 'EINVAL' })
  throws(() => new Mutex(slot, new Uint8Array(4) as unknown as Int32Array, 0), { code: 'EINVAL' })
})
