/*
 * Online: a block's pages are given to a zone.
 *
 *     N1  the block is Offline, else EINVAL
 *     N2  GoingOnline
 *     N3  GOING_ONLINE: a veto, an abort or the deadline ends it: CANCEL_ONLINE to those that were
 *         told, Offline again
 *     N4  Online, pages to the zone
 *     N5  ONLINE; who dies before has it told by others (ends.ts)
 */
import { HotplugError } from '../lib/errors.ts'
import { tellEnd } from './ends.ts'
import { BlockState, ZoneKind } from './geometry.ts'
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
import { beginOnline, finishOnline, undoOnline } from './transitions.ts'

/** Into which zone: what fits, what cannot move as well, or only what can. */
export type OnlineType = 'online' | 'online_kernel' | 'online_movable'
/** What becomes of memory that is added. */
export type AutoOnline = 'offline' | OnlineType

const TYPES: readonly AutoOnline[] = ['offline', 'online', 'online_kernel', 'online_movable']

/** @throws {HotplugError} `EINVAL`: not one of the names. */
export function requireAutoOnline(operation: string, type: string): AutoOnline {
  const found = TYPES.find(one => one === type)
  if (found !== undefined) return found
  throw new HotplugError('EINVAL', operation, `${type} is none of ${TYPES.join(', ')}`)
}

/**
 * Brings a block online.
 *
 * @throws {HotplugError} `EINVAL`: no such block or type, or it is not offline (as the kernel's
 *   `state` file, also if it is online already). `ENODEV`: it is not there. A notifier's veto.
 *   `EDEADLK`, `ETIMEDOUT`: as all operations. The signal's reason if aborted. All is as it was.
 */
export async function onlineBlock(
  hotplug: Hotplug,
  block: number,
  type: OnlineType,
  options: OperationOptions = {},
): Promise<void> {
  const limit = new Limit(`online ${blockName(block)}`, options)
  if (requireAutoOnline(limit.operation, type) === 'offline') {
    throw new HotplugError('EINVAL', limit.operation, 'offline is no way to go online')
  }
  await exclusively(hotplug, limit, async () => {
    requireBlock(hotplug, limit.operation, block)
    const { blocks, zones } = hotplug
    if (blocks.state(block) !== BlockState.Offline) {
      // N1
      const reason = `${blockName(block)} is ${blocks.stateName(block)}`
      throw new HotplugError('EINVAL', limit.operation, reason)
    }
    const { pagesPerBlock, pageSize } = hotplug.geometry
    limit.report(0, pagesPerBlock, pageSize)
    limit.check()
    const kind = zoneFor(hotplug, type)
    await transition(hotplug, () => beginOnline(blocks, block, kind), limit) // N2
    const seen: Box[] = []
    try {
      await askNotifiers(hotplug, limit, ['GOING_ONLINE', block, kind], seen) // N3
    } catch (error) {
      await transition(hotplug, () => undoOnline(blocks, block))
      await tellEnd(hotplug, seen)
      throw error
    }
    await transition(hotplug, () => finishOnline(blocks, zones[kind]!, block)) // N4
    await tellEnd(hotplug) // N5
    limit.reportDone(pagesPerBlock, 0, pageSize)
  })
}

/** `online` keeps a block for what cannot move, and lets the others be emptied. */
function zoneFor({ blocks }: Hotplug, type: OnlineType): 0 | 1 {
  if (type === 'online_kernel') return ZoneKind.Normal
  if (type === 'online_movable') return ZoneKind.Movable
  const online = blocks.online()
  const hasNormal = online.some(one => blocks.zoneKind(one) === ZoneKind.Normal)
  return hasNormal ? ZoneKind.Movable : ZoneKind.Normal
}
