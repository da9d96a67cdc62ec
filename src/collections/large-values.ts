/*
 * Values that do not fit on an entries page: on chunk pages, which the entry names.
 *
 *     record   the entry's value: stamp, bytes, then for each run of pages its first and how many
 *
 * Chunks are written before the entry is published, and never changed. A reader copies one page in
 * each section of the guard, so that none is long; in each it looks the key up again and sees by
 * the stamp that the entry is still of the same value, whatever address it has by now. A stamp is
 * a number that its shard gives out once.
 *
 * Chunk pages are open until the entry is published, then sealed; retired when it is replaced. In
 * LIVE they have the hash of their key, by which orphans.ts finds out whether anything names them.
 *
 * Checked by large-values.check.ts.
 */
import { copyIn, copyOut, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { VirtualKind } from '../mm/geometry.ts'
import type { Heap } from './heap.ts'
import { VALUE_BYTES_SHIFT } from './layout.ts'

/** The largest value, in bytes. */
export const VALUE_BYTES_MAX = 64 * 1024 * 1024

const STAMP = 0
const BYTES = 1
const RUNS = 2
const RUN_PAGES_MAX = 1024

/** What a large value's entry says. */
export class LargeRecord {
  readonly words: Int32Array
  nrWords = 0

  /** @param nrWordsMax Words of an entry's value. */
  constructor(nrWordsMax: number) {
    this.words = new Int32Array(nrWordsMax)
  }

  get stamp(): number {
    return this.words[STAMP]!
  }

  get bytes(): number {
    return this.words[BYTES]!
  }

  /** Pages of all runs. */
  get nrPages(): number {
    let nrPages = 0
    for (let i = RUNS; i < this.nrWords; i += 2) nrPages += this.words[i + 1]!
    return nrPages
  }

  /**
   * Becomes what an entry says whose value is at `words[at]`. Inside the guard.
   *
   * @param sizes The entry's word 1.
   */
  take(words: Words, at: number, sizes: number): void {
    this.nrWords = sizes >>> (VALUE_BYTES_SHIFT + 2)
    copyOut(this.words, 0, words, at, this.nrWords)
  }

  begin(stamp: number, bytes: number): void {
    this.words[STAMP] = stamp
    this.words[BYTES] = bytes
    this.nrWords = RUNS
  }

  /** @returns Whether there was room for one more run. */
  push(vpn: number, nrPages: number): boolean {
    if (this.nrWords + 2 > this.words.length) return false
    this.words[this.nrWords] = vpn
    this.words[this.nrWords + 1] = nrPages
    this.nrWords += 2
    return true
  }

  /** Whether the value is on that page. */
  has(vpn: number): boolean {
    for (let at = RUNS; at < this.nrWords; at += 2) {
      const first = this.words[at]!
      if (vpn >= first && vpn < first + this.words[at + 1]!) return true
    }
    return false
  }

  /** The page that has the `i`th part of the value. */
  pageAt(i: number): number {
    for (let at = RUNS; at < this.nrWords; at += 2) {
      const nrPages = this.words[at + 1]!
      if (i < nrPages) return this.words[at]! + i
      i -= nrPages
    }
    assert(false, 'large values: a page beyond the last')
  }
}

/** One thread's hand on the large values of one map. */
export class LargeValues {
  private readonly heap: Heap
  private readonly page: Int32Array
  private readonly pageBytes: Uint8Array

  constructor(heap: Heap) {
    this.heap = heap
    this.page = new Int32Array(heap.geometry.pageWords)
    this.pageBytes = new Uint8Array(this.page.buffer)
  }

  /**
   * Writes a value to pages of its own. Outside the guard, without a lock.
   *
   * @param record Begun with stamp and bytes; gets the runs.
   * @returns Whether there was room; if not, nothing is left.
   */
  write(record: LargeRecord, hash: number, value: Uint8Array): boolean {
    const { pageSize } = this.heap.geometry
    const nrPages = Math.ceil(value.length / pageSize)
    if (!this.openPages(record, hash, nrPages)) {
      this.giveBack(record)
      return false
    }
    for (let i = 0; i < nrPages; i++) {
      const part = value.subarray(i * pageSize, (i + 1) * pageSize)
      this.pageBytes.set(part)
      this.writePage(record.pageAt(i), (part.length + 3) >>> 2)
    }
    return true
  }

  /** Copies one page of a value. Inside the guard, while the record is current. */
  copyPage(record: LargeRecord, i: number): void {
    this.heap.locatePage(record.pageAt(i))
    copyOut(this.page, 0, this.heap.words, this.heap.at, this.heap.geometry.pageWords)
  }

  /** What `copyPage` copied becomes the `i`th part of `target`. */
  takePage(target: Uint8Array, i: number): void {
    const { pageSize } = this.heap.geometry
    const begin = i * pageSize
    target.set(this.pageBytes.subarray(0, Math.min(pageSize, target.length - begin)), begin)
  }

  /** The record is published, or given up. */
  seal(record: LargeRecord): void {
    const nrPages = record.nrPages
    for (let i = 0; i < nrPages; i++) this.heap.pages.seal(record.pageAt(i))
  }

  /** The record will not be published. Outside the guard. */
  giveBack(record: LargeRecord): void {
    this.heap.guard.enter()
    this.seal(record)
    this.retire(record)
    this.heap.guard.leave()
  }

  /** Nobody can find the record any more. Inside the guard since before that. */
  retire(record: LargeRecord): void {
    const nrPages = record.nrPages
    for (let i = 0; i < nrPages; i++) this.heap.pages.retire(record.pageAt(i))
  }

  private openPages(record: LargeRecord, hash: number, nrPages: number): boolean {
    let length = Math.min(nrPages, RUN_PAGES_MAX)
    for (let left = nrPages; left > 0; ) {
      length = Math.min(length, left)
      const vpn = this.heap.openRun(VirtualKind.Chunk, length, hash)
      if (vpn < 0 && length === 1) return false
      if (vpn < 0) {
        length = length >>> 1
        continue
      }
      left -= length
      if (record.push(vpn, length)) continue
      this.heap.guard.enter()
      for (let i = 0; i < length; i++) this.heap.pages.seal(vpn + i)
      for (let i = 0; i < length; i++) this.heap.pages.retire(vpn + i)
      this.heap.guard.leave()
      return false
    }
    return true
  }

  private writePage(vpn: number, nrWords: number): void {
    for (;;) {
      this.heap.guard.enter()
      this.heap.locatePage(vpn)
      const isProtected = this.heap.isProtected()
      if (!isProtected) copyIn(this.heap.words, this.heap.at, this.page, 0, nrWords)
      this.heap.guard.leave()
      if (!isProtected) return
      this.heap.waitUnprotected(vpn)
    }
  }
}
