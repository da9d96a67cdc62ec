/*
 * How a shard's table is replaced by a larger one, or one without tombstones.
 *
 *     G1  a new table, empty, found by nobody     before the lock: it may need a page
 *         the shard's lock
 *     G2  the old one's slots into the new, in sections of the guard
 *     G3  EPOCH += 1
 *     G4  TABLE = the new one                     who reads the old one reads on in it
 *     G5  COUNT, USED, LIMIT, FULL
 *     G6  seal the new one's pages, drop the old one
 *
 * A death before G4 leaves the old table, and a new one that nobody finds; after it, the new one,
 * and an old one that nobody finds. Pages of tables that nobody finds are found by orphans.ts,
 * entries by compaction. G5 is counted again from the table by the lock's next owner (`recount`).
 *
 * Whoever walks a shard in several guard sections sees by EPOCH and TABLE, each time before it
 * goes on, that it is not the table any more that it began with.
 *
 * Checked by growth.check.ts.
 */
import { fillPlain, load, loadPlain, store, storePlain, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { VirtualKind, WRITE_PROTECTED } from '../mm/geometry.ts'
import type { Heap } from './heap.ts'
import {
  COUNT,
  type CollectionsContext,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  EntryKind,
  EPOCH,
  FULL,
  homeOf,
  isRun,
  LIMIT,
  SECTION_SLOTS,
  SHARD_WORDS,
  TABLE,
  TOMBSTONE,
  USED,
  unitsOf,
  VALUE_BYTES_SHIFT,
} from './layout.ts'
import { Table } from './table.ts'

/** A table has at least so many slots: with its header they fill two units. */
const SLOTS_MIN = 6
/** Units of such a table. */
const UNITS_MIN = 2
/** Slots of a new table for each key; if another size fills a page, this part of them will do. */
const SLOTS_PER_KEY = 2
const LEAST_PART = 0.8
/** The part of the slots that may be used before the table should grow; and before it must. */
const LIMIT_PART = 0.8
const FULL_PART = 0.9

const NO_KEY = new Int32Array(0)

/** Replaces the tables of one map, for one thread. */
export class Growth {
  private readonly shards: Words
  private readonly heap: Heap
  private readonly from: Table
  private readonly to: Table
  private nrCopied = 0

  constructor(context: CollectionsContext, heap: Heap) {
    this.shards = context.control.shards
    this.heap = heap
    this.from = new Table(context)
    this.to = new Table(context)
  }

  /** Whether the shard's table should be replaced; without its lock a guess. */
  isDue(shard: number): boolean {
    const used = loadPlain(this.shards, shard + USED)
    const limit = loadPlain(this.shards, shard + LIMIT)
    return used >= limit
  }

  /** Whether nothing can be added to the shard's table. With its lock. */
  isFull(shard: number): boolean {
    const used = load(this.shards, shard + USED)
    const full = load(this.shards, shard + FULL)
    return used >= full
  }

  /**
   * G1. Outside the guard, without the lock.
   *
   * @returns The new table's address; 0: there is no room.
   */
  prepare(shard: number): number {
    const count = load(this.shards, shard + COUNT)
    const { geometry } = this.heap
    const nrSlots = Math.max(SLOTS_MIN, (count + 1) * SLOTS_PER_KEY)
    const wanted = (ENTRY_HEADER_WORDS + nrSlots + 3) >>> 2
    if (wanted <= this.heap.unitsMax >>> 1) {
      const units = fill(wanted, this.heap.unitsMax)
      const bytes = (units * 4 - ENTRY_HEADER_WORDS) * 4
      const sizes = EntryKind.Table | (bytes << VALUE_BYTES_SHIFT)
      return this.heap.append(shard / SHARD_WORDS, sizes, NO_KEY, null)
    }
    const nrPages = Math.ceil(nrSlots / geometry.pageWords)
    const first = this.heap.openRun(VirtualKind.Table, nrPages, shard / SHARD_WORDS)
    if (first < 0) return 0
    for (let vpn = first; vpn < first + nrPages; vpn++) this.zero(vpn)
    return first << geometry.unitsPerPageShift
  }

  /** The table that `prepare` made is not needed. Before `settle`. */
  discard(address: number): void {
    if (this.isRun(address)) this.discardRun(address)
    else this.drop(address)
  }

  private discardRun(address: number): void {
    const nrPages = this.pagesOf(address)
    this.heap.guard.enter()
    this.sealPages(address, nrPages)
    this.retirePages(address, nrPages)
    this.heap.guard.leave()
  }

  /**
   * G2 to G6, with the lock. @returns Whether the table is the new one: there was room in it.
   */
  grow(shard: number, address: number): boolean {
    const old = load(this.shards, shard + TABLE)
    const nrSlots = this.nrSlotsOf(address)
    const count = load(this.shards, shard + COUNT)
    if (count + 1 > nrSlots * LIMIT_PART) return false
    this.nrCopied = 0
    const end = old === 0 ? 0 : this.nrSlotsOf(old)
    for (let i = 0; i < end; ) {
      i = this.copySection(old, address, i) // G2
      if (i < end && (this.to.pte & WRITE_PROTECTED) !== 0) this.heap.waitUnprotected(this.to.vpn)
    }
    this.replace(shard, address, old) // G3, G4
    this.setCounts(shard, this.nrCopied, this.nrCopied) // G5
    if (this.isRun(address)) this.sealPages(address, this.pagesOf(address)) // G6
    if (old !== 0 && !this.isRun(old)) this.drop(old)
    return true
  }

  /** G3 to G6 without a new table, with the lock: no key is left in the old one. */
  clear(shard: number): void {
    const old = load(this.shards, shard + TABLE)
    if (old === 0) return
    this.replace(shard, 0, old)
    this.setCounts(shard, 0, 0)
    if (!this.isRun(old)) this.drop(old)
  }

  /** G6 of a table whose publisher threw: what is open of its pages is sealed. With the lock. */
  sealRest(address: number): void {
    const { pages, geometry } = this.heap
    const nrPages = this.isRun(address) ? this.pagesOf(address) : 0
    const first = address >>> geometry.unitsPerPageShift
    for (let i = 0; i < nrPages; i++) if (!pages.isSealed(first + i)) pages.seal(first + i)
  }

  /** G3, G4 for any table, with the lock; 0: none. */
  publish(shard: number, address: number): void {
    const epoch = load(this.shards, shard + EPOCH)
    store(this.shards, shard + EPOCH, (epoch + 1) | 0)
    store(this.shards, shard + TABLE, address)
  }

  /** Nobody can find the entry at `address`, a table, any more. With the lock of its shard. */
  drop(address: number): void {
    this.heap.drop(address, this.unitsOfTable(address))
  }

  /**
   * As `publish`; pages of the old one are retired in the same section of the guard, so that who
   * sweeps orphans meanwhile does not have them reused before.
   */
  private replace(shard: number, address: number, old: number): void {
    const nrPages = old !== 0 && this.isRun(old) ? this.pagesOf(old) : 0
    this.heap.guard.enter()
    this.publish(shard, address)
    this.retirePages(old, nrPages)
    this.heap.guard.leave()
  }

  private retirePages(address: number, nrPages: number): void {
    const first = address >>> this.heap.geometry.unitsPerPageShift
    for (let i = nrPages - 1; i >= 0; i--) this.heap.pages.retire(first + i)
  }

  /** Pages of a table that is a run of them. Outside the guard. */
  private pagesOf(address: number): number {
    return this.nrSlotsOf(address) >>> this.heap.geometry.pageWordsShift
  }

  /** Counts again, with the lock, after its owner died. */
  recount(shard: number): void {
    const address = load(this.shards, shard + TABLE)
    let count = 0
    let used = 0
    const end = address === 0 ? 0 : this.nrSlotsOf(address)
    for (let i = 0; i < end; i += SECTION_SLOTS) {
      this.heap.guard.enter()
      this.from.open(address)
      for (let at = i; at < Math.min(i + SECTION_SLOTS, end); at++) {
        this.from.seek(at)
        const slot = loadPlain(this.from.words, this.from.base + at)
        if (slot !== 0) used++
        if (slot !== 0 && slot !== TOMBSTONE) count++
      }
      this.heap.guard.leave()
    }
    this.setCounts(shard, count, used)
  }

  /** Units of a table that is an entry. */
  unitsOfTable(address: number): number {
    const nrSlots = this.nrSlotsOf(address)
    return unitsOf(EntryKind.Table | (nrSlots << (VALUE_BYTES_SHIFT + 2)))
  }

  /** Slots of a table that stays: the caller has its shard's lock, or made it. */
  nrSlotsOf(address: number): number {
    this.heap.guard.enter()
    this.from.open(address)
    this.heap.guard.leave()
    return this.from.nrSlots
  }

  /** Whether a table is a run of whole pages. */
  isRun(address: number): boolean {
    return isRun(address, this.from.addresses.unitMask)
  }

  private setCounts(shard: number, count: number, used: number): void {
    const address = load(this.shards, shard + TABLE)
    const nrSlots = address === 0 ? 0 : this.nrSlotsOf(address)
    store(this.shards, shard + COUNT, count)
    store(this.shards, shard + USED, used)
    store(this.shards, shard + LIMIT, Math.floor(nrSlots * LIMIT_PART))
    store(this.shards, shard + FULL, Math.floor(nrSlots * FULL_PART))
  }

  /** @returns The first slot that was not copied: `to` is write-protected if that is early. */
  private copySection(old: number, address: number, begin: number): number {
    const { addressMask } = this.from.addresses
    this.heap.guard.enter()
    this.from.open(old)
    this.to.open(address)
    const end = Math.min(begin + SECTION_SLOTS, this.from.nrSlots)
    let i = begin
    for (; i < end; i++) {
      this.from.seek(i)
      const slot = loadPlain(this.from.words, this.from.base + i)
      if (slot === 0 || slot === TOMBSTONE) continue
      this.heap.locate(slot & addressMask)
      const hash = loadPlain(this.heap.words, this.heap.at + ENTRY_HASH)
      if (!this.insert(hash, slot)) break
      this.nrCopied++
    }
    this.heap.guard.leave()
    return i
  }

  private insert(hash: number, slot: number): boolean {
    const { to } = this
    let i = homeOf(hash, to.nrSlots)
    for (let left = to.nrSlots; left > 0; left--) {
      to.seek(i)
      if ((to.pte & WRITE_PROTECTED) !== 0) return false
      const seen = loadPlain(to.words, to.base + i)
      if (seen === 0) {
        storePlain(to.words, to.base + i, slot)
        return true
      }
      i = i + 1 === to.nrSlots ? 0 : i + 1
    }
    assert(false, 'growth: the new table is full')
  }

  private zero(vpn: number): void {
    for (;;) {
      this.heap.guard.enter()
      this.heap.locatePage(vpn)
      const isProtected = this.heap.isProtected()
      if (!isProtected) {
        fillPlain(this.heap.words, this.heap.at, 0, this.heap.geometry.pageWords)
      }
      this.heap.guard.leave()
      if (!isProtected) return
      this.heap.waitUnprotected(vpn)
    }
  }

  private sealPages(address: number, nrPages: number): void {
    const first = address >>> this.heap.geometry.unitsPerPageShift
    for (let i = 0; i < nrPages; i++) this.heap.pages.seal(first + i)
  }
}

/** @returns `units`, or more, or a little less, so that tables of that size fill a page. */
function fill(units: number, unitsMax: number): number {
  const nrOnPage = Math.floor(unitsMax / Math.ceil(units * LEAST_PART))
  return Math.max(Math.floor(unitsMax / nrOnPage), UNITS_MIN)
}
