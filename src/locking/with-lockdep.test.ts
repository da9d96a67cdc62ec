import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { LOCKDEP_WORDS, takeInOrder, type WatchedData } from '../../test/bodies/lockdep.ts'
import { testOracle } from '../../test/bodies/locks.ts'
import { killAtEach } from '../../test/kill.ts'
import { sharedWords, TestThread } from '../../test/thread.ts'
import { Completion } from './completion.ts'
import { Guard } from './guard.ts'
import { Lockdep } from './lockdep.ts'
import { Mutex } from './mutex.ts'
import { PercpuRef } from './percpu-ref.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import { type Slot, Slots } from './slots.ts'
import { assertHeld, nest, withLockdep } from './with-lockdep.ts'

const BODIES = new URL('../../test/bodies/lockdep.js', import.meta.url)

interface Machine {
  readonly slot: Slot
  readonly words: Int32Array
  readonly lockdep: Lockdep
  readonly a: Mutex
  readonly b: Mutex
}

function machine(): Machine {
  const words = sharedWords(16)
  const slot = new Slots(sharedWords(Slots.words(2))).attach(testOracle(1))
  const lockdep = new Lockdep(slot, sharedWords(Lockdep.WORDS))
  const lock = (index: number, name: string): Mutex =>
    withLockdep(new Mutex(slot, words, index, name), lockdep, name)
  return { slot, words, lockdep, a: lock(0, 'a'), b: lock(1, 'b') }
}

function watchedData(tid: number, order: string): WatchedData {
  const slots = sharedWords(Slots.words(4))
  return { slots, words: sharedWords(16), lockdep: sharedWords(LOCKDEP_WORDS), tid, order }
}

test('without lockdep a lock stays itself', () => {
  const { slot, words } = machine()
  const mutex = new Mutex(slot, words, 2)

  equal(withLockdep(mutex, null, 'mutex'), mutex)
  equal(nest(mutex, 1), mutex)
  assertHeld(mutex)
})

test('a watched mutex does all that a mutex does', async () => {
  const { a, words, slot } = machine()

  equal(a.lock(), false)
  equal(a.isHeld(), true)
  a.unlock()
  a.acquire().release()
  a.tryLock()?.release()
  const held = await a.lockAsync({ timeoutMs: 1000 })
  held.release()
  throws(() => held.release(), { code: 'EPERM' })

  ok(a instanceof Mutex)
  equal(a.slot, slot)
  equal(words[0], 0)
  a.recover(slot.token)
})

test('an order and its reverse are reported before anything is taken', () => {
  const { a, b, words } = machine()
  a.lock()
  b.lock()
  b.unlock()
  a.unlock()

  b.lock()
  throws(() => a.lock(), { code: 'EDEADLK' })
  equal(words[0], 0)
  b.unlock()

  equal(words[1], 0)
  a.lock()
  b.lock()
})

test('an order in one thread and its reverse in another, later, are reported with both stacks', async () => {
  const data = watchedData(1, 'ab')
  const first = new TestThread(BODIES, 'takeInOrder', data)
  equal(await first.result, '')

  const second = new TestThread(BODIES, 'takeInOrder', { ...data, tid: 2, order: 'ba' })
  const report = String(await second.result)

  match(report, /^take a: it would close the cycle a -> b -> a/)
  const [before, now] = report.split('  now: ')
  match(before!, /before: slot 0 took a\n( {4}at .*\n)*? {4}at takeInOrder .*bodies.lockdep/)
  match(before!, /then asks for b\n( {4}at .*\n)*? {4}at takeInOrder .*bodies.lockdep/)
  match(now!, /^slot 1 took b\n( {4}at .*\n)*? {4}at takeInOrder .*bodies.lockdep/)
  match(now!, /then asks for a\n( {4}at .*\n)*? {4}at takeInOrder .*bodies.lockdep/)
  equal(data.words[0], 0)
})

test('three threads with two locks each are one cycle', async () => {
  const data = watchedData(1, 'ab')
  const reports: unknown[] = []
  for (const [i, order] of ['ab', 'bc', 'ca'].entries()) {
    const thread = new TestThread(BODIES, 'takeInOrder', { ...data, tid: i + 1, order })
    reports.push(await thread.result)
  }

  deepEqual(reports.slice(0, 2), ['', ''])
  match(String(reports[2]), /^take a: it would close the cycle a -> b -> c -> a/)
  equal(String(reports[2]).match(/before: /g)?.length, 2)
})

test('threads that take in both orders at once all end, and one of them is told', async () => {
  for (let round = 0; round < 3; round++) {
    const data = watchedData(1, 'ab')
    const threads = ['ab', 'ba'].map(
      (order, i) => new TestThread(BODIES, 'takeInOrder', { ...data, tid: i + 1, order }),
    )

    const reports = await Promise.all(threads.map(thread => thread.result))

    ok(reports.some(report => report !== ''))
    deepEqual([...data.words.slice(0, 2)], [0, 0])
  }
})

test('a thread killed at any operation of a watched lock leaves the graph whole', async () => {
  const nr = await killAtEach({
    module: BODIES,
    name: 'dieTakingTheLast',
    begin: () => ({ data: watchedData(1, 'ab') }),
    check({ data }) {
      const slots = new Slots(data.slots)
      slots.reap(0, testOracle(9, [1]))
      equal(takeInOrder({ ...data, tid: 2, order: 'acb' }), '')
      match(takeInOrder({ ...data, tid: 3, order: 'ba' }), /closes? the cycle a -> b -> a/)
      match(takeInOrder({ ...data, tid: 4, order: 'bc' }), /closes? the cycle c -> b -> c/)
    },
  })

  ok(nr > 5, `${nr} operations`)
})

test('a release of what is not held is refused, and changes nothing', () => {
  const { a, b, words } = machine()
  a.lock()

  throws(() => b.unlock(), /^HotplugError: release b: this thread does not hold it\n {4}at/)
  a.unlock()
  throws(() => a.unlock(), { code: 'EPERM' })

  equal(words[0], 0)
})

test('a lock is not made anew while it is held', () => {
  const { a, slot, words, lockdep } = machine()
  const make = (): Mutex => withLockdep(new Mutex(slot, words, 0), lockdep, 'other')

  a.lock()
  throws(make, /make a: this thread holds it/)
  a.unlock()

  make().lock()
})

test('a watched lock that is watched again is one lock', () => {
  const { a, lockdep } = machine()
  const again = withLockdep(a, lockdep, 'a')

  again.lock()
  assertHeld(a)
  a.unlock()

  throws(() => assertHeld(again), { code: 'EPERM' })
})

test('assertHeld passes for the holder alone, and in the way that it holds', () => {
  const { a, b } = machine()

  throws(() => assertHeld(a), { code: 'EPERM' })
  a.lock()
  assertHeld(a)
  assertHeld(a, 'exclusive')
  throws(() => assertHeld(a, 'shared'), { code: 'EPERM' })
  throws(() => assertHeld(b), { code: 'EPERM' })
  a.unlock()
  throws(() => assertHeld(a), { code: 'EPERM' })
})

test('a second lock of a class is taken by its subclass', () => {
  const { slot, words, lockdep } = machine()
  const make = (index: number): Mutex =>
    withLockdep(new Mutex(slot, words, index), lockdep, 'device.lock')
  const [parent, child] = [make(4), make(5)]

  parent.lock()
  throws(() => child.lock(), { code: 'EDEADLK' })
  nest(child, 1).lock()
  assertHeld(child)
  child.unlock()
  parent.unlock()

  deepEqual([words[4], words[5]], [0, 0])
})

test('a lock that was not granted is not held', async () => {
  const { a, slot, words } = machine()
  const other = new Mutex(slot.slots.attach(testOracle(2)), words, 0)
  other.lock()

  equal(a.tryLock(), null)
  await rejects(a.lockAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
  await rejects(a.lockAsync({ signal: AbortSignal.abort(new Error('enough')) }), /enough/)

  throws(() => assertHeld(a), { code: 'EPERM' })
})

test('a watched lock tells that the last owner died', () => {
  const { a, slot, words } = machine()
  const other = new Mutex(slot.slots.attach(testOracle(2)), words, 0)
  other.lock()
  slot.slots.close(1, 0)

  using held = a.acquire()

  equal(held.ownerDied, true)
})

test('two operations of one event loop may take two locks in both orders in turn', async () => {
  const { a, b } = machine()

  const held = await a.lockAsync()
  const others = await b.lockAsync()
  held.release()
  const again = await a.lockAsync()

  again.release()
  others.release()
})

test('one operation that takes two locks against the order is refused', async () => {
  const { a, b } = machine()
  a.lock()
  b.lock()
  b.unlock()
  a.unlock()
  const operation = {}

  using _held = await b.lockAsync({ operation })

  await rejects(a.lockAsync({ operation }), { code: 'EDEADLK' })
  await rejects(b.lockAsync({ operation }), { code: 'EDEADLK' })
})

test('a thread that blocks while an operation of it is in line for a lock has ordered the two', async () => {
  const { a, slot, words, lockdep } = machine()
  const gate = sharedWords(PercpuRwsem.words(2))
  const sem = withLockdep(new PercpuRwsem(slot, gate, 0), lockdep, 'sem')
  const writer = new PercpuRwsem(slot.slots.attach(testOracle(2)), gate, 0)
  a.lock()
  sem.downRead()
  sem.upRead()
  a.unlock()

  writer.downWrite()
  const write = sem.downWriteAsync()

  throws(() => a.lock(), /close the cycle a -> sem -> a/)
  throws(() => assertHeld(sem), { code: 'EPERM' })
  equal(words[0], 0)
  writer.upWrite()
  const held = await write
  held.release()
  a.lock()
})

test('an operation that gave up is in line no more', async () => {
  const { a, b, slot, words } = machine()
  const other = new Mutex(slot.slots.attach(testOracle(2)), words, 1)
  a.lock()
  b.lock()
  b.unlock()
  a.unlock()

  other.lock()
  await rejects(b.lockAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })

  a.lock()
  a.unlock()
})

test('what an operation is in line for does not order the other operations', async () => {
  const { a, b, slot, words } = machine()
  const other = new Mutex(slot.slots.attach(testOracle(2)), words, 1)
  a.lock()
  b.lock()
  b.unlock()
  a.unlock()

  other.lock()
  const later = b.lockAsync()
  const held = await a.lockAsync()
  held.release()
  other.unlock()

  const last = await later
  last.release()
})

test('unlock does not end what an operation took', async () => {
  const { a } = machine()

  const held = await a.lockAsync()
  throws(() => a.unlock(), { code: 'EPERM' })
  assertHeld(a)
  held.release()

  throws(() => assertHeld(a), { code: 'EPERM' })
})

test('waiting for a completion, holding what its completer takes before, is reported', async () => {
  const { a, slot, words, lockdep } = machine()
  const done = withLockdep(new Completion(slot, words, 4), lockdep, 'done')
  done.expect()
  a.lock()
  a.unlock()
  done.complete()
  done.wait()

  a.lock()
  throws(
    () => done.wait(),
    /^HotplugError: wait for done: it would close the cycle done -> a -> done/,
  )
  a.unlock()
  const operation = {}
  using _held = await a.lockAsync({ operation })
  await rejects(done.waitAsync({ operation }), { code: 'EDEADLK' })
})

test('waiting for a completion that the thread itself has promised is reported', () => {
  const { slot, words, lockdep } = machine()
  const done = withLockdep(new Completion(slot, words, 4), lockdep, 'done')

  done.expect()

  throws(() => done.wait(), /it waits for what it must do itself/)
  done.completeAll()
  done.wait()
})

const ENDS_OF_A_PROMISE: Readonly<Record<string, (done: Completion, other: number) => void>> = {
  'made not done again': done => done.reinit(),
  'promised by another': (done, other) => done.expect(other),
  'promised twice, and done': done => {
    done.expect()
    done.completeAll()
  },
}

for (const [how, end] of Object.entries(ENDS_OF_A_PROMISE)) {
  test(`a promise to complete ends when it is ${how}`, () => {
    const { slot, words, lockdep, a } = machine()
    const done = withLockdep(new Completion(slot, words, 4), lockdep, 'done')
    const other = slot.slots.attach(testOracle(2))

    done.expect()
    end(done, other.token)

    throws(() => assertHeld(done), { code: 'EPERM' })
    a.lock()
    new Completion(other, words, 4).completeAll()
    done.wait()
    a.unlock()
    a.lock()
    a.unlock()
  })
}

test('a promise that is made again is one, and its report names the last', () => {
  const { slot, words, lockdep } = machine()
  const done = withLockdep(new Completion(slot, words, 4), lockdep, 'done')
  const promiseAgain = (): void => done.expect()

  done.expect()
  promiseAgain()

  throws(() => done.wait(), /entered done\n {4}at promiseAgain /)
  done.complete()
  done.wait()
})

test('what another thread will complete is no promise of this one', () => {
  const { slot, words, lockdep, a } = machine()
  const done = withLockdep(new Completion(slot, words, 4), lockdep, 'done')
  const other = slot.slots.attach(testOracle(2))

  done.expect(other.token)
  a.lock()
  a.unlock()
  new Completion(other, words, 4).complete()
  a.lock()
  done.wait()
  a.unlock()
})

test('draining references, holding what one who has a reference takes, is reported', async () => {
  const { slot, lockdep, a } = machine()
  const words = sharedWords(PercpuRef.words(2))
  const file = withLockdep(new PercpuRef(slot, words, 0), lockdep, 'file')
  equal(file.tryGet(), true)
  assertHeld(file)
  a.lock()
  a.unlock()
  file.put()
  throws(() => assertHeld(file), { code: 'EPERM' })
  file.kill()
  equal(file.tryGet(), false)

  file.drain()
  await file.drainAsync()
  a.lock()
  throws(() => file.drain(), /close the cycle file -> a -> file/)
  a.unlock()
})

test('a grace period, holding what one inside the guard takes, is reported', () => {
  const { slot, lockdep, a } = machine()
  const guard = withLockdep(new Guard(slot, sharedWords(Guard.words(2)), 0), lockdep, 'guard')
  a.lock()
  guard.synchronize()
  a.unlock()

  guard.enter()
  throws(() => a.lock(), /close the cycle a -> guard -> a/)
  guard.leave()

  a.lock()
  a.unlock()
})
