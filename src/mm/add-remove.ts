/*
 * Add and remove: a block's memory arrives, offline, and leaves.
 *
 *     add                                         remove
 *     A1  addresses, which cost nothing           V1  Offline, else EBUSY
 *     A2  Adding: reserved for this operation     V2  Removing
 *     A3  no huge pages, records of its pages     V3  a grace period; its memory goes back to the
 *         in its first ones                           system; if time is up before, or the system
 *                                                     keeps it: Offline, an error
 *     A4  Offline                                 V4  Absent
 *
 * A block has addresses before it is Adding: who finds it so, and its operator dead, discards it.
 * Adding is all or nothing: what was added before a block that fails leaves again, and where the
 * system does not let one go, the others do, and the error names those that are left. Going online
 * afterwards is a matter of its own; where it fails, the memory stays, offline.
 */
import { pause } from '../arch/clock.ts'
import { type Blocker, HotplugError } from '../lib/errors.ts'
import { sizeText } from '../lib/units.ts'
import { Insider } from './blockers.ts'
import { BlockState } from './geometry.ts'
import {
  blockName,
  exclusively,
  type Hotplug,
  isGone,
  requireBlock,
  transition,
} from './hotplug.ts'
import { Limit, type OperationOptions } from './operation.ts'
import { DISCARD_UNIT, RequestKind } from './requests.ts'
import {
  beginAdd,
  beginRemove,
  finishAdd,
  finishRemove,
  undoAdd,
  undoRemove,
} from './transitions.ts'

/** Between two looks at who stays inside the guard. */
const PAUSE_MS = 1

/** Where memory is to be added. */
export interface AddLimits extends OperationOptions {
  /** The first block; if left out, blocks that are free. */
  readonly block?: number | undefined
}

/**
 * Adds memory, offline.
 *
 * @param bytes A multiple of `blockSize`.
 * @returns The blocks that were added, lowest first.
 * @throws {HotplugError} `EINVAL`: no whole number of blocks, or outside the machine. `EEXIST`: a
 *   block that was asked for is there already. `ENOMEM`: more than `maxMemory`, or the system has
 *   no memory left. `EDEADLK`, `ETIMEDOUT`: as all operations. Nothing was added. `EBUSY`: one of
 *   those, which is its cause, and what had been added before is kept by the system: `blockedBy`
 *   says which blocks are there, offline.
 */
export async function addMemory(
  hotplug: Hotplug,
  bytes: number,
  options: AddLimits = {},
): Promise<number[]> {
  const limit = new Limit(`add ${sizeText(bytes)}`, options)
  const { blockSize } = hotplug.geometry
  if (bytes <= 0 || bytes % blockSize !== 0) {
    const reason = `it is no multiple of blockSize ${sizeText(blockSize)}`
    throw new HotplugError('EINVAL', limit.operation, reason)
  }
  return await exclusively(hotplug, limit, async () => {
    const chosen = choose(hotplug, limit, bytes / blockSize, options.block)
    const added: number[] = []
    try {
      report(hotplug, limit, 0, chosen.length)
      for (const block of chosen) {
        limit.check()
        await addBlock(hotplug, limit, block)
        added.push(block)
        report(hotplug, limit, added.length, chosen.length)
      }
    } catch (error) {
      throw await takeBack(hotplug, limit, added, error)
    }
    return added
  })
}

function report({ geometry }: Hotplug, limit: Limit, nrDone: number, nrBlocks: number): void {
  const { pagesPerBlock, pageSize } = geometry
  limit.report(nrDone * pagesPerBlock, (nrBlocks - nrDone) * pagesPerBlock, pageSize)
}

/**
 * What was added leaves again, as far as the system lets it go.
 *
 * @returns What to throw: why it leaves; or that something stays, caused by that.
 */
async function takeBack(
  hotplug: Hotplug,
  limit: Limit,
  added: readonly number[],
  cause: unknown,
): Promise<unknown> {
  const blockedBy: Blocker[] = []
  for (const block of added.toReversed()) {
    try {
      await leave(hotplug, block)
    } catch (error) {
      const device = blockName(block)
      blockedBy.push({ device, reason: `${device} stays, offline: ${messageOf(error)}` })
    }
  }
  const first = blockedBy[0]
  if (first === undefined) return cause
  const reason = `${messageOf(cause)}; ${first.reason}`
  return new HotplugError('EBUSY', limit.operation, reason, { blockedBy, cause })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function choose(hotplug: Hotplug, limit: Limit, count: number, first?: number): number[] {
  const { blocks, geometry } = hotplug
  if (first === undefined) {
    const absent = blocks.absent(count)
    if (absent.length === count) return absent
    const room = sizeText(absent.length * geometry.blockSize)
    const reason = `maxMemory ${sizeText(geometry.maxMemory)} has room for ${room} more`
    throw new HotplugError('ENOMEM', limit.operation, reason)
  }
  const isWithin = Number.isInteger(first) && first >= 0 && first + count <= geometry.nrBlocks
  if (!isWithin) {
    const reason = `there are blocks 0 to ${geometry.nrBlocks - 1} only`
    throw new HotplugError('EINVAL', `${limit.operation} at block ${first}`, reason)
  }
  const chosen = Array.from({ length: count }, (_, i) => first + i)
  const taken = chosen.find(block => blocks.state(block) !== BlockState.Absent)
  if (taken === undefined) return chosen
  const reason = `${blockName(taken)} is there already`
  throw new HotplugError('EEXIST', `${limit.operation} at block ${first}`, reason)
}

async function addBlock(hotplug: Hotplug, limit: Limit, block: number): Promise<void> {
  const { blocks, geometry, requests, space } = hotplug
  space.grow((block + 1) * geometry.blockSize) // A1
  await transition(hotplug, () => beginAdd(blocks, block), limit) // A2
  try {
    await requests.askAsync({ kind: RequestKind.Prepare, args: [block] }) // A3
  } catch (error) {
    await transition(hotplug, () => undoAdd(blocks, block))
    throw error
  }
  await transition(hotplug, () => finishAdd(blocks, block)) // A4
}

/**
 * Removes a block that is offline.
 *
 * @returns How many bytes went back to the system.
 * @throws {HotplugError} `EINVAL`: no such block. `ENODEV`: it is not there. `EBUSY`: it is not
 *   offline, or the system keeps its memory. `ETIMEDOUT`: also if a thread stays inside the guard,
 *   which it names. `EDEADLK`: as all operations. Nothing has changed.
 */
export async function removeBlock(
  hotplug: Hotplug,
  block: number,
  options: OperationOptions = {},
): Promise<number> {
  const limit = new Limit(`remove ${blockName(block)}`, options)
  return await exclusively(hotplug, limit, async () => {
    requireBlock(hotplug, limit.operation, block)
    const state = hotplug.blocks.stateName(block)
    if (state !== 'offline') {
      // V1
      const reason = `${blockName(block)} is ${state}`
      const blockedBy = [{ device: blockName(block), reason }]
      throw new HotplugError('EBUSY', limit.operation, reason, { blockedBy })
    }
    report(hotplug, limit, 0, 1)
    limit.check()
    const returnedBytes = await leave(hotplug, block, limit)
    limit.reportDone(hotplug.geometry.pagesPerBlock, 0, hotplug.geometry.pageSize)
    return returnedBytes
  })
}

async function leave(hotplug: Hotplug, block: number, limit?: Limit): Promise<number> {
  const { blocks } = hotplug
  await transition(hotplug, () => beginRemove(blocks, block), limit) // V2
  try {
    const returnedBytes = await discard(hotplug, block, limit) // V3
    await transition(hotplug, () => finishRemove(blocks, block)) // V4
    return returnedBytes
  } catch (error) {
    if (!isGone(hotplug)) await transition(hotplug, () => undoRemove(blocks, block))
    throw error
  }
}

/** V3. Until all who were inside the guard have left it, the operation can give up. */
async function discard({ requests }: Hotplug, block: number, limit?: Limit): Promise<number> {
  const insider = new Insider()
  for (let isFirst = 1; ; isFirst = 0) {
    const answer = await requests.askAsync({ kind: RequestKind.Discard, args: [block, isFirst] })
    const inside = answer[1]!
    if (inside === -1) return answer[0]! * DISCARD_UNIT
    insider.note(inside)
    limit?.check(() => insider.blockers(blockName(block)))
    await pause(PAUSE_MS)
  }
}
