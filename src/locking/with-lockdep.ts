/*
 * Locks under the eyes of lockdep.
 *
 * `withLockdep` makes of a lock another object with the same methods, which tell lockdep before
 * and after they call the lock's own. The locks themselves know nothing of it: who does not ask
 * for lockdep has the bare lock, and pays nothing.
 *
 * What each method does is a table for each kind of lock. Methods that are not in it, and all
 * properties, are the lock's.
 *
 * Completions, reference counts and guards are no locks, but are waited for: who has said that it
 * will complete the one, has a reference to the other or has entered the third is inside a region
 * until it completed, put or left it; `wait`, `drain` and `synchronize` wait for the region's end.
 * A completion has one completer: `reinit`, or another `expect`, ends the region too.
 */
import type { Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, Held } from './acquire.ts'
import { Completion } from './completion.ts'
import { CounterRwsem } from './counter-rwsem.ts'
import { Guard } from './guard.ts'
import type { Lockdep } from './lockdep.ts'
import { Mode } from './lockdep-graph.ts'
import { placeOf, type Taking, type Tracked } from './lockdep-held.ts'
import { Mutex } from './mutex.ts'
import { PercpuRef } from './percpu-ref.ts'
import type { Rwsem } from './rwsem.ts'
import type { Slot } from './slots.ts'

/**
 * `take` blocks until it has the lock, `await` does so without blocking, `try` never waits,
 * `release` ends what `take` began. `enter` and `leave` are the ends of a region, `wait` and
 * `waitAsync` wait for all that are inside; `expect` is an `enter` that replaces the one before.
 */
type Verb =
  | 'take'
  | 'await'
  | 'try'
  | 'release'
  | 'enter'
  | 'expect'
  | 'leave'
  | 'wait'
  | 'waitAsync'

/** What a method of a lock does. */
interface Rule {
  readonly does: Verb
  readonly mode: Mode
}
type Rules = Readonly<Record<string, Rule>>

const MUTEX = {
  lock: { does: 'take', mode: Mode.Exclusive },
  acquire: { does: 'take', mode: Mode.Exclusive },
  tryLock: { does: 'try', mode: Mode.Exclusive },
  lockAsync: { does: 'await', mode: Mode.Exclusive },
  unlock: { does: 'release', mode: Mode.Exclusive },
} as const satisfies { readonly [K in keyof Mutex]?: Rule }

const rwsem = (read: Mode) =>
  ({
    downRead: { does: 'take', mode: read },
    acquireRead: { does: 'take', mode: read },
    tryDownRead: { does: 'try', mode: read },
    downReadAsync: { does: 'await', mode: read },
    upRead: { does: 'release', mode: read },
    downWrite: { does: 'take', mode: Mode.Exclusive },
    acquireWrite: { does: 'take', mode: Mode.Exclusive },
    tryDownWrite: { does: 'try', mode: Mode.Exclusive },
    downWriteAsync: { does: 'await', mode: Mode.Exclusive },
    upWrite: { does: 'release', mode: Mode.Exclusive },
  }) as const satisfies { readonly [K in keyof Rwsem]?: Rule }

const COUNTER_RWSEM = rwsem(Mode.Recursive)
const PERCPU_RWSEM = rwsem(Mode.Shared)

const COMPLETION = {
  expect: { does: 'expect', mode: Mode.Shared },
  complete: { does: 'leave', mode: Mode.Shared },
  completeAll: { does: 'leave', mode: Mode.Shared },
  reinit: { does: 'leave', mode: Mode.Shared },
  wait: { does: 'wait', mode: Mode.Exclusive },
  waitAsync: { does: 'waitAsync', mode: Mode.Exclusive },
} as const satisfies { readonly [K in keyof Completion]?: Rule }

const PERCPU_REF = {
  tryGet: { does: 'enter', mode: Mode.Shared },
  tryAcquire: { does: 'try', mode: Mode.Shared },
  put: { does: 'leave', mode: Mode.Shared },
  drain: { does: 'wait', mode: Mode.Exclusive },
  drainAsync: { does: 'waitAsync', mode: Mode.Exclusive },
} as const satisfies { readonly [K in keyof PercpuRef]?: Rule }

const GUARD = {
  enter: { does: 'enter', mode: Mode.Shared },
  leave: { does: 'leave', mode: Mode.Shared },
  synchronize: { does: 'wait', mode: Mode.Exclusive },
  synchronizeAsync: { does: 'waitAsync', mode: Mode.Exclusive },
} as const satisfies { readonly [K in keyof Guard]?: Rule }

const REGIONS = [Completion, PercpuRef, Guard]

/** A lock, or something else that is waited for, that lockdep can watch. */
export type Watchable = (Mutex | Rwsem | Completion | PercpuRef | Guard) & {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
}

interface Watched {
  readonly lockdep: Lockdep
  readonly bare: Watchable
  readonly tracked: Tracked
}

const watched = new WeakMap<object, Watched>()

/**
 * The lock, with each acquisition checked for deadlocks.
 *
 * Its methods throw, besides what they throw anyway, `EDEADLK` before they wait for what could
 * last for ever, and `EPERM` on a release by who does not hold it. Make it once for each thread.
 *
 * Watch a `PercpuRef` only if references are put by the thread that got them. A `Completion` tells
 * who will complete it from `expect()` on.
 *
 * @param lockdep Null: lockdep is off; the lock itself comes back.
 * @param className Shared by all threads, and by all locks that obey one order.
 * @throws {HotplugError} `EDEADLK`: this thread holds the lock already, as another object.
 */
export function withLockdep<T extends Watchable>(
  lock: T,
  lockdep: Lockdep | null,
  className: string,
): T {
  if (lockdep === null) return lock
  const byteOffset = lock.words.byteOffset + lock.index * 4
  const ownerMayRead = lock instanceof CounterRwsem
  const isRegion = REGIONS.some(kind => lock instanceof kind)
  const memory = lock.words.buffer
  const tracked = lockdep.track({ className, memory, byteOffset, ownerMayRead, isRegion })
  lockdep.requireFree(tracked, withLockdep)
  const bare = (watched.get(lock)?.bare ?? lock) as T
  return watch(bare, { lockdep, bare, tracked })
}

/**
 * The same lock, for when another of its class is held: a class of its own.
 *
 * `nest(child, 1).lock()` while the parent is held says that parents come before children.
 *
 * @param subclass From 1, the same for all that stand at one place in the order.
 * @returns The lock itself when it is not watched.
 */
export function nest<T extends Watchable>(lock: T, subclass: number): T {
  const known = watched.get(lock)
  if (known === undefined) return lock
  const tracked = known.lockdep.subclass(known.tracked, subclass)
  return watch(known.bare as T, { ...known, tracked })
}

/**
 * States that the calling thread holds the lock. Says nothing of locks that are not watched.
 *
 * @param how Held in which way; either if left out.
 * @throws {HotplugError} `EPERM`: it does not.
 */
export function assertHeld(lock: Watchable, how?: 'exclusive' | 'shared'): void {
  const known = watched.get(lock)
  if (known === undefined) return
  const exclusive = how === undefined ? null : how === 'exclusive'
  if (known.lockdep.isHeld(known.tracked, exclusive)) return
  const what = how === undefined ? '' : ` ${how}`
  const name = known.tracked.className
  throw new HotplugError('EPERM', `assert ${name} held${what}`, 'this thread does not hold it so')
}

function watch<T extends Watchable>(lock: T, known: Watched): T {
  const methods = new Map<PropertyKey, Method>()
  for (const [name, rule] of Object.entries(rulesOf(lock))) {
    methods.set(name, methodOf(known, rule, Reflect.get(lock, name) as Method))
  }
  const proxy = new Proxy(lock, {
    get(target, key) {
      const method = methods.get(key)
      if (method !== undefined) return method
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  watched.set(proxy, known)
  return proxy
}

function rulesOf(lock: Watchable): Rules {
  if (lock instanceof Mutex) return MUTEX
  if (lock instanceof Completion) return COMPLETION
  if (lock instanceof PercpuRef) return PERCPU_REF
  if (lock instanceof Guard) return GUARD
  return lock instanceof CounterRwsem ? COUNTER_RWSEM : PERCPU_RWSEM
}

type Method = (...args: readonly unknown[]) => unknown

/** The lock's method, with what lockdep is told around it. */
function methodOf(known: Watched, rule: Rule, bare: Method): Method {
  const run = (args: readonly unknown[]): unknown => Reflect.apply(bare, known.bare, args)
  const made = { ...takers(known, rule, run), ...regions(known, rule, run) }
  return made[rule.does]
}

type Run = (args: readonly unknown[]) => unknown

function takers({ lockdep, tracked: lock }: Watched, { does, mode }: Rule, run: Run) {
  const take: Method = (...args) => {
    const taking = { lock, mode, place: placeOf(take) }
    if (does === 'take') lockdep.willWait(taking, null)
    const result = run(args)
    if (result === null) return null
    return granted(lockdep, taking, result instanceof Held ? {} : null, result)
  }
  const takeAsync: Method = async (...args) => {
    const taking = { lock, mode, place: placeOf(takeAsync) }
    const operation = operationOf(args)
    lockdep.willWait(taking, operation)
    lockdep.queued(taking)
    try {
      return granted(lockdep, taking, operation, await run(args))
    } finally {
      lockdep.unqueued(taking)
    }
  }
  const release: Method = (...args) => {
    const held = lockdep.willRelease(lock, mode === Mode.Exclusive, release)
    const result = run(args)
    lockdep.released(held)
    return result
  }
  return { take, try: take, await: takeAsync, release }
}

function regions({ lockdep, tracked: lock, bare }: Watched, { does, mode }: Rule, run: Run) {
  const isMine = (args: readonly unknown[]) => args[0] === undefined || args[0] === bare.slot.token
  const enter: Method = (...args) => {
    const taking = { lock, mode, place: placeOf(enter) }
    const result = run(args)
    if (does === 'expect') lockdep.released(lockdep.ownTaking(lock))
    if (result !== false && isMine(args)) lockdep.acquired(taking, null)
    return result
  }
  const leave: Method = (...args) => {
    const result = run(args)
    if (isMine(args)) lockdep.released(lockdep.ownTaking(lock))
    return result
  }
  const wait: Method = (...args) => {
    lockdep.willWait({ lock, mode, place: placeOf(wait) }, null)
    return run(args)
  }
  const waitAsync: Method = async (...args) => {
    lockdep.willWait({ lock, mode, place: placeOf(waitAsync) }, operationOf(args))
    return run(args)
  }
  return { enter, expect: enter, leave, wait, waitAsync }
}

function granted(
  lockdep: Lockdep,
  taking: Taking,
  operation: object | null,
  result: unknown,
): unknown {
  lockdep.acquired(taking, operation)
  if (!(result instanceof Held)) return result
  return new Held(result.ownerDied, () => {
    lockdep.released(taking)
    result.release()
  })
}

/** Operations that say nothing are each their own. */
function operationOf(args: readonly unknown[]): object {
  const options = args[0] as AcquireOptions | undefined
  return options?.operation ?? {}
}
