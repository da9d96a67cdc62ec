/*
 * Reading a key's value: the short way, which is most of what maps are asked.
 *
 *     R1  enter the guard
 *     R2  find the key's entry; leave, if it has none     (finder.ts)
 *     R3  copy its value out
 *     R4  leave
 *
 * R3 copies once, to where the value is wanted. What is made of the copy, also a text, is made
 * outside of the guard: the engine may collect garbage then, and memory may run out.
 *
 * Checked by map-core.check.ts.
 */
import { copyBytesOut, copyOut, type Words } from '#atomics'
import { utf8Of } from '../lib/utf8.ts'
import type { Guard } from '../locking/guard.ts'
import { Finder } from './finder.ts'
import type { Key } from './key.ts'
import {
  type CollectionsContext,
  ENTRY_KIND_MASK,
  SHARD_WORDS,
  VALUE_BYTES_SHIFT,
  wordsOf,
} from './layout.ts'

/** There is no entry. */
export const ABSENT = -1
/** The value is not on its entry's page. */
export const LARGE = -2
/** The value does not fit; `nrBytes` says how long it is. */
export const LONG = -3

/** Bytes that results are cut from, and the longest that is. */
const SLAB_BYTES = 32768
const CUT_MAX = SLAB_BYTES / 4
/** From so many bytes on, the slab's words are not worth a loop. */
const BULK_BYTES = 256

/** One thread's way to values of one map. */
export class Reader {
  /** Word 1 of the entry that was found. */
  sizes = 0
  readonly finder: Finder
  private readonly key: Key
  private readonly value: Int32Array
  private readonly valueBytes: Buffer
  private readonly guard: Guard
  private readonly first: number
  private readonly shardMask: number
  private slab: Buffer
  private slabWords: Int32Array
  private slabUsed = 0

  /** @param value Private: where large values' records go, and what `read` reads. */
  constructor(context: CollectionsContext, map: number, key: Key, value: Int32Array) {
    const { nrShards } = context.control
    this.finder = new Finder(context)
    this.key = key
    this.value = value
    this.valueBytes = Buffer.from(value.buffer)
    this.guard = context.guard
    this.first = map * nrShards * SHARD_WORDS
    this.shardMask = nrShards - 1
    this.slab = Buffer.alloc(0)
    this.slabWords = new Int32Array(0)
  }

  /** Bytes of the value that was found. */
  nrBytes(): number {
    return this.sizes >>> VALUE_BYTES_SHIFT
  }

  /** Where the shard of a hash is. */
  shardOf(hash: number): number {
    return this.first + (hash & this.shardMask) * SHARD_WORDS
  }

  /**
   * Copies the key's value to `value`.
   *
   * @returns How many bytes it has, or `ABSENT`, or `LARGE`: its record was copied.
   */
  read(): number {
    if (!this.begin()) return ABSENT
    const { finder, guard } = this
    const { sizes } = finder
    const nrBytes = sizes >>> VALUE_BYTES_SHIFT
    copyOut(this.value, 0, finder.words, finder.valueAt, wordsOf(nrBytes)) // R3
    guard.leave() // R4
    this.sizes = sizes
    return (sizes & ENTRY_KIND_MASK) === 0 ? nrBytes : LARGE
  }

  /**
   * Copies the key's value to `target`.
   *
   * @returns As `read`; or `LONG`, and nothing was copied.
   */
  into(target: Uint8Array): number {
    if (!this.begin()) return ABSENT
    const { finder, guard } = this
    const { sizes } = finder
    const nrBytes = sizes >>> VALUE_BYTES_SHIFT
    const isSmall = (sizes & ENTRY_KIND_MASK) === 0
    const isFit = isSmall && nrBytes <= target.length
    if (isFit) copyBytesOut(target, 0, finder.words, finder.valueAt, nrBytes) // R3
    guard.leave() // R4
    if (isFit) return nrBytes
    this.sizes = sizes
    if (isSmall) return LONG
    const again = this.read()
    return again >= 0 ? this.into(target) : again
  }

  /** The key's value as bytes that nobody else has; or as `read`. */
  copy(): Buffer | number {
    if (!this.begin()) return ABSENT
    const { finder, guard } = this
    const { sizes } = finder
    const nrBytes = sizes >>> VALUE_BYTES_SHIFT
    const at = this.slabUsed
    const isCut =
      (sizes & ENTRY_KIND_MASK) === 0 && nrBytes <= CUT_MAX && at + nrBytes <= this.slab.length
    if (isCut) this.copyToSlab(finder.words, finder.valueAt, nrBytes) // R3
    guard.leave() // R4
    if (!isCut) return this.copySlowly()
    this.slabUsed = (at + nrBytes + 7) & ~7
    return this.slab.subarray(at, at + nrBytes)
  }

  /** The key's value, which is UTF-8, as a string; or as `read`. */
  text(): string | number {
    if (!this.begin()) return ABSENT
    const { finder, guard } = this
    const { sizes } = finder
    const nrBytes = sizes >>> VALUE_BYTES_SHIFT
    copyOut(this.value, 0, finder.words, finder.valueAt, wordsOf(nrBytes)) // R3
    guard.leave() // R4
    this.sizes = sizes
    return (sizes & ENTRY_KIND_MASK) === 0 ? utf8Of(this.valueBytes, 0, nrBytes) : LARGE
  }

  /** R1, R2. @returns Whether the key has an entry; if not, it has left. */
  private begin(): boolean {
    const { finder, guard, key } = this
    guard.enter() // R1
    if (finder.look(this.shardOf(key.hash), key)) return true // R2
    guard.leave()
    return false
  }

  private copyToSlab(words: Words, index: number, nrBytes: number): void {
    const at = this.slabUsed
    if (nrBytes >= BULK_BYTES) copyBytesOut(this.slab, at, words, index, nrBytes)
    else copyOut(this.slabWords, at >>> 2, words, index, wordsOf(nrBytes))
  }

  /** There was no slab, or no room in it, or it is none of the values that are cut from one. */
  private copySlowly(): Buffer | number {
    const nrBytes = this.read()
    if (nrBytes < 0) return nrBytes
    const copy = Buffer.allocUnsafeSlow(nrBytes > CUT_MAX ? nrBytes : SLAB_BYTES)
    this.valueBytes.copy(copy, 0, 0, nrBytes)
    if (nrBytes > CUT_MAX) return copy
    this.slab = copy
    this.slabWords = new Int32Array(copy.buffer)
    this.slabUsed = (nrBytes + 7) & ~7
    return copy.subarray(0, nrBytes)
  }
}
