/*
 * Finding a key's entry: what every operation begins with.
 *
 *     F1  TABLE of the shard
 *     F2  slots from the hash's home on, until one is empty
 *     F3  a slot with the hash's tag: the entry that it names has the key, or go on
 *
 * All inside one guard section, which is what makes plain loads right: whatever F1, F2 and the
 * page table said stays readable until the section ends, though it may be replaced meanwhile.
 *
 * A reader meets the table as it was at F1, or, where it was replaced meanwhile, as it was at that
 * moment: nobody writes to a table that is not its shard's. Within a table a key stays in its slot
 * until it is deleted. So what is found was there at some moment of the search, and if nothing is
 * found there was a moment when it was not there.
 *
 * Who holds the shard's lock may go by the slot that is left in `slotWords`, in the same section.
 *
 * Checked by map-core.check.ts.
 */
import { load, loadPlain, type Words } from '#atomics'
import {
  type Frames,
  type Geometry,
  PTE,
  UNIT_WORDS,
  VIRTUAL_RECORD_WORDS,
} from '../mm/geometry.ts'
import type { Key } from './key.ts'
import {
  type CollectionsContext,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  ENTRY_SIZES,
  homeOf,
  KEY_BYTES_MASK,
  nrSlotsOf,
  SHARD_BITS,
  TABLE,
  TOMBSTONE,
} from './layout.ts'
import { Table } from './table.ts'

/** One thread's way to entries. What it found holds until the guard is left. */
export class Finder {
  /** The entry that was found begins at `words[at]`; its word 1. */
  words: Words
  at = 0
  sizes = 0
  /** Where its value begins. */
  valueAt = 0
  /** The key's slot; if it was not found, the first that can be its, which holds `slot`. */
  slotWords: Words
  slotAt = 0
  slot = 0
  /** The page that the slot is on, and its page table word. */
  slotVpn = 0
  slotPte = 0
  readonly table: Table
  private slotIndex = 0
  private readonly shards: Words
  private readonly pageTable: Words
  private readonly frames: Frames
  private readonly geometry: Geometry
  private readonly isPlain: boolean
  /** Of the geometry, for `look`. */
  private readonly unitShift: number
  private readonly pagesShift: number
  private readonly pagesMask: number
  private readonly pageWordsShift: number
  private readonly addressMask: number
  private readonly addressBits: number
  private readonly tagMask: number

  constructor(context: CollectionsContext) {
    this.table = new Table(context)
    this.shards = context.control.shards
    this.pageTable = context.memory.pageTable
    this.frames = context.frames
    this.geometry = context.memory.geometry
    this.isPlain = context.guard.form === 'asymmetric'
    this.unitShift = this.geometry.unitsPerPageShift
    this.pagesShift = this.geometry.pagesPerBlockShift
    this.pagesMask = this.geometry.pagesPerBlock - 1
    this.pageWordsShift = this.geometry.pageWordsShift
    this.addressMask = this.table.addresses.addressMask
    this.addressBits = this.table.addresses.addressBits
    this.tagMask = this.table.addresses.tagMask
    this.words = this.shards
    this.slotWords = this.shards
  }

  /**
   * As `find`, for readers: says nothing of slots, and is short. Nearly every table is on an
   * entries page, which is looked up once.
   *
   * @returns Whether the key has an entry: its word 1 is `sizes`, its value begins at
   *   `words[valueAt]`.
   */
  look(shard: number, key: Key): boolean {
    const { pageTable, frames, unitShift, pagesShift, pagesMask, pageWordsShift } = this
    const index = shard + TABLE
    const table = this.isPlain ? loadPlain(this.shards, index) : load(this.shards, index) // F1
    if (table === 0) return false
    const unitMask = (1 << unitShift) - 1
    if ((table & unitMask) === 0) return this.lookInRun(shard, key)
    const tablePte = loadPlain(pageTable, (table >>> unitShift) * VIRTUAL_RECORD_WORDS + PTE)
    const tablePfn = (tablePte >>> 1) - 1
    const slots = frames.block(tablePfn >>> pagesShift)
    const header = ((tablePfn & pagesMask) << pageWordsShift) + (table & unitMask) * UNIT_WORDS
    const nrSlots = nrSlotsOf(loadPlain(slots, header + ENTRY_SIZES))
    const first = header + ENTRY_HEADER_WORDS
    const { addressMask } = this
    const { hash } = key
    const tag = ((hash >>> SHARD_BITS) & this.tagMask) << this.addressBits
    let i = homeOf(hash, nrSlots)
    for (let left = nrSlots; left > 0; left--) {
      const slot = loadPlain(slots, first + i) // F2
      if (slot === 0) return false
      if ((slot & ~addressMask) === tag && slot !== TOMBSTONE) {
        if (this.matches(slot & addressMask, key)) return true
      }
      i = i + 1 === nrSlots ? 0 : i + 1
    }
    return false
  }

  /**
   * Looks for a key. Inside the guard.
   *
   * @param shard Index of its first word.
   * @returns The entry's address; 0: it is not there. `slotPte` is 0 if there is no table.
   */
  find(shard: number, key: Key): number {
    const { hash } = key
    const { table } = this
    const index = shard + TABLE
    const address = this.isPlain ? loadPlain(this.shards, index) : load(this.shards, index) // F1
    this.slotPte = 0
    if (address === 0) return 0
    table.open(address)
    const { nrSlots } = table
    const tag = table.tagOf(hash)
    const { addressMask } = table.addresses
    let i = homeOf(hash, nrSlots)
    table.seek(i)
    for (let left = nrSlots; left > 0; left--) {
      const slot = loadPlain(table.words, table.base + i) // F2
      if (slot === 0) {
        if (this.slotPte === 0) this.note(slot, i)
        return 0
      }
      if (slot === TOMBSTONE) {
        if (this.slotPte === 0) this.note(slot, i)
      } else if ((slot & ~addressMask) === tag && this.matches(slot & addressMask, key)) {
        this.note(slot, i)
        return slot & addressMask
      }
      i++
      if (i === table.to) {
        if (i === nrSlots) i = 0
        table.seek(i)
      }
    }
    return 0
  }

  /**
   * Looks for the slot that names an entry. Inside the guard, with the shard's lock.
   *
   * @returns Whether there is one: it is in `slotWords`.
   */
  findAddress(shard: number, hash: number, address: number): boolean {
    const { table } = this
    const index = shard + TABLE
    const tableAddress = load(this.shards, index)
    if (tableAddress === 0) return false
    table.open(tableAddress)
    const { nrSlots } = table
    const wanted = table.slotOf(hash, address)
    let i = homeOf(hash, nrSlots)
    for (let left = nrSlots; left > 0; left--) {
      table.seek(i)
      const slot = loadPlain(table.words, table.base + i)
      if (slot === 0) return false
      if (slot === wanted) {
        this.note(slot, i)
        return true
      }
      i = i + 1 === nrSlots ? 0 : i + 1
    }
    return false
  }

  /** Whether the slot after the one that was found is empty. Inside the same section. */
  isLast(): boolean {
    const { table } = this
    const i = this.slotIndex + 1 === table.nrSlots ? 0 : this.slotIndex + 1
    table.seek(i)
    const next = loadPlain(table.words, table.base + i)
    return next === 0
  }

  private lookInRun(shard: number, key: Key): boolean {
    return this.find(shard, key) !== 0
  }

  /** F3. */
  private matches(address: number, key: Key): boolean {
    const { unitShift, pageTable } = this
    const unit = address & ((1 << unitShift) - 1)
    const pte = loadPlain(pageTable, (address >>> unitShift) * VIRTUAL_RECORD_WORDS + PTE)
    const pfn = (pte >>> 1) - 1
    const words = this.frames.block(pfn >>> this.pagesShift)
    const at = ((pfn & this.pagesMask) << this.pageWordsShift) + unit * UNIT_WORDS
    const hash = loadPlain(words, at + ENTRY_HASH)
    if (hash !== key.hash) return false
    const sizes = loadPlain(words, at + ENTRY_SIZES)
    if ((sizes & KEY_BYTES_MASK) !== key.nrBytes) return false
    const keyAt = at + ENTRY_HEADER_WORDS
    const keyWords = key.words
    const { nrWords } = key
    for (let i = 0; i < nrWords; i++) {
      const word = loadPlain(words, keyAt + i)
      if (word !== keyWords[i]) return false
    }
    this.words = words
    this.at = at
    this.valueAt = keyAt + nrWords
    this.sizes = sizes
    return true
  }

  private note(slot: number, i: number): void {
    this.slot = slot
    this.slotWords = this.table.words
    this.slotAt = this.table.base + i
    this.slotIndex = i
    this.slotVpn = this.table.vpn
    this.slotPte = this.table.pte
  }
}
