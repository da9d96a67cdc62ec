/*
 * Shared words of models of memory: a few tiny blocks, with all that a machine's control buffer has
 * for them.
 */
import type { Words } from '#atomics'
import type { Declare, View } from '../../src/check/layout.ts'
import { Guard, type GuardForm } from '../../src/locking/guard.ts'
import { CACHE_LINE_WORDS, type Slot, Slots } from '../../src/locking/slots.ts'
import {
  BLOCK_FREE,
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  BlockState,
  CHANGED_BY,
  type Frames,
  type Geometry,
  GOING,
  type MemoryControl,
  makeMemoryControl,
  ONLINE_PAGES,
  PERCPU_DISABLED,
  VIRTUAL_HIGH,
  VIRTUAL_RECORD_WORDS,
  WRITE_PROTECT_EVENT,
  ZONE_DIRTY,
  ZONE_FREE,
  ZONE_RECORD_WORDS,
} from '../../src/mm/geometry.ts'
import { initMemmap, isFreeWord, nrManagedPages, recordOfPage } from '../../src/mm/memmap.ts'
import { PageAllocator } from '../../src/mm/page-allocator.ts'
import { Zone } from '../../src/mm/zone.ts'
import { tinyGeometry } from './geometry.ts'
import { aliveThreads, slotOf } from './threads.ts'

/** Blocks that a model can have. */
const NR_MEMMAPS = 3

/** Words by index. */
export interface Readable {
  readonly [index: number]: number
}

/** What is in each block, as a model's thread is given it. */
export interface BlocksFace {
  readonly m0: Words
  readonly m1: Words
  /** A model of two blocks has no third. */
  readonly m2?: Words
}

/** A machine's memory, as a model's thread is given it. */
export interface MemoryFace extends BlocksFace {
  /** Zones, block records, events, page table, per-CPU lists. */
  readonly z: Words
  readonly b: Words
  readonly e: Words
  readonly v: Words
  readonly p: Words
  /** Slots, guard. */
  readonly s: Words
  readonly g: Words
  readonly m2: Words
  readonly id: number
  cs(label: string): void
  awaitDeath(): number
}

/** Three blocks of two pages of four words, beside those that hold records. */
export const TINY: Geometry = tinyGeometry({
  nrBlocks: 3,
  pagesPerBlock: 32,
  memmapPages: 30,
  pageWords: 4,
  nrVirtual: 8,
})
/** Two blocks of one page, beside the one that holds records. */
export const TINIEST: Geometry = tinyGeometry({
  nrBlocks: 2,
  pagesPerBlock: 2,
  pageWords: 64,
  nrVirtual: 8,
})

/** All shared words, as they are before any thread runs. */
export interface Prepared {
  readonly control: MemoryControl
  readonly frames: Frames
  readonly memmaps: readonly Words[]
  readonly slots: Words
  readonly guard: Words
  readonly zones: readonly Zone[]
}

/** `nrSlots` threads are there, which have made what they work with once before; no block is. */
export function prepare(geometry: Geometry, nrSlots: number, form: GuardForm): Prepared {
  const words = (nrWords: number): Words => new Int32Array(new SharedArrayBuffer(nrWords * 4))
  const control = makeMemoryControl(geometry, nrSlots)
  const memmaps = Array.from({ length: NR_MEMMAPS }, () => words(geometry.blockWords))
  const frames: Frames = { block: block => memmaps[block]! }
  const slots = words(Slots.words(nrSlots))
  const guard = words(Guard.words(nrSlots))
  aliveThreads(slots)
  Guard.choose(guard, 0, form)
  for (let id = 0; id < nrSlots; id++) {
    const slot = slotOf(slots, id)
    new PageAllocator(slot, control, frames, new Guard(slot, guard, 0))
  }
  const first = slotOf(slots, 0)
  const zones = [new Zone(first, control, frames, 0), new Zone(first, control, frames, 1)]
  return { control, frames, memmaps, slots, guard, zones }
}

/** A block is there, offline, or online in zone Normal. */
export function present(prepared: Prepared, block: number, state: number): void {
  const { control, frames, zones } = prepared
  initMemmap(control.geometry, frames, block)
  control.events[BLOCKS_HIGH] = Math.max(control.events[BLOCKS_HIGH]!, block + 1)
  control.blocks[block * BLOCK_RECORD_WORDS + BLOCK_STATE] = state
  if (state !== BlockState.Online) return
  zones[0]!.giveBlock(block)
  const before = control.events[ONLINE_PAGES]!
  control.events[ONLINE_PAGES] = before + nrManagedPages(control.geometry)
}

/** The views of a model, with what `make` prepares in them. */
export function memoryViews(t: Declare, make: () => Prepared) {
  const view = (names: Record<string, number>, pick: (all: Prepared) => Words): View => {
    const { length } = pick(make())
    return t.int32(names, { length, init: words => words.set(pick(make())) })
  }
  const { geometry } = make().control
  return {
    z: view({ LOCK: 0, HINT: 1, DIRTY: ZONE_DIRTY, FREE: ZONE_FREE }, all => all.control.zones),
    b: view(blockNames(geometry), all => all.control.blocks),
    e: view(EVENTS, all => all.control.events),
    v: view(pageNames(geometry), all => all.control.pageTable),
    p: view({}, all => all.control.percpu),
    s: view({}, all => all.slots),
    g: view(guardNames(make().guard), all => all.guard),
    m0: view(frameNames(geometry, 0), all => all.memmaps[0]!),
    m1: view(frameNames(geometry, 1), all => all.memmaps[1]!),
    m2: view(frameNames(geometry, 2), all => all.memmaps[2]!),
  }
}

const EVENTS = {
  BLOCKS_HIGH,
  EVENT: WRITE_PROTECT_EVENT,
  CHANGED_BY,
  GOING,
  VIRTUAL_HIGH,
  PERCPU_DISABLED,
  ONLINE_PAGES,
} as const

function blockNames({ nrBlocks }: Geometry): Record<string, number> {
  const names: Record<string, number> = {}
  for (let block = 0; block < nrBlocks; block++) {
    names[`STATE[${block}]`] = block * BLOCK_RECORD_WORDS + BLOCK_STATE
    names[`FREE[${block}]`] = block * BLOCK_RECORD_WORDS + BLOCK_FREE
    names[`ISOLATED[${block}]`] = block * BLOCK_RECORD_WORDS + BLOCK_ISOLATED
  }
  return names
}

function pageNames({ nrVirtual }: Geometry): Record<string, number> {
  const names: Record<string, number> = {}
  for (let vpn = 1; vpn < nrVirtual; vpn++) names[`PTE[${vpn}]`] = vpn * VIRTUAL_RECORD_WORDS
  return names
}

function guardNames({ length }: Words): Record<string, number> {
  const names: Record<string, number> = {}
  for (let at = CACHE_LINE_WORDS; at < length; at += CACHE_LINE_WORDS) {
    names[`SEQUENCE[${at / CACHE_LINE_WORDS - 1}]`] = at
  }
  return names
}

function frameNames({ memmapPages, pagesPerBlock }: Geometry, block: number) {
  const names: Record<string, number> = {}
  for (let page = memmapPages; page < pagesPerBlock; page++) {
    names[`WORD[${block * pagesPerBlock + page}]`] = recordOfPage(page)
  }
  return names
}

/** The control buffer that a thread was given. */
export function controlOf({ z, b, e, v, p }: MemoryFace, geometry: Geometry): MemoryControl {
  return { geometry, zones: z, blocks: b, pageTable: v, events: e, percpu: p }
}

/** The blocks that a thread was given. */
export class Declared implements Frames {
  private readonly blocks: readonly Words[]

  constructor({ m0, m1, m2 }: BlocksFace) {
    this.blocks = m2 === undefined ? [m0, m1] : [m0, m1, m2]
  }

  block(block: number): Words {
    return this.blocks[block]!
  }
}

/** The slot of the thread that was given this. */
export function ownSlot({ s, id }: MemoryFace): Slot {
  return slotOf(s, id)
}

/** Words of a model's memory at its end. */
export interface MemoryWords {
  readonly z: Readable
  readonly b: Readable
  readonly e: Readable
  readonly m0: Readable
  readonly m1: Readable
  readonly m2: Readable
}

/** Whether blocks' states, page words and counters say the same, and nobody changes them. */
export function isExact({ z, b, e, ...memmaps }: MemoryWords, geometry: Geometry): boolean {
  const { m0, m1, m2 } = memmaps
  const inZone = [0, 0]
  let online = 0
  for (const [block, memmap] of [m0, m1, m2].slice(0, geometry.nrBlocks).entries()) {
    const field = (index: number): number => b[block * BLOCK_RECORD_WORDS + index]!
    const state = field(BLOCK_STATE)
    const hasPages = state === BlockState.Online || state === BlockState.GoingOffline
    const nrFree = hasPages ? countFree(memmap, geometry) : 0
    if (field(BLOCK_FREE) !== nrFree) return false
    if (field(BLOCK_ISOLATED) === 0) inZone[field(BLOCK_ZONE)]! += nrFree
    if (hasPages) online += nrManagedPages(geometry)
  }
  const isSettled = inZone.every(
    (nrFree, kind) =>
      z[kind * ZONE_RECORD_WORDS + ZONE_DIRTY] === 0 &&
      z[kind * ZONE_RECORD_WORDS + ZONE_FREE] === nrFree,
  )
  return isSettled && e[ONLINE_PAGES] === online && e[CHANGED_BY] === 0
}

function countFree(memmap: Readable, { memmapPages, pagesPerBlock }: Geometry): number {
  let nrFree = 0
  for (let page = memmapPages; page < pagesPerBlock; page++) {
    if (isFreeWord(memmap[recordOfPage(page)]!)) nrFree++
  }
  return nrFree
}
