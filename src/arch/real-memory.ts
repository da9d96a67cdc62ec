import { fillPlain } from '#atomics'
import { assert } from '../lib/assert.ts'

/**
 * How ranges of an address space arrive and leave. For the service thread only. Offsets and lengths
 * are in bytes, multiples of the system's page unless it says otherwise.
 */
export interface RealMemory {
  /** Whether `discard` gives memory back to the system; without, it only zeroes. */
  readonly discards: boolean
  /** Why it does not. */
  readonly reason?: string
  /** A range that has just been added: no huge pages, whose first touch stalls for milliseconds. */
  prepare(start: number, bytes: number): void
  /**
   * Makes each page of the range resident, its content as it was, so that writing it is not held
   * up. Any start and length.
   *
   * @throws {HotplugError} `ENOMEM`: the system has no memory left.
   */
  populate(start: number, bytes: number): void
  /**
   * Gives the range back; it reads as zeroes from now on, and is resident again where it is
   * touched.
   *
   * @returns How many bytes have really left.
   * @throws {HotplugError} `EBUSY`: the system does not let it go. Nothing has changed.
   */
  discard(start: number, bytes: number): number
  /** How many bytes of the range occupy memory. */
  resident(start: number, bytes: number): number
}

/**
 * Memory that stays: where there is no way to give it back.
 *
 * @param reason Why there is none.
 */
export function logicalMemory(
  buffer: SharedArrayBuffer,
  reason = 'it was not asked for',
): RealMemory {
  const wordsOf = (start: number, bytes: number): Int32Array => {
    assert(start % 4 === 0 && bytes % 4 === 0, `memory: range ${start}, ${bytes} is not of words`)
    return new Int32Array(buffer, start, bytes / 4)
  }
  return {
    discards: false,
    reason,
    prepare: () => {},
    populate: () => {},
    discard: (start, bytes) => {
      fillPlain(wordsOf(start, bytes), 0, 0, bytes / 4)
      return 0
    },
    resident: (_start, bytes) => bytes,
  }
}
