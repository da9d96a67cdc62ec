/*
 * Who answers a thread's operations on shared memory: the machine, or a driver.
 *
 * The seam's twin (../atomics.ts) and the global `Atomics` both come here. Without a driver an
 * operation is done as anywhere else. While a driver is installed, it decides what each operation
 * on shared memory results in: the capture feeds back what was recorded, a replay on real threads
 * waits for the thread's turn. Memory that is not shared is nobody's business.
 */
import { Kind, NOTIFY_ALL } from '../program.ts'

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

/**
 * One operation of the running code: answered by the driver, or done for real if there is none or
 * the memory is not shared.
 */
export function operate(
  kind: Kind,
  words: Int32Array,
  index: number,
  a: number,
  b: number,
): number {
  if (driver === null) return perform(kind, words, index, a, b)
  if (!(words instanceof Int32Array)) driver.refuse('an operation on something but an Int32Array')
  else if (words.buffer instanceof SharedArrayBuffer) {
    return driver.operate(kind, words, index, a | 0, b | 0)
  }
  return perform(kind, words, index, a, b)
}

/** As the seam's `wait`. */
export function wait(
  words: Int32Array,
  index: number,
  value: number,
  timeoutMs?: number,
): 'ok' | 'not-equal' | 'timed-out' {
  if (driver === null) return real.wait(words, index, value, timeoutMs)
  const finite = timeoutMs !== undefined && Number(timeoutMs) < Infinity
  return WOKEN[operate(Kind.Wait, words, index, value, finite ? 1 : 0) as 0 | 1 | 2]
}

/** As the seam's `notify`. */
export function notify(words: Int32Array, index: number, count?: number): number {
  if (driver === null) return real.notify(words, index, count)
  const nr =
    count === undefined ? NOTIFY_ALL : Math.min(Math.max(Math.trunc(count) || 0, 0), NOTIFY_ALL)
  return operate(Kind.Notify, words, index, nr, 0)
}

/** As `Atomics.waitAsync`; under a driver refused. */
export const waitAsync: typeof Atomics.waitAsync = (...args: unknown[]) => {
  driver?.refuse('Atomics.waitAsync, which the checker does not know: use the blocking form')
  return Reflect.apply(real.waitAsync, Atomics, args)
}

/** Makes the global `Atomics` ask the driver, once and for all. */
export function installAtomics(): void {
  if (Atomics.load !== real.load) return
  const binary = {
    add: Kind.Add,
    sub: Kind.Sub,
    and: Kind.And,
    or: Kind.Or,
    xor: Kind.Xor,
    exchange: Kind.Exchange,
  }
  for (const [name, kind] of Object.entries(binary)) {
    replace(name, (words: Int32Array, index: number, a: number) =>
      operate(kind, words, index, a, 0),
    )
  }
  replace('load', (words: Int32Array, index: number) => operate(Kind.Load, words, index, 0, 0))
  replace('store', (words: Int32Array, index: number, a: number) => {
    operate(Kind.Store, words, index, a, 0)
    return Math.trunc(a) || 0
  })
  replace('compareExchange', (words: Int32Array, index: number, a: number, b: number) =>
    operate(Kind.CompareExchange, words, index, a, b),
  )
  replace('wait', wait)
  replace('notify', notify)
  replace('waitAsync', waitAsync)
}

function replace(name: string, asked: (...args: never[]) => unknown): void {
  const original: unknown = Reflect.get(Atomics, name)
  const value = {
    [name]: (...args: never[]) =>
      driver === null ? Reflect.apply(original as typeof asked, Atomics, args) : asked(...args),
  }[name]
  Object.defineProperty(Atomics, name, { value, writable: true, configurable: true })
}
