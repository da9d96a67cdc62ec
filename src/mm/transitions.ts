/*
 * The steps by which a block goes from one state to the next.
 *
 *     add        beginAdd, finishAdd              or undoAdd
 *     online     beginOnline, finishOnline        or undoOnline
 *     offline    beginOffline, finishOffline      or undoOffline
 *     remove     beginRemove, finishRemove        or undoRemove
 *
 * Call each with `memAddRemoveLock` held, and `memHotplugLock` for writing. In between, only the
 * first is held: nobody else takes the block further, and its state says so to whoever looks.
 *
 * Each can be left in the middle by a death; recovery.ts goes on from whatever words are found. So
 * of two words the one that says more than is true is written first: a block is said to be online
 * before the zone has its pages, and until the zone has none of them any more. That notifiers are
 * to be told how it ended is noted before all else (ends.ts).
 *
 * Letters are those of add-remove.ts, online.ts and offline.ts. Checked by recovery.check.ts.
 */
import { assert } from '../lib/assert.ts'
import type { Blocks } from './blocks.ts'
import { beginGoing, Way } from './ends.ts'
import { BlockState } from './geometry.ts'
import type { Zone } from './zone.ts'

/** A2: the block is reserved for this operation. */
export function beginAdd(blocks: Blocks, block: number): void {
  blocks.raiseHigh(block)
  change(blocks, block, BlockState.Absent, BlockState.Adding)
}

/** A4: its pages have records. */
export function finishAdd(blocks: Blocks, block: number): void {
  blocks.beginEpoch(block)
  change(blocks, block, BlockState.Adding, BlockState.Offline)
}

/** Its memory did not arrive. */
export function undoAdd(blocks: Blocks, block: number): void {
  change(blocks, block, BlockState.Adding, BlockState.Absent)
}

/** N2: on its way to a zone of that `ZoneKind`. */
export function beginOnline(blocks: Blocks, block: number, kind: number): void {
  beginGoing(blocks, block, kind, Way.On)
  change(blocks, block, BlockState.Offline, BlockState.GoingOnline)
}

/** N4: its pages go to the zone. */
export function finishOnline(blocks: Blocks, zone: Zone, block: number): void {
  blocks.setZone(block, zone.kind)
  change(blocks, block, BlockState.GoingOnline, BlockState.Online)
  zone.giveBlock(block)
  blocks.count()
}

/** It does not go online. */
export function undoOnline(blocks: Blocks, block: number): void {
  change(blocks, block, BlockState.GoingOnline, BlockState.Offline)
}

/** F2: it gives out no page, and keeps each page freed into it. */
export function beginOffline(blocks: Blocks, zone: Zone, block: number): void {
  beginGoing(blocks, block, zone.kind, Way.Off)
  change(blocks, block, BlockState.Online, BlockState.GoingOffline)
  zone.isolate(block)
}

/** F5: its pages, which nobody has, leave the zone. */
export function finishOffline(blocks: Blocks, zone: Zone, block: number): void {
  zone.takeBlock(block)
  change(blocks, block, BlockState.GoingOffline, BlockState.Offline)
  blocks.count()
}

/** It gives out pages again. */
export function undoOffline(blocks: Blocks, zone: Zone, block: number): void {
  change(blocks, block, BlockState.GoingOffline, BlockState.Online)
  zone.undoIsolate(block)
}

/** V2. */
export function beginRemove(blocks: Blocks, block: number): void {
  change(blocks, block, BlockState.Offline, BlockState.Removing)
}

/** V4: its memory is gone. */
export function finishRemove(blocks: Blocks, block: number): void {
  change(blocks, block, BlockState.Removing, BlockState.Absent)
}

/** The system does not let its memory go. */
export function undoRemove(blocks: Blocks, block: number): void {
  change(blocks, block, BlockState.Removing, BlockState.Offline)
}

function change(blocks: Blocks, block: number, from: number, to: number): void {
  const state = blocks.state(block)
  assert(state === from, `transitions: block ${block} is in state ${state}, not ${from}`)
  blocks.setState(block, to)
}
