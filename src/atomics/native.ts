/*
 * The seam: the only module that touches shared memory.
 *
 * Everything else imports `#atomics`. Three modules answer to that name, all with these functions:
 *
 *     native.ts            what ships
 *     fault.ts             --conditions=fault: counts the calls and stops a thread at the n-th
 *     ../check/atomics.ts  --conditions=check: each call is a step of the model checker
 *
 * so that what is checked, and what is killed, is the source that ships.
 *
 * Atomic operations are sequentially consistent. The plain ones are for the access guard and for
 * data it protects: another thread sees a plain store at any later time, at the latest when the
 * storing thread does an atomic operation other than a load, or any thread calls `barrierAll()`.
 */

/** Words of shared memory. */
export type Words = Int32Array

/** What ended a sleep. */
export type Woken = 'ok' | 'not-equal' | 'timed-out'

/** The word's value. */
export function load(words: Words, index: number): number {
  return Atomics.load(words, index)
}

/** Sets the word. */
export function store(words: Words, index: number, value: number): void {
  Atomics.store(words, index, value)
}

/** @returns The value before. */
export function add(words: Words, index: number, delta: number): number {
  return Atomics.add(words, index, delta)
}

/** @returns The value before. */
export function sub(words: Words, index: number, delta: number): number {
  return Atomics.sub(words, index, delta)
}

/** @returns The value before. */
export function and(words: Words, index: number, mask: number): number {
  return Atomics.and(words, index, mask)
}

/** @returns The value before. */
export function or(words: Words, index: number, mask: number): number {
  return Atomics.or(words, index, mask)
}

/** @returns The value before. */
export function xor(words: Words, index: number, mask: number): number {
  return Atomics.xor(words, index, mask)
}

/** @returns The value before. */
export function exchange(words: Words, index: number, value: number): number {
  return Atomics.exchange(words, index, value)
}

/** @returns The value before; it was replaced if it equals `expected`. */
export function compareExchange(
  words: Words,
  index: number,
  expected: number,
  value: number,
): number {
  return Atomics.compareExchange(words, index, expected, value)
}

/**
 * Sleeps until notified, unless the word differs from `value` already. Blocks the thread.
 *
 * @param timeoutMs How long at most; for ever if left out.
 */
export function wait(words: Words, index: number, value: number, timeoutMs?: number): Woken {
  return Atomics.wait(words, index, value, timeoutMs)
}

/** As `wait`, without blocking the thread. Keeps the event loop alive meanwhile. */
export async function waitAsync(
  words: Words,
  index: number,
  value: number,
  timeoutMs: number,
): Promise<Woken> {
  const result = Atomics.waitAsync(words, index, value, timeoutMs)
  if (!result.async) return result.value
  const keepAlive = setInterval(() => {}, 0x7fffffff) // a waiter alone does not hold the loop
  try {
    return await result.value
  } finally {
    clearInterval(keepAlive)
  }
}

/** As `waitAsync`, for as long as it takes, and without keeping the event loop alive. */
export async function waitAsyncUnref(words: Words, index: number, value: number): Promise<Woken> {
  return await Atomics.waitAsync(words, index, value).value
}

/**
 * Wakes threads that sleep on the word, first come first.
 *
 * @param count How many at most; all if left out.
 * @returns How many.
 */
export function notify(words: Words, index: number, count?: number): number {
  return Atomics.notify(words, index, count)
}

/** A load that orders nothing. Two of one word in a row may be merged by the compiler. */
export function loadPlain(words: Words, index: number): number {
  return words[index] as number
}

/** A store that orders nothing, and that others see some time later. */
export function storePlain(words: Words, index: number, value: number): void {
  words[index] = value
}

/** From so many words on, a copy by the engine is worth the call. */
const BULK_WORDS = 64

/** Copies `nrWords` words of shared memory out, in any order, each plain. */
export function copyOut(
  target: Int32Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrWords: number,
): void {
  if (nrWords < BULK_WORDS) {
    for (let i = 0; i < nrWords; i++) target[targetIndex + i] = words[index + i] as number
  } else {
    const end = (index + nrWords) * 4
    bytesOf(words).copy(bytesOf(target), targetIndex * 4, index * 4, end)
  }
}

/** Copies `nrWords` words into shared memory, in any order, each plain. */
export function copyIn(
  words: Words,
  index: number,
  source: Int32Array,
  sourceIndex: number,
  nrWords: number,
): void {
  if (nrWords < BULK_WORDS) {
    for (let i = 0; i < nrWords; i++) words[index + i] = source[sourceIndex + i] as number
  } else {
    const end = (sourceIndex + nrWords) * 4
    bytesOf(source).copy(bytesOf(words), index * 4, sourceIndex * 4, end)
  }
}

/** Copies `nrBytes` bytes of shared words out, in any order, each plain. */
export function copyBytesOut(
  target: Uint8Array,
  targetIndex: number,
  words: Words,
  index: number,
  nrBytes: number,
): void {
  if (nrBytes >= BULK_WORDS * 4) {
    bytesOf(words).copy(target, targetIndex, index * 4, index * 4 + nrBytes)
    return
  }
  const nrWhole = nrBytes & ~3
  const start = target.byteOffset + targetIndex
  const over = wordsOver(target, start, start + nrWhole)
  let done = 0
  if (over !== null) {
    const first = start >>> 2
    const nrWords = nrWhole >>> 2
    for (let i = 0; i < nrWords; i++) over[first + i] = words[index + i] as number
    done = nrWhole
  }
  for (let at = done; at < nrBytes; at++) {
    target[targetIndex + at] = (words[index + (at >>> 2)] as number) >>> ((at & 3) << 3)
  }
}

/** Copies `nrWords` words of shared memory to other shared memory, in any order, each plain. */
export function copyWords(
  target: Words,
  targetIndex: number,
  source: Words,
  sourceIndex: number,
  nrWords: number,
): void {
  target.set(source.subarray(sourceIndex, sourceIndex + nrWords), targetIndex)
}

/** Stores `value` into `nrWords` words from `index` on, each plain. */
export function fillPlain(words: Words, index: number, value: number, nrWords: number): void {
  words.fill(value, index, index + nrWords)
}

const NO_WORDS = new Int32Array(0)
/** Words that were asked for by bytes, and the last ones: most often they are the next as well. */
const views = new WeakMap<Int32Array, Buffer>()
let lastWords: Int32Array = NO_WORDS
let lastBytes: Buffer = Buffer.alloc(0)
/** The buffer that words were copied to, and all of its words when that was twice in a row. */
let lastBuffer: ArrayBufferLike = lastBytes.buffer
let lastOver: Int32Array = NO_WORDS

function bytesOf(words: Int32Array): Buffer {
  if (words === lastWords) return lastBytes
  let bytes = views.get(words)
  if (bytes === undefined) {
    bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength)
    views.set(words, bytes)
  }
  lastWords = words
  lastBytes = bytes
  return bytes
}

/** @returns All words of the buffer that `target` is a part of; null: go by bytes. */
function wordsOver(target: Uint8Array, start: number, end: number): Int32Array | null {
  const { buffer } = target
  if (buffer !== lastBuffer) {
    lastBuffer = buffer
    lastOver = NO_WORDS
    return null
  }
  if ((start & 3) !== 0) return null
  if (lastOver.length * 4 >= end) return lastOver
  lastOver = new Int32Array(buffer, 0, buffer.byteLength >>> 2)
  return lastOver.length * 4 >= end ? lastOver : null
}

let membarrier = (): void => {
  throw new Error('barrierAll: no barrier is installed in this thread')
}

/**
 * Says how this thread runs `barrierAll`: by a system call, or by asking the service thread.
 * Called by `arch/` once a thread.
 */
export function installBarrier(run: () => void): void {
  membarrier = run
}

/**
 * A full fence on every thread of the process: when it returns, each has made its earlier plain
 * stores visible, and its later loads see what was stored before this call.
 */
export function barrierAll(): void {
  membarrier()
}
