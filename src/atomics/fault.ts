/*
 * The seam's twin for deaths: counts the calling thread's operations, and stops it for ever just
 * before the n-th, so that a test can terminate a real thread at every point of a call. Or throws
 * there, as a call does for which the stack has no room.
 *
 * Chosen by --conditions=fault, in one worker by its `execArgv`. Until `faultAt` the operations are
 * those of native.ts.
 */

import type { Woken, Words } from './native.ts'
import * as native from './native.ts'

export type { Woken, Words } from './native.ts'

/** Words, `FAULT_WORDS` of them, by which a thread and its killer agree. */
export const Fault = {
  /** 1 once the thread has stopped. */
  Stopped: 0,
  /** Never changes: what it sleeps on. */
  ForEver: 1,
  /** Operations counted, of a thread that stopped or ended. */
  Count: 2,
  /** 1 while the thread sleeps, or is about to, in `wait` or `waitAsync`. */
  Asleep: 3,
} as const

/** Shared words that `faultAt` needs, zeroed. */
export const FAULT_WORDS = 4

let count = 0
let stopAt = Number.POSITIVE_INFINITY
let control: Words | null = null
let throwsAt = Number.POSITIVE_INFINITY
let isSpared: (stack: string) => boolean = () => false

/**
 * Stops this thread for ever just before its `n`-th operation from now on.
 *
 * @param n From 1.
 * @param words `FAULT_WORDS` words: [Stopped] is set and notified.
 */
export function faultAt(n: number, words: Words): void {
  count = 0
  stopAt = n
  control = words
}

/**
 * Has this thread's `n`-th operation from now on throw, once.
 *
 * @param spares Where not, by the stack: then the next one does.
 */
export function throwAt(n: number, spares: (stack: string) => boolean): void {
  count = 0
  throwsAt = n
  isSpared = spares
}

/** Counts no more. @returns How many operations there were since `faultAt`. */
export function faultOff(): number {
  stopAt = Number.POSITIVE_INFINITY
  throwsAt = Number.POSITIVE_INFINITY
  if (control !== null) native.store(control, Fault.Count, count)
  control = null
  return count
}

function step(): void {
  count++
  if (count >= throwsAt) throwHere()
  if (count !== stopAt || control === null) return
  native.store(control, Fault.Count, count)
  native.store(control, Fault.Stopped, 1)
  native.notify(control, Fault.Stopped)
  for (;;) native.wait(control, Fault.ForEver, 0)
}

function throwHere(): void {
  const error = new RangeError(`operation ${throwsAt} throws`)
  if (isSpared(error.stack ?? '')) return
  throwsAt = Number.POSITIVE_INFINITY
  throw error
}

function sleep(asleep: 0 | 1): void {
  if (control !== null) native.store(control, Fault.Asleep, asleep)
}

/** As in native.ts. */
export function load(words: Words, index: number): number {
  step()
  return native.load(words, index)
}

/** As in native.ts. */
export function store(words: Words, index: number, value: number): void {
  step()
  native.store(words, index, value)
}

/** As in native.ts. */
export function add(words: Words, index: number, delta: number): number {
  step()
  return native.add(words, index, delta)
}

/** As in native.ts. */
export function sub(words: Words, index: number, delta: number): number {
  step()
  return native.sub(words, index, delta)
}

/** As in native.ts. */
export function and(words: Words, index: number, mask: number): number {
  step()
  return native.and(words, index, mask)
}

/** As in native.ts. */
export function or(words: Words, index: number, mask: number): number {
  step()
  return native.or(words, index, mask)
}

/** As in native.ts. */
export function xor(words: Words, index: number, mask: number): number {
  step()
  return native.xor(words, index, mask)
}

/** As in native.ts. */
export function exchange(words: Words, index: number, value: number): number {
  step()
  return native.exchange(words, index, value)
}

/** As in native.ts. */
export function compareExchange(
  words: Words,
  index: number,
  expected: number,
  value: number,
): number {
  step()
  return native.compareExchange(words, index, expected, value)
}

/** As in native.ts. */
export function wait(words: Words, index: number, value: number, timeoutMs?: number): Woken {
  step()
  sleep(1)
  const woken = native.wait(words, index, value, timeoutMs)
  sleep(0)
  return woken
}

/** As in native.ts. */
export async function waitAsync(
  words: Words,
  index: number,
  value: number,
  timeoutMs: number,
): Promise<Woken> {
  step()
  sleep(1)
  const woken = await native.waitAsync(words, index, value, timeoutMs)
  sleep(0)
  return woken
}

/** As in native.ts. */
export async function waitAsyncUnref(words: Words, index: number, value: number): Promise<Woken> {
  step()
  sleep(1)
  const woken = await native.waitAsyncUnref(words, index, value)
  sleep(0)
  return woken
}

/** As in native.ts. */
export function notify(words: Words, index: number, count?: number): number {
  step()
  return native.notify(words, index, count)
}

/** As in native.ts. */
export function loadPlain(words: Words, index: number): number {
  step()
  return native.loadPlain(words, index)
}

/** As in native.ts. */
export function storePlain(words: Words, index: number, value: number): void {
  step()
  native.storePlain(words, index, value)
}

/** As in native.ts. */
export function copyOut(
  target: Int32Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrWords: number,
): void {
  step()
  native.copyOut(target, targetIndex, words, index, nrWords)
}

/** As in native.ts. */
export function copyIn(
  words: Words,
  index: number,
  source: Int32Array,
  sourceIndex: number,
  nrWords: number,
): void {
  step()
  native.copyIn(words, index, source, sourceIndex, nrWords)
}

/** As in native.ts. */
export function copyBytesOut(
  target: Uint8Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrBytes: number,
): void {
  step()
  native.copyBytesOut(target, targetIndex, words, index, nrBytes)
}

/** As in native.ts. */
export function copyWords(
  target: Words,
  targetIndex: number,
  source: Words,
  sourceIndex: number,
  nrWords: number,
): void {
  step()
  native.copyWords(target, targetIndex, source, sourceIndex, nrWords)
}

/** As in native.ts. */
export function fillPlain(words: Words, index: number, value: number, nrWords: number): void {
  step()
  native.fillPlain(words, index, value, nrWords)
}

/** As in native.ts. */
export function barrierAll(): void {
  step()
  native.barrierAll()
}

export { installBarrier } from './native.ts'
