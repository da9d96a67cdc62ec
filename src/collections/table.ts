import { loadPlain, type Words } from '#atomics'
import { UNIT_WORDS, VIRTUAL_OWNER, VIRTUAL_RECORD_WORDS } from '../mm/geometry.ts'
import { pfnOf, pteAt } from '../mm/page-table.ts'
import { OWNER_RUN_SHIFT } from '../mm/virtual-pages.ts'
import {
  type Addresses,
  addressesOf,
  type CollectionsContext,
  ENTRY_HEADER_WORDS,
  ENTRY_SIZES,
  isRun,
  nrSlotsOf,
  SHARD_BITS,
} from './layout.ts'

/**
 * A cursor on a shard's table, wherever that lies. Everything inside one guard section.
 *
 * The address of a table on an entries page is that of an entry; that of a run of whole pages is
 * the first unit of a page, where no entry is.
 */
export class Table {
  nrSlots = 0
  /** Slot i is `words[base + i]`, for what `seek` found up to `to`. */
  words: Words
  base = 0
  to = 0
  /** The page that `seek` found, and its page table word. */
  vpn = 0
  pte = 0
  readonly addresses: Addresses
  private readonly context: CollectionsContext
  private readonly pageTable: Words
  private first = 0
  private isRun = false

  constructor(context: CollectionsContext) {
    this.context = context
    this.pageTable = context.memory.pageTable
    this.addresses = addressesOf(context.memory.geometry)
    this.words = this.pageTable
  }

  /** Looks at the table at that address; `seek` next. */
  open(address: number): void {
    const { unitShift, unitMask } = this.addresses
    const vpn = address >>> unitShift
    this.isRun = isRun(address, unitMask)
    this.first = vpn
    if (this.isRun) {
      const owner = loadPlain(this.pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_OWNER)
      this.nrSlots = (owner >>> OWNER_RUN_SHIFT) << this.context.memory.geometry.pageWordsShift
      return
    }
    const at = this.locate(vpn) + (address & unitMask) * UNIT_WORDS
    const sizes = loadPlain(this.words, at + ENTRY_SIZES)
    this.nrSlots = nrSlotsOf(sizes)
    this.base = at + ENTRY_HEADER_WORDS
    this.to = this.nrSlots
  }

  /** Makes slot `i` reachable, and those up to `to`. */
  seek(i: number): void {
    if (!this.isRun) return
    const { pageWordsShift, pageWords } = this.context.memory.geometry
    const page = i >>> pageWordsShift
    this.base = this.locate(this.first + page) - (page << pageWordsShift)
    this.to = (page << pageWordsShift) + pageWords
  }

  /** What a slot holds that names the entry at `address`. */
  slotOf(hash: number, address: number): number {
    return this.tagOf(hash) | address
  }

  /** What stands in a slot above the address. */
  tagOf(hash: number): number {
    const { tagMask, addressBits } = this.addresses
    return ((hash >>> SHARD_BITS) & tagMask) << addressBits
  }

  private locate(vpn: number): number {
    const { pagesPerBlockShift, pagesPerBlock, pageWordsShift } = this.context.memory.geometry
    const pte = loadPlain(this.pageTable, pteAt(vpn))
    const pfn = pfnOf(pte)
    this.vpn = vpn
    this.pte = pte
    this.words = this.context.frames.block(pfn >>> pagesPerBlockShift)
    return (pfn & (pagesPerBlock - 1)) << pageWordsShift
  }
}
