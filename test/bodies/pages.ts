/*
 * Memory for tests of pages: a few small blocks, and what must always be true of them.
 */
import { equal } from 'node:assert/strict'
import { Guard } from '../../src/locking/guard.ts'
import { type Slot, Slots } from '../../src/locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  BlockState,
  type Frames,
  type Geometry,
  type MemoryControl,
  makeMemoryControl,
  ZONE_RECORD_WORDS,
} from '../../src/mm/geometry.ts'
import { initMemmap, nrManagedPages } from '../../src/mm/memmap.ts'
import { PageAllocator } from '../../src/mm/page-allocator.ts'
import { countPages, type PageMemory, whatIsWrong } from '../litmus/pages.ts'
import { sharedWords } from '../thread.ts'
import { testOracle } from './locks.ts'

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
  const views = new Array<Int32Array | undefined>(nrBlocks)
  const view = (block: number) => new Int32Array(space, block * blockSize, blockWords)
  return { block: block => (views[block] ??= view(block)) }
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
  initMemmap(control.geometry, frames, block)
  setBlock(control, block, BLOCK_STATE, BlockState.Offline)
}

/** Takes a block online. */
export function onlineBlock(memory: TestMemory, hands: Hands, block: number, kind: 0 | 1): void {
  setBlock(memory.control, block, BLOCK_ZONE, kind)
  setBlock(memory.control, block, BLOCK_STATE, BlockState.GoingOnline)
  hands.pages.zones[kind]!.giveBlock(block)
  setBlock(memory.control, block, BLOCK_STATE, BlockState.Online)
}

/** Writes one word of a block's record: that of one that was added. */
export function setBlock(
  control: MemoryControl,
  block: number,
  field: number,
  value: number,
): void {
  const high = Atomics.load(control.events, BLOCKS_HIGH)
  if (block >= high) Atomics.store(control.events, BLOCKS_HIGH, block + 1)
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

/** How many pages have a state, in blocks that were added. */
export function countStates(memory: TestMemory, state: number): number {
  return countPages(pagesOf(memory), state)
}

/**
 * Checks lists and counters of all blocks against the words of their pages. Call when no thread is
 * in the middle of anything, and a dead one's zone has been locked since.
 */
export function assertExact(memory: TestMemory): void {
  equal(whatIsWrong(pagesOf(memory)), '')
}

function pagesOf(memory: TestMemory): PageMemory {
  const { control } = memory
  const frames = framesOf(memory)
  const memmaps = Array.from({ length: control.geometry.nrBlocks }, (_, block) =>
    blockField(control, block, BLOCK_STATE) === BlockState.Absent ? null : frames.block(block),
  )
  return { ...control, memmaps }
}

/** Pages of a block that can be given out. */
export function nrManaged({ control }: TestMemory): number {
  return nrManagedPages(control.geometry)
}
