/*
 * The seam under the model checker (`--conditions=check`): the same functions as
 * ../atomics/native.ts, each of which asks the driver, if there is one, what it results in.
 *
 * Copies and fills are sequences of plain steps, one per word.
 */

import { driver, notify, operate, wait, waitAsync as waitAsyncBare } from './learn/driver.ts'
import { Kind } from './program.ts'

export { notify, wait }

/** Words of shared memory. */
export type Words = Int32Array

/** What ended a sleep. */
export type Woken = 'ok' | 'not-equal' | 'timed-out'

/** See the seam. */
export function load(words: Words, index: number): number {
  return operate(Kind.Load, words, index, 0, 0)
}

/** See the seam. */
export function store(words: Words, index: number, value: number): void {
  operate(Kind.Store, words, index, value, 0)
}

/** See the seam. */
export function add(words: Words, index: number, delta: number): number {
  return operate(Kind.Add, words, index, delta, 0)
}

/** See the seam. */
export function sub(words: Words, index: number, delta: number): number {
  return operate(Kind.Sub, words, index, delta, 0)
}

/** See the seam. */
export function and(words: Words, index: number, mask: number): number {
  return operate(Kind.And, words, index, mask, 0)
}

/** See the seam. */
export function or(words: Words, index: number, mask: number): number {
  return operate(Kind.Or, words, index, mask, 0)
}

/** See the seam. */
export function xor(words: Words, index: number, mask: number): number {
  return operate(Kind.Xor, words, index, mask, 0)
}

/** See the seam. */
export function exchange(words: Words, index: number, value: number): number {
  return operate(Kind.Exchange, words, index, value, 0)
}

/** See the seam. */
export function compareExchange(
  words: Words,
  index: number,
  expected: number,
  value: number,
): number {
  return operate(Kind.CompareExchange, words, index, expected, value)
}

/** See the seam; refused while a body is checked. */
export async function waitAsync(
  words: Words,
  index: number,
  value: number,
  timeoutMs: number,
): Promise<Woken> {
  const result = waitAsyncBare(words, index, value, timeoutMs)
  if (!result.async) return result.value
  const keepAlive = setInterval(() => {}, 0x7fffffff)
  try {
    return await result.value
  } finally {
    clearInterval(keepAlive)
  }
}

/** See the seam; refused while a body is checked. */
export async function waitAsyncUnref(words: Words, index: number, value: number): Promise<Woken> {
  return await waitAsyncBare(words, index, value).value
}

/** See the seam. */
export function loadPlain(words: Words, index: number): number {
  return operate(Kind.LoadPlain, words, index, 0, 0)
}

/** See the seam. */
export function storePlain(words: Words, index: number, value: number): void {
  operate(Kind.StorePlain, words, index, value, 0)
}

/** See the seam. */
export function copyOut(
  target: Int32Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrWords: number,
): void {
  for (let i = 0; i < nrWords; i++) target[targetIndex + i] = loadPlain(words, index + i)
}

/** See the seam. */
export function copyIn(
  words: Words,
  index: number,
  source: Int32Array,
  sourceIndex: number,
  nrWords: number,
): void {
  for (let i = 0; i < nrWords; i++) storePlain(words, index + i, source[sourceIndex + i] as number)
}

/** See the seam. */
export function copyBytesOut(
  target: Uint8Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrBytes: number,
): void {
  for (let at = 0; at < nrBytes; at += 4) {
    const word = loadPlain(words, index + (at >>> 2))
    for (let i = 0; i < 4 && at + i < nrBytes; i++) target[targetIndex + at + i] = word >>> (i * 8)
  }
}

/** See the seam. */
export function copyWords(
  target: Words,
  targetIndex: number,
  source: Words,
  sourceIndex: number,
  nrWords: number,
): void {
  for (let i = 0; i < nrWords; i++) {
    const word = loadPlain(source, sourceIndex + i)
    storePlain(target, targetIndex + i, word)
  }
}

/** See the seam. */
export function fillPlain(words: Words, index: number, value: number, nrWords: number): void {
  for (let i = 0; i < nrWords; i++) storePlain(words, index + i, value)
}

let membarrier = (): void => {
  throw new Error('barrierAll: no barrier is installed in this thread')
}

/** See the seam; does not matter while a body is checked. */
export function installBarrier(run: () => void): void {
  membarrier = run
}

/** See the seam. */
export function barrierAll(): void {
  if (driver === null) membarrier()
  else driver.operate(Kind.BarrierAll, NO_WORDS, 0, 0, 0)
}

const NO_WORDS = new Int32Array(0)
