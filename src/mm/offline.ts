/*
 * Offline: a block is emptied under load, and gives out no more pages.
 *
 *     F1  the block is Online, else EINVAL; a page that cannot move: EBUSY
 *     F2  isolated: it gives out no page and keeps each page freed into it; GoingOffline
 *     F3  GOING_OFFLINE: a veto ends it, an abort, or the deadline
 *     F4  per-CPU lists drained; batches are moved until nobody has a page of it (migration.ts);
 *         ends early by an abort, a deadline, a page that cannot move (EBUSY), or no room
 *         elsewhere (ENOMEM)
 *     F5  point of no return: its pages leave the zone; Offline
 *     F6  OFFLINE; who dies before has it told by others (ends.ts)
 *
 * What ends it before F5 is undone: it gives out pages again, Online, CANCEL_OFFLINE to those that
 * were told. Pages that moved stay where they are.
 */
import { pause } from '../arch/clock.ts'
import { HotplugError } from '../lib/errors.ts'
import { blockersOf, Insider } from './blockers.ts'
import { tellEnd } from './ends.ts'
import { BlockState } from './geometry.ts'
import {
  askNotifiers,
  blockName,
  exclusively,
  type Hotplug,
  requireBlock,
  transition,
} from './hotplug.ts'
import type { Box } from './mailboxes.ts'
import { Limit, type OperationOptions } from './operation.ts'
import { RequestKind } from './requests.ts'
import { type Slice, sliceOf } from './slice.ts'
import { beginOffline, finishOffline, undoOffline } from './transitions.ts'

/** How often nothing moves for want of room before that is the answer. */
const NO_ROOM_MAX = 3
const PAUSE_MS = 1

/** What an offline came to. */
export interface OfflineReport {
  readonly block: number
  readonly pagesMoved: number
  readonly bytesMoved: number
  readonly durationMs: number
  /** How long writers of one batch waited at most. */
  readonly longestBatchMs: number
}

/**
 * Takes a block offline.
 *
 * @param isWanted Whether the block is still to go, asked with the lock held; if not, `EBUSY`.
 * @throws {HotplugError} `EINVAL`: no such block, or it is not online. `ENODEV`: it is not there.
 *   `EBUSY`: a page cannot move; `blockedBy` says which, whose, since when. `ENOMEM`: no room
 *   elsewhere. `ETIMEDOUT`: the deadline has passed. `blockedBy` of both says which pages are left,
 *   and which thread stays inside the guard, if one does. A notifier's veto. `EDEADLK`: as all
 *   operations. The signal's reason if aborted. All is as it was, but for pages that have moved.
 */
export async function offlineBlock(
  hotplug: Hotplug,
  block: number,
  options: OperationOptions = {},
  isWanted: () => boolean = () => true,
): Promise<OfflineReport> {
  const limit = new Limit(`offline ${blockName(block)}`, options)
  return await exclusively(hotplug, limit, async () => {
    requireBlock(hotplug, limit.operation, block)
    const { blocks, zones } = hotplug
    if (blocks.state(block) !== BlockState.Online) {
      const reason = `${blockName(block)} is ${blocks.stateName(block)}`
      throw new HotplugError('EINVAL', limit.operation, reason)
    }
    limit.report(0, blocks.usedPages(block), hotplug.geometry.pageSize)
    limit.check()
    if (!isWanted()) throw new HotplugError('EBUSY', limit.operation, 'it is to stay after all')
    refuseIfUnmovable(hotplug, limit, block) // F1
    const kind = blocks.zoneKind(block)
    const zone = zones[kind]!
    await transition(hotplug, () => beginOffline(blocks, zone, block), limit) // F2
    const seen: Box[] = []
    let done: Slice
    try {
      await askNotifiers(hotplug, limit, ['GOING_OFFLINE', block, kind], seen) // F3
      done = await empty(hotplug, limit, block) // F4
      await transition(hotplug, () => finishOffline(blocks, zone, block)) // F5
    } catch (error) {
      await transition(hotplug, () => undoOffline(blocks, zone, block))
      await tellEnd(hotplug, seen)
      throw error
    }
    await tellEnd(hotplug) // F6
    const { moved, longestBatchMs } = done
    const bytesMoved = moved * hotplug.geometry.pageSize
    return { block, pagesMoved: moved, bytesMoved, durationMs: limit.elapsedMs, longestBatchMs }
  })
}

/** Moves pages until nobody has any. */
async function empty(hotplug: Hotplug, limit: Limit, block: number): Promise<Slice> {
  const { requests, geometry } = hotplug
  let moved = 0
  let longestBatchMs = 0
  let noRoom = 0
  const device = blockName(block)
  const insider = new Insider()
  const blockers = () => [...insider.blockers(device), ...blockersOf(hotplug, block)]
  for (let isDrained = false; ; ) {
    const args = [block, isDrained ? 0 : 1]
    const slice = sliceOf(await requests.askAsync({ kind: RequestKind.Migrate, args }))
    moved += slice.moved
    longestBatchMs = Math.max(longestBatchMs, slice.longestBatchMs)
    insider.note(slice.inside)
    isDrained ||= slice.inside === -1
    limit.report(moved, slice.left, geometry.pageSize)
    if (slice.left === 0) limit.check()
    if (slice.left === 0) return { ...slice, moved, longestBatchMs }
    if (slice.isUnmovable) refuseIfUnmovable(hotplug, limit, block)
    noRoom = slice.stopped === 'noRoom' && slice.moved === 0 ? noRoom + 1 : 0
    if (noRoom === NO_ROOM_MAX) {
      const reason = `no room elsewhere for ${slice.left} pages of ${device}`
      const blockedBy = [{ device, reason }, ...blockers()]
      throw new HotplugError('ENOMEM', limit.operation, reason, { blockedBy })
    }
    limit.check(blockers)
    if (slice.moved === 0) await pause(PAUSE_MS)
  }
}

function refuseIfUnmovable(hotplug: Hotplug, limit: Limit, block: number): void {
  const blockedBy = blockersOf(hotplug, block, true)
  const first = blockedBy[0]
  if (first === undefined) return
  throw new HotplugError('EBUSY', limit.operation, first.reason, { blockedBy })
}
