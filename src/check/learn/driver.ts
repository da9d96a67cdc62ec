/*
 * Who answers a thread's operations on shared memory: the machine, or a driver.
 *
 * The seam's twin (../atomics.ts) and the global `Atomics` both come here. Without a driver an
 * operation is done as anywhere else. While a driver is installed, it decides what each operation
 * on shared memory results in: the capture feeds back what was recorded, a replay on real threads
 * waits for the thread's turn. Memory that is not shared is nobody's business.
 */
import { Kind, NOTIFY_ALL, Woke } from '../program.ts'

/** Answers operations. */
export interface Driver {
  /**
   * Does one operation on shared memory, or pretends to.
   *
   * @param words As the code passed it; under the capture a proxy.
   * @param a First operand; for `Kind.Wait` the value slept on, for `Kind.Notify` how many.
   * @param b Second operand; for `Kind.Wait` 1 if the sleep has a timeout.
   * @returns Its result: a `Woke` for `Kind.Wait`, ignored for stores.
   */
  operate(kind: Kind, words: Int32Array, index: number, a: number, b: number): number
  /** The code did something that cannot be replayed. Returns if that does not matter. */
  refuse(what: string): void
}

/** The driver in force; null when operations are done for real. */
export let driver: Driver | null = null

/** Installs a driver for this thread. @returns The one before. */
export function setDriver(next: Driver | null): Driver | null {
  const before = driver
  driver = next
  return before
}

const real = {
  load: Atomics.load,
  store: Atomics.store,
  add: Atomics.add,
  sub: Atomics.sub,
  and: Atomics.and,
  or: Atomics.or,
  xor: Atomics.xor,
  exchange: Atomics.exchange,
  compareExchange: Atomics.compareExchange,
  wait: Atomics.wait,
  waitAsync: Atomics.waitAsync,
  notify: Atomics.notify,
} as const

const WOKEN = ['ok', 'not-equal', 'timed-out'] as const

/** What ended a sleep, as JavaScript says it. */
export function wokenText(woke: number): 'ok' | 'not-equal' | 'timed-out' {
  return WOKEN[woke] as 'ok' | 'not-equal' | 'timed-out'
}

/**
 * Does an operation for real, whatever driver is installed. `Kind.Wait` sleeps until notified.
 *
 * @param words Real memory, not a proxy.
 */
export function perform(
  kind: Kind,
  words: Int32Array,
  index: number,
  a: number,
  b: number,
): number {
  switch (kind) {
    case Kind.Load:
      return real.load(words, index)
    case Kind.Store:
      return real.store(words, index, a)
    case Kind.Add:
      return real.add(words, index, a)
    case Kind.Sub:
      return real.sub(words, index, a)
    case Kind.And:
      return real.and(words, index, a)
    case Kind.Or:
      return real.or(words, index, a)
    case Kind.Xor:
      return real.xor(words, index, a)
    case Kind.Exchange:
      return real.exchange(words, index, a)
    case Kind.CompareExchange:
      return real.compareExchange(words, index, a, b)
    case Kind.Wait:
      return WOKEN.indexOf(real.wait(words, index, a))
    case Kind.Notify:
      return real.notify(words, index, a === NOTIFY_ALL ? undefined : a)
    case Kind.LoadPlain:
      return words[index] as number
    case Kind.StorePlain:
      words[index] = a
      return a
    default:
      throw new RangeError(`perform: ${kind} is no operation on memory`)
  }
}
