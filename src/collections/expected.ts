import { loadPlain } from '#atomics'
import type { Finder } from './finder.ts'
import { VALUE_BYTES_SHIFT } from './layout.ts'

/** What must be there for a write to be made. */
export interface Expected {
  /** Kind and length, as in an entry; null: no entry at all. */
  readonly sizes: number | null
  /** The value's words, or a large value's record. */
  readonly words: Int32Array
}

/** There must be no entry. */
export const NOTHING: Expected = { sizes: null, words: new Int32Array(0) }

const KIND_SHIFT = 12

/**
 * Whether the entry that the finder found is what is expected. Inside the guard.
 *
 * @param address Where it is; 0: it found none.
 */
export function agrees(finder: Finder, address: number, expected: Expected | null): boolean {
  if (expected === null) return true
  if (expected.sizes === null || address === 0) return expected.sizes === null && address === 0
  if (finder.sizes >>> KIND_SHIFT !== expected.sizes >>> KIND_SHIFT) return false
  const nrBytes = finder.sizes >>> VALUE_BYTES_SHIFT
  const nrWords = nrBytes >>> 2
  const from = finder.valueAt
  for (let i = 0; i < nrWords; i++) {
    const word = loadPlain(finder.words, from + i)
    if (word !== expected.words[i]) return false
  }
  if ((nrBytes & 3) === 0) return true
  const last = loadPlain(finder.words, from + nrWords)
  const mask = (1 << ((nrBytes & 3) * 8)) - 1
  return (last & mask) === (expected.words[nrWords]! & mask)
}
