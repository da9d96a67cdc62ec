/*
 * The memory of one machine, as the public sees it: sizes as numbers or strings in, bytes and plain
 * objects out.
 */
import { load } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { bytesOf, type Size } from '../lib/units.ts'
import { type AddLimits, addMemory, removeBlock } from './add-remove.ts'
import type { BlockStateName, ZoneName } from './blocks.ts'
import { REQUESTED_BLOCKS } from './geometry.ts'
import { blockName, type Hotplug, requireBlock } from './hotplug.ts'
import { nrManagedPages } from './memmap.ts'
import type { MemoryNotifier, NotifyOptions } from './notifiers.ts'
import { type OfflineReport, offlineBlock } from './offline.ts'
import { type AutoOnline, type OnlineType, onlineBlock, requireAutoOnline } from './online.ts'
import { Limit, type OperationOptions } from './operation.ts'
import { type ResizeReport, resizeMemory } from './resize.ts'

/** A memory block. */
export interface BlockInfo {
  readonly block: number
  /** `memory12`. */
  readonly name: string
  readonly state: BlockStateName
  /** Null while it is not online. */
  readonly zone: ZoneName | null
  readonly bytes: number
  /** What somebody has of it, without the records of its pages. */
  readonly usedBytes: number
  /** How often it was added: a block that left and came back is another. */
  readonly epoch: number
}

/** How to add memory. */
export interface AddOptions extends AddLimits {
  /** What becomes of it; the machine's policy if left out. */
  readonly autoOnline?: AutoOnline | undefined
}

/**
 * A machine's memory, for any thread.
 *
 * Once the machine is shut down, every call throws `ENODEV`, and so do the sizes that change.
 */
export class Memory {
  private readonly hotplug: Hotplug
  private readonly policy: AutoOnline

  /** @param policy What becomes of memory that is added. */
  constructor(hotplug: Hotplug, policy: AutoOnline) {
    this.hotplug = hotplug
    this.policy = policy
  }

  /** What boot or the last resize asked for. */
  get requestedBytes(): number {
    this.assertOpen()
    const { blocks, geometry } = this.hotplug
    return load(blocks.control.events, REQUESTED_BLOCKS) * geometry.blockSize
  }

  /** Blocks that are online. */
  get onlineBytes(): number {
    this.assertOpen()
    const { blocks, geometry } = this.hotplug
    return blocks.online().length * geometry.blockSize
  }

  /** What somebody has of them, the records of their pages included. */
  get usedBytes(): number {
    return this.blocks().reduce(
      (sum, { zone, usedBytes }) => (zone === null ? sum : sum + usedBytes + this.memmapBytes()),
      0,
    )
  }

  /** Bytes of a block. */
  get blockSize(): number {
    return this.hotplug.geometry.blockSize
  }

  /** Bytes of a page. */
  get pageSize(): number {
    return this.hotplug.geometry.pageSize
  }

  /** What the machine can have at most. */
  get maxBytes(): number {
    return this.hotplug.geometry.maxMemory
  }

  /** The blocks that are there, lowest first; each as it is at the moment. Takes no lock. */
  blocks(): BlockInfo[] {
    this.assertOpen()
    const found: BlockInfo[] = []
    const high = this.hotplug.blocks.high()
    for (let block = 0; block < high; block++) {
      const info = this.info(block)
      if (info !== null) found.push(info)
    }
    return found
  }

  /**
   * The blocks that are there, all as they are at one moment: with `memHotplugLock` held for
   * reading, for as long as the walk takes. Blocks the thread while memory comes or goes. What an
   * operator left that died is as it left it, until that is undone.
   *
   * @throws {HotplugError} `EDEADLK`: this thread waits for that lock, or has it.
   */
  walkBlocks(): BlockInfo[] {
    const { locks, blocks } = this.hotplug
    this.assertOpen()
    locks.getOnlineMems()
    try {
      const isLeft = blocks.isLeft(locks.slot.slots)
      if (!isLeft) blocks.assertWhole()
      return this.blocks()
    } finally {
      locks.putOnlineMems()
    }
  }

  /**
   * Adds memory, and brings it online as the policy says; where that fails, or is aborted, or the
   * time is up, it stays offline.
   *
   * @param size A multiple of `blockSize`.
   * @returns The new blocks.
   * @throws {HotplugError} As `addMemory`: `EINVAL`, `EEXIST`, `ENOMEM`, `EDEADLK`, `ETIMEDOUT`.
   *   Nothing was added; but by `EBUSY`, whose `blockedBy` says what stays, and `cause` why.
   */
  async add(size: Size, options: AddOptions = {}): Promise<BlockInfo[]> {
    const bytes = bytesOf(size, 'add memory', 'its size')
    const type = requireAutoOnline('add memory', options.autoOnline ?? this.policy)
    const limit = new Limit('add memory', options)
    const added = await addMemory(this.hotplug, bytes, options)
    for (const block of type === 'offline' ? [] : added) {
      const { signal, deadlineMs } = limit.rest()
      const online = onlineBlock(this.hotplug, block, type as OnlineType, { signal, deadlineMs })
      await online.catch(error => ignoreRefusal(error, limit))
    }
    return added.map(block => this.info(block)).filter(info => info !== null)
  }

  /**
   * Brings a block online.
   *
   * @param type `online`: what fits; `online_kernel`: for what cannot move as well;
   *   `online_movable`: only for what can, so that it can always be emptied.
   * @throws {HotplugError} As `onlineBlock`: `EINVAL` (also if it is online already), `ENODEV`, a
   *   veto, `EDEADLK`, `ETIMEDOUT`.
   */
  async online(
    block: number,
    type: OnlineType = 'online',
    options?: OperationOptions,
  ): Promise<void> {
    await onlineBlock(this.hotplug, block, type, options)
  }

  /**
   * Empties a block while it is in use, and takes it offline.
   *
   * @throws {HotplugError} As `offlineBlock`: `EINVAL` (also if it is offline already), `ENODEV`,
   *   `EBUSY` and `ETIMEDOUT` with `blockedBy`, `ENOMEM`, a veto, `EDEADLK`. It stays online.
   */
  async offline(block: number, options?: OperationOptions): Promise<OfflineReport> {
    return await offlineBlock(this.hotplug, block, options)
  }

  /**
   * Gives the memory of a block that is offline back to the system.
   *
   * @throws {HotplugError} As `removeBlock`: `EINVAL`, `ENODEV`, `EBUSY`, `EDEADLK`, `ETIMEDOUT`.
   */
  async remove(block: number, options?: OperationOptions): Promise<{ returnedBytes: number }> {
    return { returnedBytes: await removeBlock(this.hotplug, block, options) }
  }

  /**
   * Asks for a size; adds, or empties and removes, whole blocks; says what was reached, and what
   * stands in the way of the rest.
   *
   * @throws {HotplugError} As `resizeMemory`: `EINVAL`, `EDEADLK`. The signal's reason if aborted.
   */
  async resize(size: Size, options?: OperationOptions): Promise<ResizeReport> {
    const bytes = bytesOf(size, 'resize memory', 'its size')
    const type = this.policy === 'offline' ? 'online_movable' : this.policy
    return await resizeMemory(this.hotplug, bytes, type, options)
  }

  /**
   * From now on `listener` is told, in this thread, of memory that comes and goes; what it throws
   * before that happens is a veto. As long as it is told, this thread may not block on
   * `memAddRemoveLock`, with which it is asked: `lock()` is EDEADLK where it would wait.
   *
   * @throws {HotplugError} `ENOSPC`: too many are told already. `EINVAL`: a bad priority.
   */
  notify(listener: MemoryNotifier, options?: NotifyOptions): Disposable {
    this.hotplug.requests.assertServed('register a memory notifier')
    return this.hotplug.notifiers.register(listener, options)
  }

  /**
   * One block.
   *
   * @throws {HotplugError} `EINVAL`: not a block of this machine. `ENODEV`: it is not there.
   */
  block(block: number): BlockInfo {
    const operation = `look at ${blockName(block)}`
    this.hotplug.requests.assertServed(operation)
    requireBlock(this.hotplug, operation, block)
    const info = this.info(block)
    if (info !== null) return info
    throw new HotplugError('ENODEV', operation, 'it has just left')
  }

  private assertOpen(): void {
    this.hotplug.requests.assertServed('look at memory')
  }

  private info(block: number): BlockInfo | null {
    const { blocks, geometry } = this.hotplug
    const state = blocks.stateName(block)
    if (state === 'absent') return null
    const zone = blocks.zone(block)
    const usedPages = zone === null ? 0 : Math.max(0, blocks.usedPages(block))
    const usedBytes = Math.min(usedPages, nrManagedPages(geometry)) * geometry.pageSize
    const name = blockName(block)
    const epoch = blocks.epoch(block)
    return { block, name, state, zone, bytes: geometry.blockSize, usedBytes, epoch }
  }

  private memmapBytes(): number {
    const { memmapPages, pageSize } = this.hotplug.geometry
    return memmapPages * pageSize
  }
}

/** Memory that was added and does not go online stays as it is, offline. */
function ignoreRefusal(error: unknown, limit: Limit): void {
  if (!(error instanceof HotplugError) && !limit.isAborted()) throw error
}
