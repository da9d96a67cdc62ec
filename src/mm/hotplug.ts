/*
 * Memory hotplug: blocks arrive, go online, go offline, leave, under load.
 *
 *     operation (any thread, on its event loop)         service thread
 *     memAddRemoveLock, over the whole of it
 *       memHotplugLock for writing: a short transition
 *       notifiers                                       memory arrives, moves, leaves (requests.ts)
 *       memHotplugLock for writing: a short transition
 *
 * An operation that fails before its last transition undoes what it did, in reverse. Where it dies
 * in the middle, the next operation, or the service thread, undoes it (recovery.ts); notifiers that
 * it had told of the beginning are told the end (ends.ts).
 *
 * Notifiers run with `memAddRemoveLock` held, so an operation that one of them calls would wait for
 * itself: EDEADLK.
 *
 * After the kernel's mm/memory_hotplug.c.
 */
import { isBroken } from '#protections'
import type { AddressSpace } from '../arch/address-space.ts'
import { HotplugError } from '../lib/errors.ts'
import type { AcquireOptions } from '../locking/acquire.ts'
import type { HotplugLocks } from '../locking/hotplug-locks.ts'
import type { Blocks } from './blocks.ts'
import { isUnderWay, tellEnd } from './ends.ts'
import type { Geometry } from './geometry.ts'
import type { Box } from './mailboxes.ts'
import { insideNotifier, type Notifiers, unanswered, vetoError } from './notifiers.ts'
import { Limit } from './operation.ts'
import type { Pins } from './pins.ts'
import { RequestKind, type Requests } from './requests.ts'
import type { Zone } from './zone.ts'

/** What operations work with, in one thread. */
export interface Hotplug {
  readonly geometry: Geometry
  readonly locks: HotplugLocks
  readonly blocks: Blocks
  /** By `ZoneKind`. */
  readonly zones: readonly Zone[]
  readonly space: AddressSpace
  readonly pins: Pins
  readonly notifiers: Notifiers
  readonly requests: Requests
  /** What a map is called; null: nobody knows. */
  nameOfMap(map: number): string | null
}

/** What a block is called. */
export function blockName(block: number): string {
  return `memory${block}`
}

/**
 * Runs a whole operation with `memAddRemoveLock` held.
 *
 * @throws {HotplugError} `EDEADLK`: it is called from a memory notifier. `ETIMEDOUT`: as `limit`.
 *   `ENODEV`: the machine is shut down, or this thread detached, before its end.
 */
export async function exclusively<T>(
  hotplug: Hotplug,
  limit: Limit,
  body: () => Promise<T>,
): Promise<T> {
  if (insideNotifier()) {
    const reason = 'this is called from a memory notifier, which the running operation waits for'
    throw new HotplugError('EDEADLK', limit.operation, reason)
  }
  try {
    if (isBroken('memAddRemoveLock')) return await body()
    const held = await limit.within('another operation had not come to its end', options =>
      hotplug.locks.memAddRemoveLock.lockAsync(options),
    )
    try {
      if (held.ownerDied || isUnderWay(hotplug.blocks)) await recover(hotplug)
      await tellEnd(hotplug)
      return await body()
    } finally {
      if (hasSlot(hotplug)) held.release()
    }
  } catch (error) {
    if (!isGone(hotplug)) throw error
    hotplug.requests.assertServed(limit.operation)
    const reason = 'this thread has detached from the machine'
    throw new HotplugError('ENODEV', limit.operation, reason, { cause: error })
  }
}

/** Whether nothing can be done any more: the machine is shut down, or this thread detached. */
export function isGone(hotplug: Hotplug): boolean {
  return !hasSlot(hotplug) || !hotplug.requests.isServed()
}

/** Whether the thread is attached still; else what it held is released, and others go on. */
function hasSlot({ locks }: Hotplug): boolean {
  return locks.slot.token !== 0
}

/**
 * Runs a short change of what is online, with `memHotplugLock` held for writing.
 *
 * @param limit How long that lock is waited for, by a change that nothing depends on yet: the
 *   first of an operation. Left out by those that come after it, or undo it.
 * @throws {HotplugError} `ETIMEDOUT`, or the signal's reason: as `limit`. Nothing has changed.
 */
export async function transition(
  hotplug: Hotplug,
  body: () => void,
  limit: Limit = new Limit('change what is online'),
): Promise<void> {
  const take = (options: AcquireOptions) => hotplug.locks.memHotplugBeginAsync(options)
  const isHeld = !isBroken('memHotplugLock')
  const held = isHeld ? await limit.within('memHotplugLock had not become free', take) : null
  try {
    hotplug.locks.slot.assertAttached('change what is online')
    hotplug.blocks.beginChange(hotplug.locks.slot.token)
    body()
    hotplug.blocks.endChange()
  } finally {
    if (hasSlot(hotplug)) held?.release()
  }
}

/** Undoes what a dead operator left. Call with `memAddRemoveLock` held. */
async function recover(hotplug: Hotplug): Promise<void> {
  const held = await hotplug.locks.memHotplugBeginAsync()
  try {
    hotplug.blocks.beginChange(hotplug.locks.slot.token)
    await hotplug.requests.askAsync({ kind: RequestKind.Recover, args: [] })
    hotplug.locks.slot.assertAttached('recover what an operator left') // else it is another's word
    hotplug.blocks.endChange()
  } finally {
    held.release()
  }
}

/**
 * Asks the notifiers whether a block may go on or off, for no longer than the operation may take.
 *
 * @param kind The block's `ZoneKind`.
 * @param seen Is given those that were told, whom a CANCEL concerns.
 * @throws {HotplugError} A veto, by the notifier's code. `ETIMEDOUT`, or the signal's reason: as
 *   `limit`; names the notifier that had not answered.
 */
export async function askNotifiers(
  { notifiers }: Hotplug,
  limit: Limit,
  [action, block, kind]: readonly ['GOING_ONLINE' | 'GOING_OFFLINE', number, number],
  seen: Box[],
): Promise<void> {
  const { notified, veto, awaited } = await notifiers.call(action, block, kind, { limit })
  seen.push(...notified)
  if (veto !== null) throw vetoError(limit.operation, blockName(block), veto)
  if (awaited !== -1) limit.end(() => [unanswered(blockName(block), awaited)])
  limit.check()
}

/** @throws {HotplugError} `EINVAL`: not a block of this machine. `ENODEV`: it is not there. */
export function requireBlock(hotplug: Hotplug, operation: string, block: number): void {
  const { nrBlocks } = hotplug.geometry
  if (!Number.isInteger(block) || block < 0 || block >= nrBlocks) {
    throw new HotplugError('EINVAL', operation, `there are blocks 0 to ${nrBlocks - 1} only`)
  }
  if (hotplug.blocks.stateName(block) === 'absent') {
    throw new HotplugError('ENODEV', operation, `${blockName(block)} is not there`)
  }
}
