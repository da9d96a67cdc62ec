import { setTimeout } from 'node:timers/promises'

/** Milliseconds since some moment, with fractions; never goes back. */
export function now(): number {
  return performance.now()
}

/** Resolves after at least `ms` milliseconds; the event loop goes on. */
export async function pause(ms: number): Promise<void> {
  await setTimeout(ms)
}

/** Milliseconds since 1970: the same in all threads. */
export function wallClock(): number {
  return Date.now()
}
