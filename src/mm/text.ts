/*
 * Short texts in shared words: a length in bytes, then UTF-8. Decoded from a private copy only: a
 * decoder that reads bytes while they change can crash the process.
 */
import { load, store, type Words } from '#atomics'

/** Words that a text of at most `maxBytes` bytes needs; `maxBytes` is a multiple of 4. */
export function textWords(maxBytes: number): number {
  return 1 + maxBytes / 4
}

/** Writes a text, cut after the last whole character that fits. */
export function writeText(words: Words, index: number, maxBytes: number, text: string): void {
  const copy = new Int32Array(maxBytes / 4)
  const { written } = new TextEncoder().encodeInto(text, new Uint8Array(copy.buffer))
  for (let i = 0; i < Math.ceil(written / 4); i++) store(words, index + 1 + i, copy[i]!)
  store(words, index, written)
}

/** Reads a text. While it is being written, any text may come out. */
export function readText(words: Words, index: number, maxBytes: number): string {
  const nrBytes = Math.min(load(words, index), maxBytes)
  const copy = new Int32Array(maxBytes / 4)
  for (let i = 0; i < Math.ceil(nrBytes / 4); i++) copy[i] = load(words, index + 1 + i)
  return new TextDecoder().decode(new Uint8Array(copy.buffer, 0, nrBytes))
}
