/*
 * What models of migration look at: pages mapped to frames, each in a block of its own at first, or
 * two in one, with room for them in the last block.
 */
import { loadPlain, notify, store, type Words } from '#atomics'
import { Guard, type GuardForm } from '../../src/locking/guard.ts'
import { CACHE_LINE_WORDS, type Slot } from '../../src/locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCKS_HIGH,
  BlockState,
  type Frames,
  PageState,
  VIRTUAL_HIGH,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
  WRITE_PROTECTED,
} from '../../src/mm/geometry.ts'
import {
  initMemmap,
  loadPageWord,
  pageWord,
  payloadOfWord,
  recordOfPage,
  stateOfWord,
  storePageWord,
} from '../../src/mm/memmap.ts'
import { pfnOf, pteAt, pteOf } from '../../src/mm/page-table.ts'
import type { FrameSource } from '../../src/mm/virtual-pages.ts'
import { Declared, type MemoryFace, type Prepared, prepare, type Readable, TINY } from './memory.ts'

/** What is in a frame that was freed. */
export const POISON = -1
/** Words of each page that are written. */
const WRITTEN_WORDS = 2
/** The first virtual page. */
export const FIRST = 1
/** As `FIRST`. */
export const SECOND = 2
/** The first frame that pages move to. */
export const FIRST_TARGET = (TINY.nrBlocks - 1) * TINY.pagesPerBlock + TINY.memmapPages

/**
 * Who leaves wakes who waits for that: it stands for the waiter's look every POLL_MS, as sleeps
 * that time out would hide that a writer is not woken.
 */
export class Rings extends Guard {
  override leave(): void {
    super.leave()
    ring(this.words, this.slot.index)
  }
}

/** Wakes who waits for the thread in a slot to leave. */
export function ring(g: Words, slot: number): void {
  notify(g, (1 + slot) * CACHE_LINE_WORDS)
}

/** Page frames by their words alone: free is Tail. */
export class ModelFrames implements FrameSource {
  private readonly slot: Slot
  private readonly frames: Frames
  private readonly from: number
  private readonly to: number

  /** @param from First frame of those to be given out, which end at `to`. */
  constructor(slot: Slot, frames: Frames, from = FIRST_TARGET, to = TINY.nrFrames) {
    this.slot = slot
    this.frames = frames
    this.from = from
    this.to = to
  }

  take(): number {
    for (let pfn = this.from; pfn < this.to; pfn++) {
      const word = loadPageWord(TINY, this.frames, pfn)
      if (word !== 0) continue
      const mine = pageWord(PageState.Allocated, this.slot.token)
      storePageWord(TINY, this.frames, pfn, mine)
      return pfn
    }
    return -1
  }

  allocPage(): number {
    return this.take()
  }

  /** Whoever frees a frame spoils it first. */
  freePage(pfn: number): void {
    const words = this.frames.block(pfn >>> TINY.pagesPerBlockShift)
    store(words, dataAt(pfn), POISON)
    storePageWord(TINY, this.frames, pfn, 0)
  }

  /** What was Allocated by the dead is free. */
  recoverDead(): void {
    for (let pfn = this.from; pfn < this.to; pfn++) {
      const word = loadPageWord(TINY, this.frames, pfn)
      if (stateOfWord(word) !== PageState.Allocated) continue
      const isAlive = this.slot.slots.isAlive(payloadOfWord(word))
      if (!isAlive) this.freePage(pfn)
    }
  }
}

/** Where a frame's first word is in its block. */
export function dataAt(pfn: number): number {
  return (pfn & (TINY.pagesPerBlock - 1)) << TINY.pageWordsShift
}

/** Looks a page up: the frame's place, by `words` and `at`. Inside the guard. */
export class Walk {
  words: Words
  at = 0
  isProtected = false
  private readonly face: MemoryFace
  private readonly frames: Declared

  constructor(face: MemoryFace) {
    this.face = face
    this.words = face.v
    this.frames = new Declared(face)
  }

  to(vpn: number): void {
    const pte = loadPlain(this.face.v, pteAt(vpn))
    const pfn = pfnOf(pte)
    this.isProtected = (pte & WRITE_PROTECTED) !== 0
    this.words = this.frames.block(pfn >>> TINY.pagesPerBlockShift)
    this.at = dataAt(pfn)
  }
}

/** Where pages are at first: in so many blocks, and so many in each. */
export interface Placed {
  readonly nrBlocks: number
  readonly perBlock: number
}

/** Pages `FIRST`, and `SECOND` if there is one. */
export function withPages(nrSlots: number, form: GuardForm, placed: Placed): Prepared {
  const { nrBlocks, perBlock } = placed
  const nrPages = nrBlocks * perBlock
  const prepared = prepare(TINY, nrSlots, form)
  const { control, frames } = prepared
  for (let block = 0; block < TINY.nrBlocks; block++) {
    initMemmap(control.geometry, frames, block)
    control.events[BLOCKS_HIGH] = block + 1
    control.blocks[block * BLOCK_RECORD_WORDS + BLOCK_STATE] = BlockState.Online
  }
  for (let vpn = 1; vpn <= nrPages; vpn++) {
    const block = Math.floor((vpn - 1) / perBlock)
    const pfn = block * TINY.pagesPerBlock + TINY.memmapPages + ((vpn - 1) % perBlock)
    storePageWord(TINY, frames, pfn, pageWord(PageState.Mapped, vpn))
    control.pageTable[pteAt(vpn)] = pteOf(pfn)
    control.pageTable[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = VirtualState.Sealed
  }
  control.events[VIRTUAL_HIGH] = nrPages + 1
  return prepared
}

/** Words at the end of a model. */
export interface Ended {
  readonly m0: Readable
  readonly m1: Readable
  readonly m2: Readable
  readonly v: Readable
  readonly w: Readable
}

/** Where it is said what was written last to a word of a page. */
export function writtenAt(vpn: number, word: number): number {
  return (vpn - FIRST) * WRITTEN_WORDS + word
}

/** How many pages of the first blocks somebody has. */
export function nrLeft(s: Ended, nrBlocks: number): number {
  let nr = 0
  for (const memmap of [s.m0, s.m1, s.m2].slice(0, nrBlocks)) {
    for (let page = TINY.memmapPages; page < TINY.pagesPerBlock; page++) {
      if (memmap[recordOfPage(page)] !== 0) nr++
    }
  }
  return nr
}

/** Whether each page is mapped once, can be written, and says what was written last. */
export function hasPages(s: Ended, nrPages: number): boolean {
  const memmaps = [s.m0, s.m1, s.m2]
  let nrMapped = 0
  for (const memmap of memmaps) {
    for (let page = TINY.memmapPages; page < TINY.pagesPerBlock; page++) {
      const word = memmap[recordOfPage(page)]!
      if (stateOfWord(word) === PageState.Mapped) nrMapped++
      else if (word !== 0) return false
    }
  }
  for (let vpn = 1; vpn <= nrPages; vpn++) {
    const pte = s.v[pteAt(vpn)]!
    const pfn = pfnOf(pte)
    const memmap = memmaps[pfn >>> TINY.pagesPerBlockShift]!
    const word = memmap[recordOfPage(pfn & (TINY.pagesPerBlock - 1))]
    if ((pte & WRITE_PROTECTED) !== 0 || word !== pageWord(PageState.Mapped, vpn)) return false
    for (let i = 0; i < WRITTEN_WORDS; i++) {
      if (memmap[dataAt(pfn) + i]! < s.w[writtenAt(vpn, i)]!) return false
    }
  }
  return nrMapped === nrPages
}
