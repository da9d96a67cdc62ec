/*
 * A map's heap, as one thread has it: entries are appended to the thread's own open pages, never
 * changed, and left behind where they are when nobody can find them any more.
 *
 *     append                                     drop, under the lock of the shard that named it
 *     A1  inside the guard: PTE of my page,      D1  LIVE -= units; if that made it 0,
 *         not write-protected                    D2  the page is Sealed, LIVE still 0: retire it
 *     A2  the entry's words; USED               settle, when nothing of mine is unpublished
 *     A3  outside: LIVE += units                 S1  each full page: seal it
 *         the caller publishes the address       S2  LIVE is 0: retire it
 *
 * LIVE is never less than what is live or about to be: it is raised (A3) before anyone can find
 * the entry, and lowered (D1) after nobody can. So a sealed page whose LIVE is 0 can go. Of D2 and
 * S1, S2, whichever comes last sees both. A page that was open at D1 may be filled and sealed
 * before D2, so D2 goes by what LIVE is then. A thread that dies between leaves LIVE too high,
 * which compaction finds out. A page is not sealed while an entry on it is still to be published:
 * its thread keeps it open until the end of its operation (`settle`).
 *
 * A page of mine that is write-protected is being moved: I leave it and open another (A1).
 *
 * Large entries and tables have open pages apart from those of small ones: what does not fit on a
 * page leaves no large hole among the small, and tables, which are replaced at about the same time
 * as those of other shards, leave whole pages.
 *
 * Checked by map-core.check.ts.
 */
import { add, copyIn, fillPlain, load, loadPlain, storePlain, sub, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Guard } from '../locking/guard.ts'
import {
  type Frames,
  type Geometry,
  PTE,
  UNIT_WORDS,
  VIRTUAL_LIVE,
  VIRTUAL_RECORD_WORDS,
  VirtualKind,
  WRITE_PROTECTED,
} from '../mm/geometry.ts'
import { waitUnprotected } from '../mm/migration.ts'
import type { VirtualPages } from '../mm/virtual-pages.ts'
import {
  type CollectionsContext,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  ENTRY_KIND_MASK,
  ENTRY_SIZES,
  EntryKind,
  KEY_BYTES_MASK,
  PAGE_HEADER_UNITS,
  PAGE_USED,
  unitsOf,
  VALUE_BYTES_SHIFT,
  wordsOf,
} from './layout.ts'

/** How often others may take the room that was made. */
const ROOM_TRIES = 64
/** Entries larger than this part of a page go to the open page for large ones. */
const LARGE_PART_SHIFT = 3

/** A page that the thread appends to. */
interface Open {
  /** 0: none. */
  vpn: number
  /** Units in use. */
  used: number
}

/** One thread's hand on the heap of one map. */
export class Heap {
  /** Where `locate` found an address: its first word is `words[at]`. */
  words: Words
  at = 0
  /** The page table's word that it went by. */
  pte = 0
  /** How often this hand waited for a page that was on the move. */
  nrWaits = 0
  readonly guard: Guard
  readonly pages: VirtualPages
  readonly geometry: Geometry
  private readonly pageTable: Words
  private readonly events: Words
  private readonly frames: Frames
  private readonly map: number
  private readonly isPlain: boolean
  private readonly small: Open = { vpn: 0, used: 0 }
  private readonly large: Open = { vpn: 0, used: 0 }
  private readonly full: number[] = []
  private readonly context: CollectionsContext
  private readonly onSeal: ((vpn: number, live: number) => void) | null

  /** @param onSeal Is told which pages this hand has filled, and how far. */
  constructor(
    context: CollectionsContext,
    map: number,
    onSeal: ((vpn: number, live: number) => void) | null = null,
  ) {
    this.guard = context.guard
    this.pages = context.pages
    this.geometry = context.memory.geometry
    this.pageTable = context.memory.pageTable
    this.events = context.memory.events
    this.frames = context.frames
    this.map = map
    this.isPlain = context.guard.form === 'asymmetric'
    this.onSeal = onSeal
    this.context = context
    this.words = this.pageTable
  }

  /** Units that an entry can have. */
  get unitsMax(): number {
    return (1 << this.geometry.unitsPerPageShift) - PAGE_HEADER_UNITS
  }

  /** Sets `words`, `at` and `pte`. Inside the guard; nothing of them outlives it. */
  locate(address: number): void {
    const { unitsPerPageShift } = this.geometry
    this.locatePage(address >>> unitsPerPageShift)
    this.at += (address & ((1 << unitsPerPageShift) - 1)) * UNIT_WORDS
  }

  /** As `locate`, for the beginning of a page. */
  locatePage(vpn: number): void {
    const { pagesPerBlockShift, pagesPerBlock, pageWordsShift } = this.geometry
    const index = vpn * VIRTUAL_RECORD_WORDS + PTE
    const pte = this.isPlain ? loadPlain(this.pageTable, index) : load(this.pageTable, index)
    assert(pte !== 0, `heap: page ${vpn} is not mapped`)
    const pfn = (pte >>> 1) - 1
    this.pte = pte
    this.words = this.frames.block(pfn >>> pagesPerBlockShift)
    this.at = (pfn & (pagesPerBlock - 1)) << pageWordsShift
  }

  /**
   * Writes an entry where nobody finds it yet. Outside the guard, with no shard's lock.
   *
   * @param lead Its word 0.
   * @param sizes Its word 1: kind and lengths.
   * @param value Its value; zeros if null.
   * @returns Its address; 0: there is no room.
   */
  append(lead: number, sizes: number, key: Int32Array, value: Int32Array | null): number {
    const units = unitsOf(sizes)
    const open = this.openFor(sizes, units)
    for (;;) {
      if (open.vpn === 0 || open.used + units > this.unitsMax + PAGE_HEADER_UNITS) {
        if (!this.turn(open)) return 0
      }
      this.guard.enter()
      this.locatePage(open.vpn) // A1
      if ((this.pte & WRITE_PROTECTED) === 0) break
      this.guard.leave()
      this.leavePage(open)
    }
    const at = this.at + open.used * UNIT_WORDS
    const keyWords = wordsOf(sizes & KEY_BYTES_MASK)
    const valueWords = wordsOf(sizes >>> VALUE_BYTES_SHIFT)
    const valueAt = at + ENTRY_HEADER_WORDS + keyWords
    storePlain(this.words, at + ENTRY_HASH, lead) // A2
    storePlain(this.words, at + ENTRY_SIZES, sizes)
    copyIn(this.words, at + ENTRY_HEADER_WORDS, key, 0, keyWords)
    if (value === null) fillPlain(this.words, valueAt, 0, valueWords)
    else copyIn(this.words, valueAt, value, 0, valueWords)
    const address = (open.vpn << this.geometry.unitsPerPageShift) | open.used
    open.used += units
    storePlain(this.words, this.at + PAGE_USED, open.used)
    this.guard.leave()
    add(this.pageTable, open.vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_LIVE, units) // A3
    return address
  }

  /**
   * Nobody can find the entry at `address` any more. With the lock of the shard that named it, or
   * before `settle` if none ever did.
   */
  drop(address: number, units: number): void {
    this.guard.enter()
    this.dropInside(address, units)
    this.guard.leave()
  }

  /** As `drop`, inside the guard. */
  dropInside(address: number, units: number): void {
    const vpn = address >>> this.geometry.unitsPerPageShift
    const live = sub(this.pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_LIVE, units) // D1
    if (live !== units || !this.pages.isSealed(vpn)) return
    const isEmpty = this.pages.liveOf(vpn) === 0
    if (isEmpty) this.pages.retire(vpn) // D2
  }

  /** Of what this thread appended, nothing is still to be published. */
  settle(): void {
    for (let i = this.full.length - 1; i >= 0; i--) {
      const vpn = this.full[i]!
      this.guard.enter()
      this.pages.seal(vpn) // S1
      this.full.pop()
      const live = this.pages.liveOf(vpn)
      if (live === 0) this.pages.retire(vpn) // S2
      this.guard.leave()
      if (this.onSeal !== null) this.onSeal(vpn, live)
    }
  }

  /** Seals what is open: the thread appends no more, for now. */
  close(): void {
    this.leavePage(this.small)
    this.leavePage(this.large)
    this.settle()
  }

  /** Makes sure that an entry of that word 1 can be appended without a new page. */
  makeReady(sizes: number): boolean {
    const units = unitsOf(sizes)
    const open = this.openFor(sizes, units)
    const isReady = open.vpn !== 0 && open.used + units <= this.unitsMax + PAGE_HEADER_UNITS
    return isReady || this.turn(open)
  }

  /** Pages one after another, for what is larger than a page. @returns The first, or -1. */
  openRun(kind: number, nrPages: number, mark: number): number {
    // In large-values.ts a shorter run will do.
    const canBeLess = kind === VirtualKind.Chunk && nrPages > 1
    const open = () => this.pages.openRun(this.map, kind, nrPages, mark)
    return this.withRoom(canBeLess ? 1 : ROOM_TRIES, open)
  }

  /** Whether the page was write-protected when it was `locate`d. */
  isProtected(): boolean {
    return (this.pte & WRITE_PROTECTED) !== 0
  }

  /** Sleeps while a page is write-protected. Outside the guard. */
  waitUnprotected(vpn: number): void {
    this.nrWaits++
    this.context.onWait?.()
    waitUnprotected({ events: this.events, pageTable: this.pageTable }, vpn)
  }

  private openFor(sizes: number, units: number): Open {
    const isLarge = units << LARGE_PART_SHIFT > this.unitsMax
    return isLarge || (sizes & ENTRY_KIND_MASK) === EntryKind.Table ? this.large : this.small
  }

  private turn(open: Open): boolean {
    this.leavePage(open)
    const vpn = this.withRoom(ROOM_TRIES, () => this.pages.open(this.map, VirtualKind.Entries))
    if (vpn < 0) return false
    open.vpn = vpn
    open.used = PAGE_HEADER_UNITS
    return true
  }

  private leavePage(open: Open): void {
    if (open.vpn !== 0) this.full.push(open.vpn)
    open.vpn = 0
  }

  private withRoom(nrTries: number, open: () => number): number {
    for (let tries = 0; ; tries++) {
      const vpn = open()
      if (vpn >= 0) {
        this.context.assertOpen?.() // else withdraw.ts may have passed this page over
        return vpn
      }
      if (tries === nrTries || !this.context.onNoRoom()) return -1
    }
  }
}
