/*
 * Page allocator: one thread's way to pages.
 *
 *     allocPage, freePage       the thread's own lists (percpu-pages.ts), which fall back to
 *     allocChunk, freeChunk     a zone's blocks (zone.ts), whose free pages are in
 *                               buddy lists (buddy.ts), made from the words of pages (memmap.ts)
 *
 * What can move comes from zone Movable, or, if that is full, from Normal; what cannot, from Normal
 * only, so that the blocks of Movable can always be emptied.
 *
 * A page that was taken is Allocated, and names its thread, until it is mapped or freed. No death
 * loses one: `recoverDead` looks at all words, and frees what names a thread that is not alive.
 * Nobody else changes a word of the dead. It may die too, and run again.
 *
 * Nothing here takes a hotplug lock. Checked by page-allocator.check.ts.
 */
import { load, store } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Guard } from '../locking/guard.ts'
import type { Slot } from '../locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  BlockState,
  type Frames,
  type MemoryControl,
  PageState,
  PERCPU_DISABLED,
  ZoneKind,
} from './geometry.ts'
import { blockOfPfn, loadPageWord, pageWord, payloadOfWord, stateOfWord } from './memmap.ts'
import { drainLists, PercpuPages } from './percpu-pages.ts'
import { Zone } from './zone.ts'

/** What a page is for: what is reached through the page table alone is movable. */
export type PageKind = 'movable' | 'unmovable'

/** One thread's page allocator. It makes one for itself, with its own slot. */
export class PageAllocator {
  readonly slot: Slot
  readonly control: MemoryControl
  readonly frames: Frames
  readonly guard: Guard
  /** By `ZoneKind`. */
  readonly zones: readonly Zone[]
  private readonly lists: readonly PercpuPages[]

  /** @param slot The calling thread's own. */
  constructor(slot: Slot, control: MemoryControl, frames: Frames, guard: Guard) {
    this.slot = slot
    this.control = control
    this.frames = frames
    this.guard = guard
    const normal = this.makeZone(ZoneKind.Normal)
    const movable = this.makeZone(ZoneKind.Movable)
    this.zones = [normal, movable]
    this.lists = [this.makeList(normal), this.makeList(movable)]
  }

  /**
   * Takes a page; its word says that this thread has it. Call outside the guard.
   *
   * @param kind As virtual pages are, if left out.
   * @returns Its page frame number, or -1: there is no room, but on the lists of other threads.
   */
  allocPage(kind: PageKind = 'movable'): number {
    if (kind === 'movable') {
      const pfn = this.lists[ZoneKind.Movable]!.take()
      if (pfn !== -1) return pfn
    }
    return this.lists[ZoneKind.Normal]!.take()
  }

  /**
   * Takes 2^`order` pages of zone Normal that lie side by side.
   *
   * @returns The first one's page frame number, or -1: there is no room.
   */
  allocChunk(order: number): number {
    return this.zones[ZoneKind.Normal]!.alloc(order)
  }

  /**
   * Frees a page that this thread has, or one that was mapped or raw and that nobody can reach any
   * more. Call outside the guard.
   */
  freePage(pfn: number): void {
    this.assertMine(pfn)
    this.lists[this.zoneOf(pfn)]!.give(pfn)
  }

  /** As `freePage`, for 2^`order` pages from `pfn` on. */
  freeChunk(pfn: number, order: number): void {
    for (let i = pfn; i < pfn + (1 << order); i++) this.assertMine(i)
    const zone = this.zoneOf(pfn)
    this.zones[zone]!.free(pfn, order)
  }

  /**
   * Gives the pages on all threads' lists back to their zones, and has the lists left empty until
   * `enableLists`: one thread at a time. Blocks for a grace period.
   */
  drainAll(): void {
    store(this.control.events, PERCPU_DISABLED, 1) // D1
    this.guard.synchronize() // D2
    for (let i = 0; i < this.zones.length; i++) drainLists(this.zones[i]!) // D3
  }

  /**
   * As `drainAll`, unless a thread stays inside the guard for so many looks: then all is as it was.
   *
   * @returns That thread's slot, or -1: it is done.
   */
  tryDrainAll(looks: number): number {
    store(this.control.events, PERCPU_DISABLED, 1) // D1
    const inside = this.guard.trySynchronize(looks) // D2
    if (inside !== -1) this.enableLists()
    else for (let i = 0; i < this.zones.length; i++) drainLists(this.zones[i]!) // D3
    return inside
  }

  /** Undoes `drainAll`; also that of a thread that died in between. */
  enableLists(): void {
    store(this.control.events, PERCPU_DISABLED, 0) // D4
  }

  /**
   * Repairs what a dead thread was changing, and frees all pages that it had taken and not mapped,
   * or had on its list. Call after each death, from one thread: the service thread. May run again
   * at any time.
   *
   * @returns How many pages it freed.
   */
  recoverDead(): number {
    const { geometry, blocks, events } = this.control
    for (let i = 0; i < this.zones.length; i++) this.zones[i]!.settle()
    let nrFreed = 0
    const high = load(events, BLOCKS_HIGH)
    for (let block = 0; block < high; block++) {
      const state = load(blocks, block * BLOCK_RECORD_WORDS + BLOCK_STATE)
      const mayHavePages =
        state === BlockState.GoingOnline ||
        state === BlockState.Online ||
        state === BlockState.GoingOffline
      if (!mayHavePages) continue
      const first = block * geometry.pagesPerBlock
      for (let page = geometry.memmapPages; page < geometry.pagesPerBlock; page++) {
        const isFreed = this.freeIfDead(first + page)
        if (isFreed) nrFreed++
      }
    }
    return nrFreed
  }

  /** Part of the constructor. */
  makeZone(kind: 0 | 1): Zone {
    return new Zone(this.slot, this.control, this.frames, kind)
  }

  /** Part of the constructor. */
  makeList(zone: Zone): PercpuPages {
    return new PercpuPages(this.slot, zone, this.guard)
  }

  private freeIfDead(pfn: number): boolean {
    const { geometry } = this.control
    const word = loadPageWord(geometry, this.frames, pfn)
    if (!this.isOfDead(word)) return false
    const kind = this.zoneOf(pfn)
    const zone = this.zones[kind]!
    zone.begin()
    const same = loadPageWord(geometry, this.frames, pfn) === word
    if (same) zone.put(pfn, 0)
    zone.end()
    return same
  }

  private isOfDead(word: number): boolean {
    const state = stateOfWord(word)
    if (state !== PageState.Percpu && state !== PageState.Allocated) return false
    return !this.slot.slots.isAlive(payloadOfWord(word))
  }

  private zoneOf(pfn: number): number {
    const block = blockOfPfn(this.control.geometry, pfn)
    return load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_ZONE)
  }

  private assertMine(pfn: number): void {
    const word = loadPageWord(this.control.geometry, this.frames, pfn)
    const state = stateOfWord(word)
    const isMine =
      state === PageState.Mapped ||
      state === PageState.Raw ||
      word === pageWord(PageState.Allocated, this.slot.token)
    assert(isMine, `page allocator: page ${pfn} is not this thread's to free`)
  }
}
