/*
 * Locks under the eyes of lockdep.
 *
 * `withLockdep` makes of a lock another object with the same methods, which tell lockdep before
 * and after they call the lock's own. The locks themselves know nothing of it: who does not ask
 * for lockdep has the bare lock, and pays nothing.
 *
 * What each method does is a table for each kind of lock. Methods that are not in it, and all
 * properties, are the lock's.
 */
import type { Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, Held } from './acquire.ts'
import { CounterRwsem } from './counter-rwsem.ts'
import type { Lockdep } from './lockdep.ts'
import { Mode } from './lockdep-graph.ts'
import { type AnyFunction, placeOf, type Taking, type Tracked } from './lockdep-held.ts'
import { Mutex } from './mutex.ts'
import type { Rwsem } from './rwsem.ts'

/** What a method of a lock does. */
interface Rule {
  /** `take` blocks, `try` never waits, `await` waits for a promise, `release` undoes. */
  readonly does: 'take' | 'try' | 'await' | 'release'
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

/** A lock that lockdep can watch. */
export type Watchable = (Mutex | Rwsem) & { readonly words: Words; readonly index: number }

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
  const memory = lock.words.buffer
  const tracked = lockdep.track({ className, memory, byteOffset, ownerMayRead })
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
  const methods = new Map<PropertyKey, AnyFunction>()
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
  return lock instanceof CounterRwsem ? COUNTER_RWSEM : PERCPU_RWSEM
}

type Method = (...args: readonly unknown[]) => unknown

function methodOf(known: Watched, rule: Rule, bare: Method): AnyFunction {
  const { mode } = rule
  const { tracked: lock, lockdep } = known
  const run = (args: readonly unknown[]): unknown => Reflect.apply(bare, known.bare, args)
  const take = (...args: readonly unknown[]): unknown => {
    const taking = { lock, mode, place: placeOf(take) }
    if (rule.does === 'take') lockdep.willWait(taking, null)
    const result = run(args)
    if (result === null) return null
    return granted(lockdep, taking, result instanceof Held ? {} : null, result)
  }
  const takeAsync = async (...args: readonly unknown[]): Promise<unknown> => {
    const taking = { lock, mode, place: placeOf(takeAsync) }
    const operation = operationOf(args[0] as AcquireOptions | undefined)
    lockdep.willWait(taking, operation)
    return granted(lockdep, taking, operation, await run(args))
  }
  const release = (...args: readonly unknown[]): unknown => {
    const held = lockdep.willRelease(lock, mode === Mode.Exclusive, release)
    const result = run(args)
    lockdep.released(held)
    return result
  }
  return { take, try: take, await: takeAsync, release }[rule.does]
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
function operationOf(options: AcquireOptions | undefined): object {
  return options?.operation ?? {}
}
