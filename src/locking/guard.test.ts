import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import {
  END,
  type GuardData,
  INSIDE,
  PAIRS,
  PUBLISHED,
  READS,
  SLOT,
  TORN,
} from '../../test/bodies/guard.ts'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { Locks } from '../locking.ts'
import { Guard, type GuardForm } from './guard.ts'
import { Slots } from './slots.ts'

const BODIES = new URL('../../test/bodies/guard.js', import.meta.url)
const THREADS = 4
const TURNS = 100
const GRACE_PERIODS = 300

interface Setting extends AsyncDisposable {
  readonly locks: Locks
  readonly guard: Guard
  readonly data: GuardData
}

/** A booted machine, and a guard of that form on it. */
async function boot(form: GuardForm): Promise<Setting> {
  const locks = await Locks.boot({ threads: THREADS })
  const words = sharedWords(Guard.words(THREADS + 1))
  Guard.choose(words, 0, form)
  const guard = new Guard(locks.slot, words, 0)
  const data = { handle: locks.handle, guard: words, words: sharedWords(PAIRS + 32) }
  return { locks, guard, data, [Symbol.asyncDispose]: () => locks.shutdown() }
}

/** The forms that work here: without a barrier on all threads there is one only. */
async function formsHere(): Promise<GuardForm[]> {
  await using locks = await Locks.boot({ threads: 1 })
  return locks.capabilities.asymmetricFence ? ['asymmetric', 'portable'] : ['portable']
}

function release({ words }: GuardData): void {
  Atomics.store(words, END, 1)
  Atomics.notify(words, END)
}

/** Publishes one pair after another; overwrites each when its grace period is over. */
function publishPairs(guard: Guard, words: Int32Array): void {
  for (let i = 1; i <= GRACE_PERIODS; i++) {
    const next = i & 1
    words.fill(i, PAIRS + next * 16, PAIRS + next * 16 + 2)
    Atomics.store(words, PUBLISHED, next)
    guard.synchronize()
    const old = PAIRS + (1 - next) * 16
    words[old] = -1
    words[old + 1] = -2
  }
}

for (const form of await formsHere()) {
  test(`${form}: a grace period that is waited for in pieces goes on where it was`, async () => {
    await using _ = await boot(form) // whose barrier is installed
    const slots = new Slots(sharedWords(Slots.words(THREADS + 1)))
    const words = sharedWords(Guard.words(THREADS + 1))
    Guard.choose(words, 0, form)
    const [waiter, first, second] = [1, 2, 3].map(
      tid => new Guard(slots.attach(testOracle(tid)), words, 0),
    ) as [Guard, Guard, Guard]
    first.enter()
    second.enter()

    const period = waiter.beginPeriod()
    equal(period.tryEnd(2), first.slot.index)
    first.leave()
    first.enter() // anew: no matter
    equal(period.tryEnd(2), second.slot.index)
    second.leave()
    equal(period.tryEnd(1), -1)

    equal(waiter.trySynchronize(2), first.slot.index)
    first.leave()
  })

  test(`${form}: a grace period lasts until a thread that is inside has left`, async () => {
    await using setting = await boot(form)
    const { guard, data } = setting
    const thread = new TestThread(BODIES, 'stayInside', data)
    await until('it is inside', () => Atomics.load(data.words, INSIDE) === 1)
    let isOver = false

    const over = guard.synchronizeAsync().then(() => {
      isOver = true
    })
    for (let i = 0; i < TURNS; i++) await setImmediate()
    equal(isOver, false)
    release(data)
    await over

    await thread.result
  })

  test(`${form}: a grace period that takes too long names who is inside`, async () => {
    await using setting = await boot(form)
    const { guard, data } = setting
    const thread = new TestThread(BODIES, 'stayInside', data)
    await until('it is inside', () => Atomics.load(data.words, INSIDE) === 1)

    await rejects(guard.synchronizeAsync({ timeoutMs: 20 }), {
      code: 'ETIMEDOUT',
      message: new RegExp(`slot ${Atomics.load(data.words, SLOT)} is inside`),
    })
    await rejects(guard.synchronizeAsync({ signal: AbortSignal.abort('enough') }), error => {
      equal(error, 'enough')
      return true
    })

    release(data)
    await thread.result
    await guard.synchronizeAsync()
  })

  test(`${form}: a thread that dies inside holds up nobody`, async () => {
    await using setting = await boot(form)
    const { guard, data } = setting
    const thread = new TestThread(BODIES, 'stayInside', data)
    await until('it is inside', () => Atomics.load(data.words, INSIDE) === 1)

    const over = guard.synchronizeAsync()
    await thread.kill()
    await over

    guard.synchronize()
  })

  test(`${form}: what was unpublished is read by nobody after its grace period`, async () => {
    await using setting = await boot(form)
    const { guard, data } = setting
    const { words } = data
    const threads = [0, 1].map(() => new TestThread(BODIES, 'readPairs', data))
    await until('they read', () => Atomics.load(words, READS) > 0)
    const before = Atomics.load(words, READS)

    publishPairs(guard, words)
    await until('they read on', () => Atomics.load(words, READS) > before)
    release(data)
    await Promise.all(threads.map(thread => thread.result))

    equal(words[TORN], 0)
  })

  test(`${form}: nesting, leaving twice and waiting inside are refused`, async () => {
    await using setting = await boot(form)
    const { guard } = setting

    throws(() => guard.leave(), {
      code: 'EPERM',
      message: 'leave guard: this thread is not inside (EPERM)',
    })
    guard.enter()
    ok(guard.isInside())
    throws(() => guard.enter(), {
      code: 'EDEADLK',
      message: 'enter guard: this thread is inside already (EDEADLK)',
    })
    throws(() => guard.synchronize(), { code: 'EDEADLK' })
    await rejects(guard.synchronizeAsync(), { code: 'EDEADLK' })
    guard.leave()

    equal(guard.isInside(), false)
    guard.synchronize()
  })
}

test('a guard of a detached slot, or in memory that is not shared, is refused', () => {
  const slots = new Slots(sharedWords(Slots.words(1)))
  const slot = slots.attach({ tid: 1, start: 1, exists: () => true })
  const words = sharedWords(Guard.words(1))

  throws(() => new Guard(slot, new Int32Array(Guard.words(1)), 0), { code: 'EINVAL' })
  throws(() => new Guard(slot, words, 1), { code: 'EINVAL' })
  const guard = new Guard(slot, words, 0)
  slot.detach()

  for (const use of [() => guard.enter(), () => guard.leave(), () => guard.synchronize()]) {
    throws(use, { code: 'EINVAL', message: /detached/ })
  }
  equal(guard.isInside(), false)
  deepEqual([...words], [...sharedWords(Guard.words(1)).fill(1, 17, 18)])
  match(guard.form, /portable/)
})

test('a form is chosen of two, in memory that a guard fits in', () => {
  const words = sharedWords(Guard.words(1))
  const unshared = new Int32Array(Guard.words(1))

  for (const form of ['fast', undefined] as unknown as GuardForm[]) {
    throws(() => Guard.choose(words, 0, form), { code: 'EINVAL', message: /its form is/ })
  }
  throws(() => Guard.choose(unshared, 0, 'portable'), { code: 'EINVAL', message: /not shared/ })
  throws(() => Guard.choose(words, 1, 'portable'), { code: 'EINVAL', message: /not within/ })

  deepEqual([...words, ...unshared], Array(2 * Guard.words(1)).fill(0))
})

test('who finds the dead does so while it waits for them', async () => {
  const { table, guards, oracle } = killedInside()
  const [waiter] = guards

  waiter.waiting.meanwhile = () => void table.reap(1, oracle)
  waiter.synchronize()

  equal(table.isAlive(guards[1].slot.token), false)
})

/** Two guards; the second's thread has died inside, and nobody knows yet. */
function killedInside() {
  const table = new Slots(sharedWords(Slots.words(2)))
  const words = sharedWords(Guard.words(2))
  const guards = [1, 2].map(tid => new Guard(table.attach(testOracle(tid)), words, 0))
  guards[1]!.enter()
  return { table, guards: guards as [Guard, Guard], oracle: testOracle(1, [2]) }
}
