/*
 * The keys of a shard, without holding up anybody.
 *
 * Keys are copied in sections of the guard, a part of the table in each. A table keeps a key in
 * its slot until the key is deleted, so one walk over one table meets each key that is there all
 * the time exactly once. If between two sections the table was replaced, which EPOCH and TABLE
 * tell, the walk begins again in the new one; what it meets a second time is known already.
 *
 * Checked by growth.check.ts.
 */
import { copyOut, load, loadPlain, type Words } from '#atomics'
import type { Heap } from './heap.ts'
import {
  type CollectionsContext,
  ENTRY_HEADER_WORDS,
  ENTRY_SIZES,
  EPOCH,
  KEY_BYTES_MASK,
  SECTION_SLOTS,
  SHARD_WORDS,
  TABLE,
  TOMBSTONE,
  wordsOf,
} from './layout.ts'
import { Table } from './table.ts'

const SECTION_WORDS = 8192
const KEY_WORDS_MAX = wordsOf(KEY_BYTES_MASK)
const DONE = -1
const CHANGED = -2

/** One thread's walk over the keys of a map. */
export class Walker {
  private readonly shards: Words
  private readonly first: number
  private readonly heap: Heap
  private readonly table: Table
  private readonly scratch: Int32Array
  private readonly scratchBytes: Buffer
  /** Where the keys of the last section end in `scratch`: length, words, length, ... */
  private end = 0

  constructor(context: CollectionsContext, heap: Heap, map: number) {
    this.shards = context.control.shards
    this.first = map * context.control.nrShards * SHARD_WORDS
    this.heap = heap
    this.table = new Table(context)
    this.scratch = new Int32Array(SECTION_WORDS)
    this.scratchBytes = Buffer.from(this.scratch.buffer)
  }

  /** The keys of the `i`th shard: each that is there during the whole call, and maybe others. */
  keysOf(i: number): Set<string> {
    const shard = this.first + i * SHARD_WORDS
    const keys = new Set<string>()
    for (;;) {
      const epoch = load(this.shards, shard + EPOCH)
      const table = load(this.shards, shard + TABLE)
      if (table === 0) return keys
      let at = 0
      while (at >= 0) {
        at = this.section(shard, table, epoch, at)
        this.decode(keys)
      }
      if (at === DONE) return keys
    }
  }

  /** @returns The slot to go on with, or `DONE`, or `CHANGED`. */
  private section(shard: number, address: number, epoch: number, begin: number): number {
    const { table, heap } = this
    this.end = 0
    heap.guard.enter()
    const nowAddress = load(this.shards, shard + TABLE)
    const nowEpoch = load(this.shards, shard + EPOCH)
    if (nowAddress !== address || nowEpoch !== epoch) {
      heap.guard.leave()
      return CHANGED
    }
    table.open(address)
    const end = Math.min(begin + SECTION_SLOTS, table.nrSlots)
    let i = begin
    for (; i < end && this.end + 1 + KEY_WORDS_MAX <= SECTION_WORDS; i++) {
      table.seek(i)
      const slot = loadPlain(table.words, table.base + i)
      if (slot !== 0 && slot !== TOMBSTONE) this.take(slot & table.addresses.addressMask)
    }
    heap.guard.leave()
    return i >= table.nrSlots ? DONE : i // less than before: the machine is shut down
  }

  private take(address: number): void {
    this.heap.locate(address)
    const sizes = loadPlain(this.heap.words, this.heap.at + ENTRY_SIZES)
    const nrBytes = sizes & KEY_BYTES_MASK
    const nrWords = wordsOf(nrBytes)
    const from = this.heap.at + ENTRY_HEADER_WORDS
    this.scratch[this.end] = nrBytes
    copyOut(this.scratch, this.end + 1, this.heap.words, from, nrWords)
    this.end += 1 + nrWords
  }

  private decode(keys: Set<string>): void {
    for (let at = 0; at < this.end; ) {
      const nrBytes = this.scratch[at]!
      const from = (at + 1) * 4
      keys.add(this.scratchBytes.toString('utf8', from, from + nrBytes))
      at += 1 + wordsOf(nrBytes)
    }
  }
}
