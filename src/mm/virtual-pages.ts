/*
 * Virtual pages: what heap addresses name, each mapped to a page frame that can be another later.
 *
 *     open                                          retire, by whoever unpublished the last of it
 *     O1  STATE: Free -> Reserved | mine            R1  STATE: Sealed -> Retired | mine
 *     O2  take a frame: its word is Allocated|mine  R2  LIVE = head; head -> vpn; until it succeeds
 *     O3  OWNER, LIVE
 *     O4  frame's word: -> Mapped | vpn             service thread
 *     O5  PTE names the frame                       T1  each on the stack: STATE = Retired | mine
 *     O6  STATE: -> Open | mine                     T2  head: what was seen -> 0, else T1 for more
 *     seal                                              a grace period
 *     S1  STATE: Open | mine -> Sealed              F1  PTE = 0
 *                                                   F2  frame's word: -> Allocated | mine; free it
 *                                                   F3  STATE = Free
 *
 * Deaths. Every page is found by a scan, whatever the dead had done (`recoverDead`, `freeStale`,
 * both on the service thread, any number of times):
 *
 *   - Reserved by the dead: nobody else ever saw it; it is unmapped, and Reserved by who recovers
 *     until `freeStale` has looked for a frame that names it. Were it Free before, a living thread
 *     that reserves it would hide that frame.
 *   - Open by the dead: Sealed. What is on it may be published, and is looked at by compaction.
 *   - Retired by the dead, and not on the stack: put on it. One that a living thread retired and
 *     that is not on the stack is about to be put there: who takes pages off has marked them (T1)
 *     before (T2), so no living thread's name is on what a dead service thread had in hand.
 *   - A frame whose word is Mapped, but whose PTE names another or none: stale, and free, unless
 *     its vpn is Reserved by another living thread, who is between O4 and O5. Its STATE is looked
 *     at before its PTE: one that was past O6 by then has a PTE that is to be seen.
 *
 * Only the service thread changes the PTE of a page that is not Reserved, and makes pages Free.
 *
 * Checked by virtual-pages.check.ts.
 */
import { add, compareExchange, load, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Slot } from '../locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCKS_HIGH,
  BlockState,
  type Frames,
  type Geometry,
  type MemoryControl,
  PageState,
  PTE,
  RETIRE_HEAD,
  RETIRED_PAGES,
  STATE_BITS,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_HINT,
  VIRTUAL_LIVE,
  VIRTUAL_OWNER,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
} from './geometry.ts'
import { loadPageWord, pageWord, payloadOfWord, stateOfWord, storePageWord } from './memmap.ts'
import { pfnOf, pteAt, pteOf } from './page-table.ts'

/** Where page frames come from. */
export interface FrameSource {
  /** @returns The frame, its word Allocated with the caller's token; -1: there is no room. */
  allocPage(): number
  /** The caller's own Allocated frame. */
  freePage(pfn: number): void
}

/** Bits of `VIRTUAL_OWNER` below the pages of the run that a page belongs to. */
export const OWNER_RUN_SHIFT = 11

const MAP_SHIFT = 3

const NOTHING: ReadonlySet<number> = new Set()

/** The map that a page's `VIRTUAL_OWNER` names. */
export function mapOfOwner(owner: number): number {
  return (owner >>> MAP_SHIFT) & 0xff
}

/** The `VirtualKind` that a page's `VIRTUAL_OWNER` names. */
export function kindOfOwner(owner: number): number {
  return owner & ((1 << MAP_SHIFT) - 1)
}

/** One thread's hand on the page table. */
export class VirtualPages {
  readonly slot: Slot
  readonly control: MemoryControl
  readonly frames: Frames
  private readonly source: FrameSource
  private readonly geometry: Geometry
  private readonly table: Words
  private readonly events: Words
  /** What the dead had reserved, until `freeStale`. */
  private readonly undone: number[] = []

  /** @param slot The calling thread's own. */
  constructor(slot: Slot, control: MemoryControl, frames: Frames, source: FrameSource) {
    this.slot = slot
    this.control = control
    this.frames = frames
    this.source = source
    this.geometry = control.geometry
    this.table = control.pageTable
    this.events = control.events
  }

  /**
   * Takes a virtual page and maps it. What is on it is whatever was there. Outside the guard.
   *
   * @param kind A `VirtualKind`.
   * @returns Its number; -1: there is no room.
   */
  open(map: number, kind: number): number {
    return this.openRun(map, kind, 1)
  }

  /**
   * As `open`, for `nrPages` pages one after another.
   *
   * @param mark What `VIRTUAL_LIVE` of each begins with.
   * @returns The first.
   * @throws {HotplugError} `EINVAL`: the slot is detached: nobody would recover what it reserves.
   */
  openRun(map: number, kind: number, nrPages: number, mark = 0): number {
    assert(nrPages > 0, 'virtual pages: an empty run')
    this.slot.assertAttached('open a virtual page')
    const first = this.reserve(nrPages)
    if (first < 0) return -1
    const owner = (nrPages << OWNER_RUN_SHIFT) | (map << MAP_SHIFT) | kind
    for (let vpn = first; vpn < first + nrPages; vpn++) {
      if (this.map(vpn, owner, mark)) continue
      for (let mine = first; mine < first + nrPages; mine++) this.release(mine)
      return -1
    }
    const open = this.mine(VirtualState.Open)
    for (let vpn = first; vpn < first + nrPages; vpn++) this.setState(vpn, open) // O6
    return first
  }

  /** Nothing more is written to the caller's own open page. */
  seal(vpn: number): void {
    const mine = this.mine(VirtualState.Open)
    const index = vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE
    const before = compareExchange(this.table, index, mine, VirtualState.Sealed) // S1
    assert(before === mine, `virtual pages: ${vpn} is not open by its sealer`)
  }

  /**
   * A sealed page of which nothing can be found any more: it is free after a grace period.
   *
   * @returns Whether it was this call that retired it.
   */
  retire(vpn: number): boolean {
    const index = vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE
    const retired = this.mine(VirtualState.Retired)
    const before = compareExchange(this.table, index, VirtualState.Sealed, retired) // R1
    if (before !== VirtualState.Sealed) return false
    this.push(vpn)
    return true
  }

  /** State and token of a page: its `VIRTUAL_STATE`. */
  stateOf(vpn: number): number {
    return load(this.table, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE)
  }

  /** Whether nobody appends to the page any more, and it is not retired. */
  isSealed(vpn: number): boolean {
    return this.stateOf(vpn) === VirtualState.Sealed
  }

  /** A page's `VIRTUAL_OWNER`. */
  ownerOf(vpn: number): number {
    return load(this.table, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_OWNER)
  }

  /** A page's `VIRTUAL_LIVE`. */
  liveOf(vpn: number): number {
    return load(this.table, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_LIVE)
  }

  /** No page from this number on was ever taken. */
  end(): number {
    return load(this.events, VIRTUAL_HIGH)
  }

  /**
   * Takes what was retired off the stack. Service thread. The pages are unmapped by nobody until
   * `release`, which is to be called for each after a grace period.
   */
  takeRetired(): number[] {
    const taken: number[] = []
    const mine = this.mine(VirtualState.Retired)
    let head = load(this.events, RETIRE_HEAD)
    let end = 0
    while (head !== end) {
      for (let vpn = head; vpn !== end; vpn = this.liveOf(vpn)) {
        this.setState(vpn, mine) // T1
        taken.push(vpn)
      }
      const seen = compareExchange(this.events, RETIRE_HEAD, head, 0) // T2
      if (seen === head) break
      end = head
      head = seen
    }
    return taken
  }

  /**
   * Unmaps a page of the caller's that nobody looks at, and frees its frame: one that it has
   * reserved, or one that it took off the stack before a grace period.
   */
  release(vpn: number): void {
    this.unmap(vpn)
    this.setState(vpn, VirtualState.Free) // F3
    this.lowerHint(vpn)
  }

  /**
   * Finds the pages of threads that are not alive. Service thread, at its start and after each
   * death, with `freeStale` to follow. What it has taken off the stack itself stays in its hand.
   *
   * @returns How many pages changed.
   */
  recoverDead(): number {
    const end = this.end()
    let stacked: ReadonlySet<number> = NOTHING
    let nrChanged = 0
    for (let vpn = 1; vpn < end; vpn++) {
      const state = this.wordOfDead(vpn) & STATE_MASK
      if (state === VirtualState.Free) continue
      if (state === VirtualState.Retired) {
        if (!stacked.has(vpn)) stacked = this.stacked() // none goes from it meanwhile
        if (stacked.has(vpn)) continue
        this.setState(vpn, this.mine(VirtualState.Retired))
        this.push(vpn)
      } else if (state === VirtualState.Reserved) this.undo(vpn)
      else this.sealDead(vpn)
      nrChanged++
    }
    return nrChanged
  }

  /**
   * Part of `recoverDead`: state and token of a page whose thread is gone, else 0. It may have left
   * with its work done between a look at the word and one at the thread: so the word counts that is
   * there when the thread is not.
   */
  wordOfDead(vpn: number): number {
    for (;;) {
      const word = this.stateOf(vpn)
      const state = word & STATE_MASK
      if (state === VirtualState.Free || state === VirtualState.Sealed) return 0
      const isAlive = this.slot.slots.isAlive(word >>> STATE_BITS)
      if (isAlive) return 0
      const same = this.stateOf(vpn)
      if (same === word) return word
    }
  }

  /**
   * Frees frames that say that they are mapped, and are not, and then what the dead had reserved.
   * Service thread, after `recoverDead` and a grace period, while it moves no page itself.
   *
   * @returns How many.
   */
  freeStale(): number {
    const { pagesPerBlock, memmapPages, pagesPerBlockShift } = this.geometry
    const high = load(this.events, BLOCKS_HIGH)
    let nrFreed = 0
    for (let block = 0; block < high; block++) {
      const state = load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_STATE)
      if (state !== BlockState.Online && state !== BlockState.GoingOffline) continue
      for (let page = memmapPages; page < pagesPerBlock; page++) {
        const pfn = (block << pagesPerBlockShift) | page
        if (!this.isStale(pfn)) continue
        this.freeFrame(pfn)
        nrFreed++
      }
    }
    for (let i = 0; i < this.undone.length; i++) this.release(this.undone[i]!)
    this.undone.length = 0
    return nrFreed
  }

  /** Part of `freeStale`: whether the frame is mapped to a page that has another, or none. */
  isStale(pfn: number): boolean {
    for (;;) {
      const word = loadPageWord(this.geometry, this.frames, pfn)
      if (stateOfWord(word) !== PageState.Mapped) return false
      const vpn = payloadOfWord(word)
      const state = this.stateOf(vpn)
      const isReserved = (state & STATE_MASK) === VirtualState.Reserved
      const isUndone = this.undone.includes(vpn)
      if (isReserved && !isUndone && this.slot.slots.isAlive(state >>> STATE_BITS)) return false
      const pte = load(this.table, pteAt(vpn))
      if (pfnOf(pte) === pfn) return false
      const same = loadPageWord(this.geometry, this.frames, pfn)
      if (same !== word) return false // a living owner has freed it
      if (this.stateOf(vpn) === state) return true // else its page went on: look again
    }
  }

  /** Part of `recoverDead`: what the dead had reserved. */
  undo(vpn: number): void {
    this.setState(vpn, this.mine(VirtualState.Reserved))
    this.unmap(vpn)
    this.undone.push(vpn)
  }

  private sealDead(vpn: number): void {
    this.setState(vpn, VirtualState.Sealed)
    const owner = this.ownerOf(vpn)
    if (kindOfOwner(owner) !== VirtualKind.Entries) return
    if (this.liveOf(vpn) === 0) this.retire(vpn)
  }

  /** Pages on the retire stack; more may come meanwhile, none goes. */
  private stacked(): Set<number> {
    const found = new Set<number>()
    for (let vpn = load(this.events, RETIRE_HEAD); vpn !== 0; vpn = this.liveOf(vpn)) found.add(vpn)
    return found
  }

  /** O1 for a run; the lowest that is free, as far as the hint knows. */
  private reserve(nrPages: number): number {
    const { nrVirtual } = this.geometry
    const hint = load(this.events, VIRTUAL_HINT)
    const from = Math.max(1, hint)
    const upper = this.reserveIn(from, nrVirtual, nrPages)
    if (upper < 0) return this.reserveIn(1, Math.min(from + nrPages - 1, nrVirtual), nrPages)
    if (nrPages === 1) compareExchange(this.events, VIRTUAL_HINT, hint, upper + 1)
    return upper
  }

  private reserveIn(from: number, to: number, nrPages: number): number {
    const reserved = this.mine(VirtualState.Reserved)
    let nrTaken = 0
    for (let vpn = from; vpn + (nrPages - nrTaken) <= to; vpn++) {
      const index = vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE
      let state = load(this.table, index)
      if (state === VirtualState.Free) {
        this.raiseHigh(vpn + 1)
        state = compareExchange(this.table, index, VirtualState.Free, reserved) // O1
      }
      if (state === VirtualState.Free) nrTaken++
      if (nrTaken === nrPages) return vpn + 1 - nrPages
      if (state === VirtualState.Free) continue
      for (; nrTaken > 0; nrTaken--) this.setState(vpn - nrTaken, VirtualState.Free)
    }
    const end = to - (nrPages - nrTaken) + 1
    for (; nrTaken > 0; nrTaken--) this.setState(end - nrTaken, VirtualState.Free)
    return -1
  }

  /** O2 to O5. */
  private map(vpn: number, owner: number, mark: number): boolean {
    const pfn = this.source.allocPage() // O2
    if (pfn < 0) return false
    const index = vpn * VIRTUAL_RECORD_WORDS
    store(this.table, index + VIRTUAL_OWNER, owner) // O3
    store(this.table, index + VIRTUAL_LIVE, mark)
    storePageWord(this.geometry, this.frames, pfn, pageWord(PageState.Mapped, vpn)) // O4
    store(this.table, index + PTE, pteOf(pfn)) // O5
    return true
  }

  private unmap(vpn: number): void {
    const index = pteAt(vpn)
    const pte = load(this.table, index)
    if (pte === 0) return
    store(this.table, index, 0) // F1
    this.freeFrame(pfnOf(pte)) // F2
  }

  private freeFrame(pfn: number): void {
    const mine = pageWord(PageState.Allocated, this.slot.token)
    storePageWord(this.geometry, this.frames, pfn, mine)
    this.source.freePage(pfn)
  }

  /** R2. */
  private push(vpn: number): void {
    let head = load(this.events, RETIRE_HEAD)
    for (;;) {
      store(this.table, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_LIVE, head)
      const seen = compareExchange(this.events, RETIRE_HEAD, head, vpn)
      if (seen === head) break
      head = seen
    }
    add(this.events, RETIRED_PAGES, 1)
  }

  private raiseHigh(high: number): void {
    let seen = load(this.events, VIRTUAL_HIGH)
    while (seen < high) {
      const before = compareExchange(this.events, VIRTUAL_HIGH, seen, high)
      if (before === seen) return
      seen = before
    }
  }

  private lowerHint(vpn: number): void {
    let seen = load(this.events, VIRTUAL_HINT)
    while (seen > vpn) {
      const before = compareExchange(this.events, VIRTUAL_HINT, seen, vpn)
      if (before === seen) return
      seen = before
    }
  }

  private setState(vpn: number, word: number): void {
    store(this.table, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE, word)
  }

  private mine(state: number): number {
    return (this.slot.token << STATE_BITS) | state
  }
}
