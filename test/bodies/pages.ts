/*
 * Memory for tests of pages: a few small blocks, and what must always be true of them.
 */
import { equal, ok } from 'node:assert/strict'
import { Guard } from '../../src/locking/guard.ts'
import { type Slot, Slots } from '../../src/locking/slots.ts'
import {
  BLOCK_FREE,
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BlockState,
  FREE_LIST_HEADS,
  type Frames,
  type Geometry,
  type MemoryControl,
  makeMemoryControl,
  NR_ZONES,
  PAGE_LINK,
  PAGE_RECORD_WORDS,
  PAGE_WORD,
  PageState,
  ZONE_DIRTY,
  ZONE_FREE,
  ZONE_HINT,
  ZONE_RECORD_WORDS,
} from '../../src/mm/geometry.ts'
import { initMemmap, loadPageWord, nrManagedPages, recordOfPage } from '../../src/mm/memmap.ts'
import { PageAllocator } from '../../src/mm/page-allocator.ts'
import { sharedWords } from '../thread.ts'
import { testOracle } from './locks.ts'

/** A geometry that is smaller than any real one: a page holds little but records. */
export function tinyGeometry(nrBlocks: number, pagesPerBlock: number, memmapPages = 1): Geometry {
  const memmapWords = FREE_LIST_HEADS + pagesPerBlock * PAGE_RECORD_WORDS
  const pageWords = 2 ** Math.ceil(Math.log2(memmapWords / memmapPages))
  const blockWords = pageWords * pagesPerBlock
  return {
    pageSize: pageWords * 4,
    blockSize: blockWords * 4,
    maxMemory: blockWords * 4 * nrBlocks,
    pageWords,
    pageWordsShift: Math.log2(pageWords),
    blockWords,
    pagesPerBlock,
    pagesPerBlockShift: Math.log2(pagesPerBlock),
    nrBlocks,
    nrFrames: nrBlocks * pagesPerBlock,
    unitsPerPageShift: Math.log2(pageWords / 4),
    nrVirtual: nrBlocks * pagesPerBlock,
    memmapPages,
  }
}

/** Shared memory of a test's machine. Cloneable. */
export interface TestMemory {
  readonly control: MemoryControl
  readonly slots: Int32Array
  readonly guard: Int32Array
  readonly space: SharedArrayBuffer
}

/** Zeroed memory: every block absent. */
export function testMemory(geometry: Geometry, nrSlots = 4): TestMemory {
  return {
    control: makeMemoryControl(geometry, nrSlots),
    slots: sharedWords(Slots.words(nrSlots)),
    guard: sharedWords(Guard.words(nrSlots)),
    space: new SharedArrayBuffer(geometry.maxMemory),
  }
}

/** The blocks of a test's memory. */
export function framesOf({ control, space }: TestMemory): Frames {
  const { nrBlocks, blockSize, blockWords } = control.geometry
  const views = Array.from(
    { length: nrBlocks },
    (_, block) => new Int32Array(space, block * blockSize, blockWords),
  )
  return { block: block => views[block]! }
}

/** What a thread of a test works with. */
export interface Hands {
  readonly slot: Slot
  readonly frames: Frames
  readonly pages: PageAllocator
}

/** Attaches the calling thread. */
export function attachTo(memory: TestMemory, tid: number): Hands {
  const slot = new Slots(memory.slots).attach(testOracle(tid))
  const frames = framesOf(memory)
  const guard = new Guard(slot, memory.guard, 0)
  return { slot, frames, pages: new PageAllocator(slot, memory.control, frames, guard) }
}

/** Adds a block: its memmap is written, nothing of it given out yet. */
export function addBlock({ control }: TestMemory, frames: Frames, block: number): void {
  initMemmap(control, frames, block)
  setBlock(control, block, BLOCK_STATE, BlockState.Offline)
}

/** Takes a block online. */
export function onlineBlock(memory: TestMemory, hands: Hands, block: number, kind: 0 | 1): void {
  setBlock(memory.control, block, BLOCK_ZONE, kind)
  setBlock(memory.control, block, BLOCK_STATE, BlockState.GoingOnline)
  hands.pages.zones[kind]!.giveBlock(block)
  setBlock(memory.control, block, BLOCK_STATE, BlockState.Online)
}

/** Writes one word of a block's record. */
export function setBlock(
  control: MemoryControl,
  block: number,
  field: number,
  value: number,
): void {
  Atomics.store(control.blocks, block * BLOCK_RECORD_WORDS + field, value)
}

/** Reads one word of a block's record. */
export function blockField(control: MemoryControl, block: number, field: number): number {
  return Atomics.load(control.blocks, block * BLOCK_RECORD_WORDS + field)
}

/** Reads one word of a zone's record. */
export function zoneField(control: MemoryControl, kind: number, field: number): number {
  return Atomics.load(control.zones, kind * ZONE_RECORD_WORDS + field)
}

/** How many pages have each state, by `PageState`, in blocks that were added. */
export function countStates(memory: TestMemory): number[] {
  const { control } = memory
  const counts = new Array<number>(8).fill(0)
  const frames = framesOf(memory)
  for (let pfn = 0; pfn < control.geometry.nrFrames; pfn++) {
    const block = Math.floor(pfn / control.geometry.pagesPerBlock)
    if (blockField(control, block, BLOCK_STATE) === BlockState.Absent) continue
    counts[loadPageWord(control.geometry, frames, pfn) & 7]!++
  }
  return counts
}

/**
 * Checks lists and counters of all blocks against the words of their pages. Call when no thread is
 * in the middle of anything, and a dead one's zone has been locked since.
 */
export function assertExact(memory: TestMemory): void {
  const { control } = memory
  for (let kind = 0; kind < NR_ZONES; kind++) {
    equal(zoneField(control, kind, ZONE_DIRTY), 0, 'a block is being changed')
    let nrFree = 0
    for (let block = 0; block < control.geometry.nrBlocks; block++) {
      if (blockField(control, block, BLOCK_ZONE) !== kind) continue
      const nrInBlock = assertBlock(memory, block)
      if (nrInBlock === 0 || blockField(control, block, BLOCK_ISOLATED) !== 0) continue
      nrFree += nrInBlock
      ok(zoneField(control, kind, ZONE_HINT) <= block, `block ${block} is below the hint`)
    }
    equal(zoneField(control, kind, ZONE_FREE), nrFree, `free pages of zone ${kind}`)
  }
}

/** @returns How many pages of the block are in its lists. */
function assertBlock(memory: TestMemory, block: number): number {
  const { control } = memory
  const state = blockField(control, block, BLOCK_STATE)
  const nrFree = blockField(control, block, BLOCK_FREE)
  if (state === BlockState.Absent) return nrFree
  const memmap = framesOf(memory).block(block)
  const listed = pagesInLists(memmap, control.geometry)
  equal(nrFree, listed.size, `free pages of block ${block}`)
  if (listed.size === 0) return 0
  for (let page = 0; page < control.geometry.pagesPerBlock; page++) {
    const word = memmap[recordOfPage(page) + PAGE_WORD]! & 7
    const isFree = word === PageState.Tail || word === PageState.Free
    equal(listed.has(page), isFree, `page ${page} of block ${block} is in a list`)
  }
  return nrFree
}

function pagesInLists(memmap: Int32Array, geometry: Geometry): Set<number> {
  const pages = new Set<number>()
  for (let order = 0; order < geometry.pagesPerBlockShift; order++) {
    let previous = 0
    for (let first = memmap[order]!; first !== 0; ) {
      const link = memmap[recordOfPage(first) + PAGE_LINK]!
      equal(link >>> 16, previous, `previous of page ${first}`)
      const word = memmap[recordOfPage(first) + PAGE_WORD]
      equal(word, PageState.Free | (order << 3), `first page ${first} of its chunk`)
      equal(first % (1 << order), 0, `alignment of chunk ${first}`)
      const buddy = memmap[recordOfPage(first ^ (1 << order)) + PAGE_WORD]
      ok(buddy !== word, `page ${first} and its buddy are apart`)
      for (let page = first; page < first + (1 << order); page++) {
        ok(!pages.has(page), `page ${page} is in two chunks`)
        if (page !== first) equal(memmap[recordOfPage(page) + PAGE_WORD], PageState.Tail)
        pages.add(page)
      }
      previous = first
      first = link & 0xffff
    }
  }
  return pages
}

/** Pages of a block that can be given out. */
export function nrManaged({ control }: TestMemory): number {
  return nrManagedPages(control.geometry)
}
