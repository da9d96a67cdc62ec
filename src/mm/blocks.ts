/*
 * The block table: what each block is.
 *
 *     Absent -> Adding -> Offline -> GoingOnline -> Online -> GoingOffline -> Offline
 *                         Offline -> Removing -> Absent
 *
 * A state changes with `memAddRemoveLock` held, and `memHotplugLock` for writing; so a walker that
 * holds `memHotplugLock` for reading sees states and counters that belong together. One word can be
 * read at any time.
 *
 * HIGH. No block from this number on was ever added: so whoever looks at all blocks looks at few,
 * however many are reserved. It is raised before the first of a block's words changes, and never
 * lowered. Who dies in between leaves it too high, which is harmless: the block is Absent. One
 * beyond what was read of it meanwhile has nothing yet that the reader would have to see.
 *
 * Deaths. An operator that dies leaves a block on its way: see recovery.ts.
 *
 * Checked by recovery.check.ts.
 */
import { load, store } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Slots } from '../locking/slots.ts'
import {
  BLOCK_EPOCH,
  BLOCK_FREE,
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  BlockState,
  CHANGED_BY,
  type Geometry,
  GOING,
  type MemoryControl,
  ONLINE_PAGES,
  ZoneKind,
} from './geometry.ts'
import { nrManagedPages } from './memmap.ts'

/** What a block is, in words. */
export type BlockStateName =
  | 'absent'
  | 'adding'
  | 'offline'
  | 'going-online'
  | 'online'
  | 'going-offline'
  | 'removing'

const NAMES: readonly BlockStateName[] = [
  'absent',
  'adding',
  'offline',
  'going-online',
  'online',
  'going-offline',
  'removing',
]

/** Where pages come from: what cannot move, and what can. */
export type ZoneName = 'Normal' | 'Movable'

/** The block table, for any thread. */
export class Blocks {
  readonly control: MemoryControl
  readonly geometry: Geometry

  constructor(control: MemoryControl) {
    this.control = control
    this.geometry = control.geometry
  }

  /** A `BlockState`. */
  state(block: number): number {
    return load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_STATE)
  }

  /** The state's name. */
  stateName(block: number): BlockStateName {
    return NAMES[this.state(block)]!
  }

  /** The zone of a block that is online, or on the way; null for others. */
  zone(block: number): ZoneName | null {
    if (!this.hasPages(block)) return null
    return zoneName(this.zoneKind(block))
  }

  /** A `ZoneKind`; of a block that has pages. */
  zoneKind(block: number): 0 | 1 {
    return load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_ZONE) === ZoneKind.Normal
      ? 0
      : 1
  }

  /** Whether its pages count as online. */
  hasPages(block: number): boolean {
    const state = this.state(block)
    return state === BlockState.Online || state === BlockState.GoingOffline
  }

  /** Pages that somebody has; of a block that has pages. */
  usedPages(block: number): number {
    const free = load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_FREE)
    return nrManagedPages(this.geometry) - free
  }

  /** No block from this number on was ever added. */
  high(): number {
    return load(this.control.events, BLOCKS_HIGH)
  }

  /** Blocks in one of these states, lowest first; of Absent those that were added once. */
  in(...states: readonly number[]): number[] {
    const found: number[] = []
    const high = this.high()
    for (let block = 0; block < high; block++) {
      const state = this.state(block)
      if (states.includes(state)) found.push(block)
    }
    return found
  }

  /** Blocks whose pages count as online, also on their way offline; lowest first. */
  online(): number[] {
    return this.in(BlockState.Online, BlockState.GoingOffline)
  }

  /** The lowest `count` blocks that are not there; fewer if there are no more. */
  absent(count: number): number[] {
    const found = this.in(BlockState.Absent)
    const { nrBlocks } = this.geometry
    for (let block = this.high(); block < nrBlocks && found.length < count; block++) {
      found.push(block)
    }
    return found.slice(0, count)
  }

  /** Pages of the blocks that are online, but those that hold the records of pages. */
  onlinePages(): number {
    return load(this.control.events, ONLINE_PAGES)
  }

  /** The block is to be added. Call with `memHotplugLock` held for writing, before `setState`. */
  raiseHigh(block: number): void {
    const high = this.high()
    if (high <= block) store(this.control.events, BLOCKS_HIGH, block + 1)
  }

  /** Call with `memHotplugLock` held for writing. */
  setState(block: number, state: number): void {
    store(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_STATE, state)
  }

  /** Call with `memHotplugLock` held for writing, before the zone is given the block's pages. */
  setZone(block: number, kind: number): void {
    store(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_ZONE, kind)
  }

  /** The block is there anew. Call as `setState`. */
  beginEpoch(block: number): void {
    const at = block * BLOCK_RECORD_WORDS + BLOCK_EPOCH
    const epoch = load(this.control.blocks, at)
    store(this.control.blocks, at, (epoch + 1) & 0x7fffffff)
  }

  /** How often the block was added. */
  epoch(block: number): number {
    return load(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_EPOCH)
  }

  /** Sums up what is online. Call with `memHotplugLock` held for writing, after each change. */
  count(): void {
    const pages = this.pagesOnline()
    store(this.control.events, ONLINE_PAGES, pages)
  }

  /** States are about to change, by who has this token. Call with the lock as `setState`. */
  beginChange(token: number): void {
    store(this.control.events, CHANGED_BY, token)
  }

  /** States and counters belong together again. */
  endChange(): void {
    store(this.control.events, CHANGED_BY, 0)
  }

  /** The token of who changes states, or died while it did; 0: nobody. Call as `isLeft`. */
  changedBy(): number {
    return load(this.control.events, CHANGED_BY)
  }

  /**
   * Whether who changed states died while it did, so that states and counters need not belong
   * together until what it left is undone. Call with `memHotplugLock` held.
   */
  isLeft(slots: Slots): boolean {
    const changedBy = this.changedBy()
    return changedBy !== 0 && !slots.isAlive(changedBy)
  }

  /** What notifiers are still to be told the end of; 0: nothing. See ends.ts. */
  going(): number {
    return load(this.control.events, GOING)
  }

  /** Call with `memAddRemoveLock` held. */
  setGoing(going: number): void {
    store(this.control.events, GOING, going)
  }

  /**
   * Throws unless states and counters belong together. Call with `memHotplugLock` held for reading
   * or writing.
   */
  assertWhole(): void {
    const pages = this.pagesOnline()
    const counted = this.onlinePages()
    assert(counted === pages, `blocks: ${counted} pages are said to be online, ${pages} are`)
  }

  /** As `onlinePages` is to be, by the blocks' states. */
  private pagesOnline(): number {
    let pages = 0
    const high = this.high()
    for (let block = 0; block < high; block++) {
      const isOnline = this.hasPages(block)
      if (isOnline) pages += nrManagedPages(this.geometry)
    }
    return pages
  }
}

/** A `ZoneKind`'s name. */
export function zoneName(kind: number): ZoneName {
  return kind === ZoneKind.Normal ? 'Normal' : 'Movable'
}
