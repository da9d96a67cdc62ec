/*
 * One map in words: what is under SharedMap, and what is checked.
 *
 *     read                               write
 *     R1  enter the guard                W1  append the entry to my own page       (heap.ts)
 *     R2  find the key's entry           W2  a larger table, if it is time for one (growth.ts)
 *     R3  copy its value                 W3  the shard's lock; if its owner died: count again
 *     R4  leave                          W4  inside the guard: find the key's slot, its page not
 *                                            write-protected; slot = the new entry
 *     remove: W3, then                   W5  COUNT, USED; the old entry is dropped
 *     W4' slot = TOMBSTONE, or 0         W6  unlock
 *         if the next one is empty
 *
 * Linearizable per key: W4 is one store, made while the writer has the lock, and what a reader
 * finds is what the key was at some moment of its search (finder.ts). An entry is whole before W4
 * and does not change after it; it is reused after a grace period that begins after W5.
 *
 * Readers take no lock, and never wait or try again; but for large values (`readLocked`).
 *
 * Deaths. Before W4 nothing has changed for others: the entry lies on a page that was open by the
 * dead, and is garbage. After W4 all has: what is left is to count, which the next owner of the
 * lock does, who is told. An old entry that was not dropped is found by compaction.
 *
 * With the lock, a writer waits for nothing but write protection, whose end does not wait for
 * shards' locks. Pages are taken before it.
 *
 * Checked by map-core.check.ts.
 */
import { add, load, loadPlain, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { WRITE_PROTECTED } from '../mm/geometry.ts'
import { agrees, type Expected, NOTHING } from './expected.ts'
import type { Finder } from './finder.ts'
import { Growth } from './growth.ts'
import { Heap } from './heap.ts'
import { Key, keyBytesMax } from './key.ts'
import { LargeRecord } from './large-values.ts'
import {
  COUNT,
  type CollectionsContext,
  ENTRY_HEADER_WORDS,
  ENTRY_KIND_MASK,
  EntryKind,
  KEY_BYTES_MASK,
  SHARD_WORDS,
  STAMPS,
  TABLE,
  TOMBSTONE,
  USED,
  unitsOf,
  VALUE_BYTES_SHIFT,
  wordsOf,
} from './layout.ts'
import { ABSENT, LARGE, Reader } from './reader.ts'
import { ShardLocks } from './shard-locks.ts'
import { Unfinished } from './unfinished.ts'

const Outcome = { Done: 0, Refused: 1, Full: 2 } as const
type Outcome = (typeof Outcome)[keyof typeof Outcome]

/** As `SECTION_SLOTS`, to be cleared: fewer, for each entry is dropped by atomic operations. */
const CLEARED_SLOTS = 256

/** What a map is made of; models put broken parts in their place. */
export interface MapParts {
  readonly Growth: typeof Growth
  readonly ShardLocks: typeof ShardLocks
}

/** What a key has: null if nothing; and what to compare with later. */
export interface Found {
  readonly value: Buffer | null
  readonly expected: Expected
}

const PARTS: MapParts = { Growth, ShardLocks }

/** One thread's hand on one map. `key` says of which key, `value` has values; both are private. */
export class MapCore {
  readonly key: Key
  readonly value: Int32Array
  readonly valueBytes: Buffer
  readonly map: number
  readonly heap: Heap
  readonly reader: Reader
  readonly growth: Growth
  readonly locks: ShardLocks
  /** How often `readLocked` took a lock. */
  nrLockedReads = 0
  private readonly context: CollectionsContext
  private readonly shards: Words
  private readonly finder: Finder
  /** The large value that was read. */
  private readonly seen: LargeRecord
  private readonly unfinished: Unfinished

  constructor(context: CollectionsContext, map: number, parts = PARTS) {
    const { pageWords, pageSize } = context.memory.geometry
    this.context = context
    this.map = map
    this.shards = context.control.shards
    this.key = new Key(context.control.seed, keyBytesMax(pageSize))
    this.value = new Int32Array(pageWords)
    this.valueBytes = Buffer.from(this.value.buffer)
    this.heap = new Heap(context, map)
    this.reader = new Reader(context, map, this.key, this.value)
    this.finder = this.reader.finder
    this.growth = new parts.Growth(context, this.heap)
    this.locks = new parts.ShardLocks(context, map)
    this.seen = new LargeRecord(pageWords >>> 2)
    this.unfinished = new Unfinished(context, this)
  }

  /** Whether a value of so many bytes is on an entries page, beside the key. */
  isSmall(nrBytes: number): boolean {
    const words = ENTRY_HEADER_WORDS + this.key.nrWords + wordsOf(nrBytes)
    return words <= this.heap.unitsMax * 4
  }

  /**
   * Copies the key's value to `value`.
   *
   * @returns How many bytes it has, or `ABSENT`, or `LARGE`: `readLarge` is next.
   */
  read(): number {
    const nrBytes = this.reader.read()
    if (nrBytes === LARGE) this.rememberLarge()
    return nrBytes
  }

  /** After `read` said `LARGE`. @returns The value; null: it was replaced meanwhile, read again. */
  readLarge(): Buffer | null {
    const { guard } = this.heap
    const { seen } = this
    const shard = this.shardOf(this.key.hash)
    const target = Buffer.allocUnsafeSlow(seen.bytes)
    const nrPages = seen.nrPages
    for (let i = 0; i < nrPages; i++) {
      guard.enter()
      const isCurrent = this.names(shard, seen.stamp)
      if (isCurrent) this.unfinished.large.copyPage(seen, i)
      guard.leave()
      if (!isCurrent) return null
      this.unfinished.large.takePage(target, i)
    }
    return target
  }

  /**
   * As `read` and `readLarge`, with the shard's lock, so that nobody replaces it meanwhile: the one
   * read that may wait.
   */
  readLocked(): Found {
    this.nrLockedReads++
    const shard = this.lock()
    let value: Buffer | null = null
    const nrBytes = this.read()
    const expected = this.remember(nrBytes)
    if (nrBytes === LARGE) value = this.readLarge()
    if (nrBytes >= 0) value = Buffer.from(this.valueBytes.subarray(0, nrBytes))
    this.unfinished.unlock(shard)
    return { value, expected }
  }

  /** What `read` found just now, to compare with later. */
  remember(nrBytes: number): Expected {
    if (nrBytes === ABSENT) return NOTHING
    const { sizes } = this.reader
    const words = this.value.slice(0, wordsOf(sizes >>> VALUE_BYTES_SHIFT))
    return { sizes, words }
  }

  /** Whether the key is there. */
  has(): boolean {
    const shard = this.shardOf(this.key.hash)
    this.heap.guard.enter()
    const isThere = this.finder.look(shard, this.key)
    this.heap.guard.leave()
    return isThere
  }

  /**
   * Writes the first `nrBytes` of `value`, which are small and padded with anything.
   *
   * @param expected What must be there; anything if null.
   * @returns Whether it was there, and the value was written.
   * @throws {HotplugError} `ENOMEM`: there is no room. Nothing has changed.
   */
  write(nrBytes: number, expected: Expected | null): boolean {
    const sizes = this.key.nrBytes | EntryKind.Small | (nrBytes << VALUE_BYTES_SHIFT)
    return this.writeEntry(sizes, expected)
  }

  /** As `write`, for a value that is not small. */
  writeLarge(value: Uint8Array, expected: Expected | null): boolean {
    const { unfinished, key } = this
    const { mine } = unfinished
    this.context.slot.assertAttached('write to a map') // before anything has changed
    const stamp = add(this.shards, this.shardOf(key.hash) + STAMPS, 1)
    mine.begin(stamp, value.length)
    unfinished.isMineOpen = true
    if (!unfinished.large.write(mine, key.hash, value)) {
      unfinished.isMineOpen = false
      this.refuse()
    }
    const recordBytes = mine.nrWords * 4
    assert(this.isSmall(recordBytes), 'map: a record is larger than a page')
    this.value.set(mine.words.subarray(0, mine.nrWords))
    const sizes = key.nrBytes | EntryKind.Large | (recordBytes << VALUE_BYTES_SHIFT)
    const isWritten = this.writeEntry(sizes, expected)
    unfinished.giveUpMine()
    return isWritten
  }

  /**
   * Deletes the key.
   *
   * @param expected What must be there; anything if null.
   * @returns Whether it was there.
   */
  remove(expected: Expected | null): boolean {
    const shard = this.lock()
    const isRemoved = this.unpublish(shard, expected)
    this.unfinished.unlock(shard)
    return isRemoved
  }

  /** Deletes each key that is there, shard by shard. */
  clear(): void {
    const { nrShards } = this.context.control
    const first = this.map * nrShards * SHARD_WORDS
    for (let i = 0; i < nrShards; i++) {
      const shard = first + i * SHARD_WORDS
      const table = load(this.shards, shard + TABLE)
      if (table !== 0) this.clearShard(shard)
    }
  }

  /** How many keys there are; exact when nobody writes. */
  size(): number {
    const { nrShards } = this.context.control
    const first = this.map * nrShards * SHARD_WORDS
    let size = 0
    for (let i = 0; i < nrShards; i++) {
      const shard = first + i * SHARD_WORDS
      if (this.locks.isLeft(shard)) this.repair(shard)
      const count = load(this.shards, shard + COUNT)
      size += count
    }
    return size
  }

  /** Counts a shard again if the last owner of its lock died. */
  repair(shard: number): void {
    this.unfinished.lock(shard)
    this.unfinished.unlock(shard)
  }

  /** Lets go of what a call had that threw in the middle; nothing is held then. */
  letGo(): void {
    this.unfinished.letGo()
  }

  /** W1 to W6. */
  private writeEntry(sizes: number, expected: Expected | null): boolean {
    const { key, heap, growth, unfinished } = this
    const shard = this.shardOf(key.hash)
    const address = heap.append(key.hash, sizes, key.words, this.value) // W1
    if (address === 0) this.refuse()
    unfinished.entry = address
    unfinished.units = unitsOf(sizes)
    unfinished.spare = growth.isDue(shard) ? growth.prepare(shard) : 0 // W2
    let outcome: Outcome
    for (;;) {
      this.lock() // W3
      const { spare } = unfinished
      const isGrown = spare !== 0 && growth.isDue(shard) && growth.grow(shard, spare)
      if (isGrown) unfinished.spare = 0
      outcome = this.publish(shard, address, expected)
      unfinished.sealMine()
      unfinished.unlock(shard) // W6
      unfinished.discardSpare()
      if (outcome !== Outcome.Full) break
      unfinished.spare = growth.prepare(shard)
      if (unfinished.spare === 0) break
    }
    unfinished.dropEntry()
    heap.settle()
    if (outcome === Outcome.Full) this.refuse()
    return outcome === Outcome.Done
  }

  /** W4, W5. */
  private publish(shard: number, address: number, expected: Expected | null): Outcome {
    const { finder, key, unfinished } = this
    const { guard } = this.heap
    for (;;) {
      guard.enter()
      const old = finder.find(shard, key)
      if ((finder.slotPte & WRITE_PROTECTED) !== 0) {
        guard.leave()
        this.heap.waitUnprotected(finder.slotVpn)
        continue
      }
      const isWanted = agrees(finder, old, expected)
      const isNew = old === 0 && finder.slot === 0
      const hasRoom = finder.slotPte !== 0 && !(isNew && this.growth.isFull(shard))
      if (!isWanted || !hasRoom) {
        guard.leave()
        return isWanted ? Outcome.Full : Outcome.Refused
      }
      this.noteOld(old)
      store(finder.slotWords, finder.slotAt, finder.table.slotOf(key.hash, address)) // W4
      unfinished.entry = 0
      unfinished.isMineNamed = unfinished.isMineOpen
      unfinished.isOldGone = true
      unfinished.retireOld()
      guard.leave()
      if (old === 0) this.count(shard, 1, isNew ? 1 : 0)
      else this.heap.drop(old, unitsOf(finder.sizes)) // W5
      return Outcome.Done
    }
  }

  /** W4', W5. */
  private unpublish(shard: number, expected: Expected | null): boolean {
    const { finder, key } = this
    const { guard } = this.heap
    for (;;) {
      guard.enter()
      const old = finder.find(shard, key)
      if (old === 0 || !agrees(finder, old, expected)) {
        guard.leave()
        return false
      }
      if ((finder.slotPte & WRITE_PROTECTED) !== 0) {
        guard.leave()
        this.heap.waitUnprotected(finder.slotVpn)
        continue
      }
      this.noteOld(old)
      const isLast = finder.isLast()
      store(finder.slotWords, finder.slotAt, isLast ? 0 : TOMBSTONE) // W4'
      this.unfinished.isOldGone = true
      this.unfinished.retireOld()
      guard.leave()
      this.count(shard, -1, isLast ? -1 : 0)
      this.heap.drop(old, unitsOf(finder.sizes))
      return true
    }
  }

  /** Whether the key's entry is of the large value with that stamp. Inside the guard. */
  private names(shard: number, stamp: number): boolean {
    const { finder } = this
    const address = finder.find(shard, this.key)
    if (address === 0 || (finder.sizes & ENTRY_KIND_MASK) !== EntryKind.Large) return false
    const found = loadPlain(finder.words, finder.valueAt)
    return found === stamp
  }

  /** The record in `value` is that of the large value that is read. */
  rememberLarge(): void {
    const { seen } = this
    seen.nrWords = this.reader.sizes >>> (VALUE_BYTES_SHIFT + 2)
    for (let i = 0; i < seen.nrWords; i++) seen.words[i] = this.value[i]!
  }

  /** If it is large, its pages are to be retired when it was replaced. Inside the guard. */
  private noteOld(address: number): void {
    const { old } = this.unfinished
    old.nrWords = 0
    if (address === 0 || (this.finder.sizes & ENTRY_KIND_MASK) !== EntryKind.Large) return
    old.take(this.finder.words, this.finder.valueAt, this.finder.sizes)
  }

  /** W3. @returns The shard of the key. */
  private lock(): number {
    const shard = this.shardOf(this.key.hash)
    this.unfinished.lock(shard)
    return shard
  }

  private shardOf(hash: number): number {
    return this.reader.shardOf(hash)
  }

  /** W5. */
  private count(shard: number, keys: number, used: number): void {
    const count = load(this.shards, shard + COUNT)
    store(this.shards, shard + COUNT, count + keys)
    if (used === 0) return
    const before = load(this.shards, shard + USED)
    store(this.shards, shard + USED, before + used)
  }

  private clearShard(shard: number): void {
    this.unfinished.lock(shard)
    const address = load(this.shards, shard + TABLE)
    const end = address === 0 ? 0 : this.growth.nrSlotsOf(address)
    for (let i = 0; i < end; ) {
      this.context.assertOpen?.() // a machine that is shut down has no end of a table
      i = this.clearSection(address, i)
      if (i < 0) {
        i = ~i
        this.heap.waitUnprotected(this.finder.table.vpn)
      }
    }
    this.growth.clear(shard)
    this.unfinished.unlock(shard)
  }

  /** @returns The next slot to look at, or its complement: its page is write-protected. */
  private clearSection(address: number, begin: number): number {
    const { heap } = this
    const { table } = this.finder
    heap.guard.enter()
    table.open(address)
    const end = Math.min(begin + CLEARED_SLOTS, table.nrSlots)
    let i = begin
    for (; i < end; i++) {
      table.seek(i)
      if ((table.pte & WRITE_PROTECTED) !== 0) break
      const slot = loadPlain(table.words, table.base + i)
      if (slot === 0 || slot === TOMBSTONE) continue
      const entry = slot & table.addresses.addressMask
      const sizes = this.noteEntry(entry)
      store(table.words, table.base + i, TOMBSTONE)
      this.unfinished.isOldGone = true
      heap.dropInside(entry, unitsOf(sizes))
      this.unfinished.retireOld()
    }
    heap.guard.leave()
    return i < end ? ~i : i
  }

  /** As `noteOld`, for an entry of any key. @returns Its word 1. */
  private noteEntry(address: number): number {
    const { heap } = this
    const { old } = this.unfinished
    heap.locate(address)
    const sizes = loadPlain(heap.words, heap.at + 1)
    if ((sizes & ENTRY_KIND_MASK) === EntryKind.Large) {
      old.take(heap.words, heap.at + ENTRY_HEADER_WORDS + wordsOf(sizes & KEY_BYTES_MASK), sizes)
    }
    return sizes
  }

  private refuse(): never {
    this.unfinished.giveUpMine()
    this.heap.settle()
    throw new HotplugError('ENOMEM', 'write to a map', 'there is no page free')
  }
}
