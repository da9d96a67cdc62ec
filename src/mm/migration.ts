/*
 * Migration: mapped pages move to other frames while threads read and write them. Readers are never
 * held up; writers wait for one batch at most.
 *
 *     service thread, a batch of pages              reader, inside the guard
 *     M1  takes target frames                       loads the PTE, reads that frame
 *     M2  each PTE: WRITE_PROTECTED
 *     M3  grace period: no writer is left           writer
 *         that saw it unprotected; the old          U1  inside the guard, loads the PTE:
 *         frames of the batch before are free           not protected: writes that frame
 *     M4  copies frames, says whose they are        U2  protected: leaves the guard, loads EVENT
 *     M5  each PTE: the target, unprotected         U3  loads the PTE: still protected: sleeps on
 *     M6  EVENT + 1, wakes who sleeps on it             EVENT while it is as in U2; from U1
 *     M7  the next batch's M3, or a grace period
 *         of its own: the old frames are free
 *
 * No lost write. A writer that saw a PTE unprotected is inside since before M2 was visible to all,
 * so M3 waits for it; what it wrote is in the old frame before M4 copies that. Between M3 and M5
 * nobody writes it.
 *
 * No read of reused memory. A reader that looked up the old frame did so before M5, and M7 waits
 * for it. Until then both frames hold the same: the old one is not written any more, and what is
 * written to the new one is seen by whoever looks it up.
 *
 * No lost wake-up. M5 comes before M6: a writer that saw the protection at U3 had loaded EVENT
 * before, at U2, so M6 changes what it sleeps on.
 *
 * A reader that stays inside for longer than LOOKS looks holds up the batch, and with it writers;
 * so the batch is given up (PTEs unprotected, targets free) and tried again later. Nor does M7 wait
 * any longer: the old frames stay until a later grace period. Who asked is told whom that was for.
 *
 * Nobody else changes the PTE of a mapped page that is not Reserved, which is passed over: what is
 * not reachable any more is unmapped by the service thread, too. So a successor finds all in the
 * words: PTEs that are protected it unprotects; frames whose word names a page that another frame
 * has become are stale (virtual-pages.ts); targets are those of a dead thread (page-allocator.ts).
 *
 * After the kernel's migrate_pages(). Checked by migration.check.ts.
 */
import { add, copyWords, load, loadPlain, notify, store, wait } from '#atomics'
import { isBroken } from '#protections'
import { assert } from '../lib/assert.ts'
import type { Guard } from '../locking/guard.ts'
import { HEARTBEAT_MS } from '../locking/slots.ts'
import {
  type Frames,
  type Geometry,
  type MemoryControl,
  PAGE_WORD,
  PageState,
  PTE,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
  WRITE_PROTECT_EVENT,
  WRITE_PROTECTED,
} from './geometry.ts'
import {
  blockOfPfn,
  isFreeWord,
  pageOfPfn,
  pageWord,
  payloadOfWord,
  recordOfPage,
  stateOfWord,
  storePageWord,
} from './memmap.ts'
import { pteAt, pteOf } from './page-table.ts'

/** Pages that are moved at once: so long do writers of them wait. */
const BATCH_PAGES = 64
/** How often a grace period looks before the batch is given up: about a millisecond. */
const LOOKS = 10

/** Where frames come from, and go to: zones that are not isolated. */
export interface Targets {
  /** A frame whose word says Allocated by this thread; -1: there is no room. */
  take(): number
  /** Frames that nobody has any more. */
  give(pfns: readonly number[]): void
  /** Makes frames resident; `count` from `pfn` on. */
  populate(pfn: number, count: number): void
}

/** What a batch came to. */
export interface Batch {
  /** Pages that moved. */
  readonly moved: number
  /** Why none or not all did: nothing is left to move, no room, a thread that stays inside. */
  readonly stopped: 'no' | 'empty' | 'noRoom' | 'inside'
  /** The slot of that thread, or -1. */
  readonly inside: number
}

/** What is left in a block. */
export interface Leftover {
  /** Pages that somebody has. */
  readonly pages: number
  /** Whether one of them cannot move. */
  readonly isUnmovable: boolean
}

/** The service thread's migration. */
export class Migration {
  private readonly control: MemoryControl
  private readonly geometry: Geometry
  private readonly frames: Frames
  private readonly guard: Guard
  private readonly targets: Targets
  /** Frames that nobody looks up any more, and somebody may still look at. */
  private old: number[] = []

  constructor(control: MemoryControl, frames: Frames, guard: Guard, targets: Targets) {
    this.control = control
    this.geometry = control.geometry
    this.frames = frames
    this.guard = guard
    this.targets = targets
  }

  /** Moves pages of `block`, which gives out none, elsewhere. */
  batch(block: number): Batch {
    const sources = this.find(block)
    if (sources.length === 0) {
      const inside = this.trySettle()
      return { moved: 0, stopped: inside === -1 ? 'empty' : 'inside', inside }
    }
    const targets = this.takeTargets(sources.length) // M1
    const moving = sources.slice(0, targets.length)
    if (moving.length === 0) return { moved: 0, stopped: 'noRoom', inside: -1 }
    this.protect(moving) // M2
    const inside = this.guard.trySynchronize(LOOKS) // M3
    if (inside !== -1) {
      this.switchTo(moving, moving)
      this.targets.give(targets)
      return { moved: 0, stopped: 'inside', inside }
    }
    this.freeOld()
    this.copy(moving, targets) // M4
    this.switchTo(moving, targets) // M5, M6
    this.old = moving
    const isShort = moving.length < sources.length
    return { moved: moving.length, stopped: isShort ? 'noRoom' : 'no', inside }
  }

  /** Whether no frame awaits M7. */
  isSettled(): boolean {
    return this.old.length === 0
  }

  /** M7, for the last batch. Blocks until nobody looks at its old frames. */
  settle(): void {
    if (this.old.length === 0) return
    this.guard.synchronize()
    this.freeOld()
  }

  /** As `settle`, for LOOKS looks. @returns The slot of a thread that stays inside, or -1. */
  trySettle(): number {
    if (this.old.length === 0) return -1
    const inside = this.guard.trySynchronize(LOOKS)
    if (inside === -1) this.freeOld()
    return inside
  }

  /** What of `block` somebody has. */
  leftover(block: number): Leftover {
    let pages = 0
    let isUnmovable = false
    for (let page = this.geometry.memmapPages; page < this.geometry.pagesPerBlock; page++) {
      const word = this.wordOf(block, page)
      if (isFreeWord(word)) continue
      pages++
      isUnmovable ||= stateOfWord(word) === PageState.Raw
    }
    return { pages, isUnmovable }
  }

  /** As it starts: what a predecessor left protected is not, and its waiters are woken. */
  recover(): void {
    const { pageTable, events } = this.control
    const end = pteAt(load(events, VIRTUAL_HIGH))
    for (let at = PTE; at < end; at += VIRTUAL_RECORD_WORDS) {
      const pte = load(pageTable, at)
      if ((pte & WRITE_PROTECTED) !== 0) store(pageTable, at, pte & ~WRITE_PROTECTED)
    }
    this.wakeWriters()
  }

  /** Mapped frames of `block`, at most a batch. */
  private find(block: number): number[] {
    const found: number[] = []
    const first = block * this.geometry.pagesPerBlock
    for (let page = this.geometry.memmapPages; page < this.geometry.pagesPerBlock; page++) {
      const word = this.wordOf(block, page)
      if (stateOfWord(word) !== PageState.Mapped) continue
      const vpn = payloadOfWord(word)
      const state = load(this.control.pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE)
      if ((state & STATE_MASK) === VirtualState.Reserved) continue // its owner may unmap it
      const pte = load(this.control.pageTable, pteAt(vpn))
      if (pte !== pteOf(first + page)) continue // stale
      found.push(first + page)
      if (found.length === BATCH_PAGES) break
    }
    return found
  }

  private takeTargets(count: number): number[] {
    const targets: number[] = []
    while (targets.length < count) {
      const pfn = this.targets.take()
      if (pfn === -1) break
      targets.push(pfn)
    }
    try {
      this.populate(targets)
    } catch (error) {
      this.targets.give(targets)
      throw error
    }
    return targets
  }

  /** Frames that lie together, together. */
  private populate(targets: readonly number[]): void {
    let start = 0
    for (let i = 1; i <= targets.length; i++) {
      if (i < targets.length && targets[i] === targets[i - 1]! + 1) continue
      this.targets.populate(targets[start]!, i - start)
      start = i
    }
  }

  /** M2. Part of `batch`, as the next four. */
  protect(pfns: readonly number[]): void {
    if (isBroken('writeProtect')) return
    for (let i = 0; i < pfns.length; i++) {
      const pte = pteOf(pfns[i]!) | WRITE_PROTECTED
      store(this.control.pageTable, pteAt(this.vpnOf(pfns[i]!)), pte)
    }
  }

  /** M4. */
  copy(from: readonly number[], to: readonly number[]): void {
    const { geometry, frames } = this
    for (let i = 0; i < from.length; i++) {
      const vpn = this.vpnOf(from[i]!)
      storePageWord(geometry, frames, to[i]!, pageWord(PageState.Mapped, vpn))
      const source = frames.block(blockOfPfn(geometry, from[i]!))
      const target = frames.block(blockOfPfn(geometry, to[i]!))
      copyWords(target, this.startOf(to[i]!), source, this.startOf(from[i]!), geometry.pageWords)
    }
  }

  /** M5, M6: what `from` was is `to` from now on. */
  switchTo(from: readonly number[], to: readonly number[]): void {
    for (let i = 0; i < from.length; i++) {
      store(this.control.pageTable, pteAt(this.vpnOf(from[i]!)), pteOf(to[i]!))
    }
    this.wakeWriters()
  }

  /** M6. */
  wakeWriters(): void {
    add(this.control.events, WRITE_PROTECT_EVENT, 1)
    notify(this.control.events, WRITE_PROTECT_EVENT)
  }

  /** M7, after a grace period. */
  freeOld(): void {
    if (this.old.length > 0) this.targets.give(this.old)
    this.old = []
  }

  /** The virtual page that a mapped frame is; its word is changed by this thread alone. */
  private vpnOf(pfn: number): number {
    const block = blockOfPfn(this.geometry, pfn)
    const word = this.wordOf(block, pageOfPfn(this.geometry, pfn))
    assert(stateOfWord(word) === PageState.Mapped, `migration: page ${pfn} is not mapped`)
    return payloadOfWord(word)
  }

  private wordOf(block: number, page: number): number {
    return loadPlain(this.frames.block(block), recordOfPage(page) + PAGE_WORD)
  }

  /** Where a frame begins in its block's words. */
  private startOf(pfn: number): number {
    return pageOfPfn(this.geometry, pfn) << this.geometry.pageWordsShift
  }
}

/** U2, U3: sleeps while a page is write-protected. Outside the guard. */
export function waitUnprotected(
  { events, pageTable }: Pick<MemoryControl, 'events' | 'pageTable'>,
  vpn: number,
): void {
  const event = load(events, WRITE_PROTECT_EVENT) // U2
  const pte = load(pageTable, pteAt(vpn)) // U3
  if ((pte & WRITE_PROTECTED) !== 0) wait(events, WRITE_PROTECT_EVENT, event, HEARTBEAT_MS)
}
