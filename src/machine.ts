/*
 * A machine: memory that arrives and leaves under load, and what is built on it, for all threads of
 * the process.
 *
 *     main     boot: reserves, starts the service thread, brings the first memory online
 *     others   attach: a slot, at once, whoever made the thread
 */
import type { Arch } from './arch/service.ts'
import type { CollectionsContext } from './collections/layout.ts'
import { type MapOptions, SharedMap } from './collections/shared-map.ts'
import { HotplugError } from './lib/errors.ts'
import { requireOptions } from './lib/options.ts'
import { bytesOf, type Size, sizeText } from './lib/units.ts'
import { Locks, type LocksHandle, type ShutdownOptions } from './locking.ts'
import { addMemory } from './mm/add-remove.ts'
import { geometryOf } from './mm/geometry.ts'
import { exclusively, type Hotplug } from './mm/hotplug.ts'
import { Memory } from './mm/memory.ts'
import { outsideNotifiers } from './mm/notifiers.ts'
import { type AutoOnline, onlineBlock, requireAutoOnline } from './mm/online.ts'
import { Limit } from './mm/operation.ts'
import { PageAllocator } from './mm/page-allocator.ts'
import type { PinRecord } from './mm/pins.ts'
import { type RawMemory, takeRaw } from './mm/raw.ts'
import {
  type MachineMemory,
  openCollections,
  openHotplug,
  reserveMachineMemory,
} from './service/machine-memory.ts'
import { Room } from './service/room.ts'

const MEMORY_DEFAULT = '256MiB'
const MAX_MEMORY_DEFAULT = '4GiB'
const BLOCK_SIZE_DEFAULT = '64MiB'
const PAGE_SIZE_DEFAULT = '16KiB'
const SERVICE_MODULE = new URL('./service/machine-thread.js', import.meta.url).href

/** How to boot a machine. What is no option, or not yet, is refused. */
export interface BootOptions {
  /** What is online at first, rounded up to whole blocks; 256 MiB if left out. */
  readonly memory?: Size | undefined
  /** What it can ever have, and what is reserved; 4 GiB, or `memory`, if left out. */
  readonly maxMemory?: Size | undefined
  /** Unit that comes and goes: a power of two from 4 MiB to 1 GiB; 64 MiB if left out. */
  readonly blockSize?: Size | undefined
  /** Unit that moves: a power of two from 4 KiB to 64 KiB; 16 KiB if left out. */
  readonly pageSize?: Size | undefined
  /** What becomes of memory that is added; `online_movable` if left out. */
  readonly autoOnline?: AutoOnline | undefined
  /** Threads that can be attached at once, main among them; 64 if left out. */
  readonly threads?: number | undefined
  /** `portable`: only what every Node has. Else as HOTPLUG_ARCH says, else `auto`. */
  readonly arch?: Arch | undefined
  /** Whether lockdep watches; else as HOTPLUG_LOCKDEP=1 says. */
  readonly lockdep?: boolean | undefined
}

const BOOT_OPTIONS: Readonly<Record<keyof BootOptions, true>> = {
  memory: true,
  maxMemory: true,
  blockSize: true,
  pageSize: true,
  autoOnline: true,
  threads: true,
  arch: true,
  lockdep: true,
}

/** What a machine can do, found out at boot. */
export interface Capabilities {
  /** Whether memory that leaves goes back to the system; if not, it is zeroed, and RSS stays. */
  readonly discard: boolean
  /** Whether memory can be that of a file. Not yet. */
  readonly mapFile: boolean
  /** Whether the access guard leaves the fences to whoever waits. */
  readonly asymmetricFence: boolean
  /** Whether any thread can see that another is dead, or only the one that made it. */
  readonly kernelThreadIds: boolean
  /** Why something is missing. */
  readonly reason?: string | undefined
}

/** What a thread needs to attach. Cloneable: pass it in `workerData` or a message. */
export interface MachineHandle {
  readonly locks: LocksHandle
  readonly memory: MachineMemory
  readonly autoOnline: AutoOnline
  readonly capabilities: Capabilities
}

/**
 * A machine, as the calling thread uses it.
 *
 *     await using machine = await Machine.boot({ memory: '1GiB' })
 *     new Worker(url, { workerData: machine.handle })   // there: Machine.attach(workerData)
 *
 * Once it is shut down, every call throws `ENODEV`, in all threads, as do those of its memory and
 * its maps. But its locks, in threads that are attached still, exclude these from each other.
 */
export class Machine implements AsyncDisposable {
  /** For `Machine.attach` in other threads. */
  readonly handle: MachineHandle
  /** Memory that comes and goes. */
  readonly memory: Memory
  /** The machine's locks, by the kernel's names. */
  readonly locks: Locks
  private readonly hotplug: Hotplug
  private readonly allocator: PageAllocator
  private readonly collections: CollectionsContext

  /**
   * Makes a machine, and attaches the main thread to it.
   *
   * @throws {HotplugError} `EINVAL`: bad options, or one that there is not. `ENOMEM`: so much
   *   cannot be reserved, or brought online. `EPERM`: not the main thread. Nothing is left behind.
   */
  static async boot(options: BootOptions = {}): Promise<Machine> {
    requireOptions('boot', options, BOOT_OPTIONS)
    const { threads, arch, lockdep } = options
    const autoOnline = requireAutoOnline('boot', options.autoOnline ?? 'online_movable')
    const { geometry, nrBlocks } = sizesOf(options)
    let memory: MachineMemory | null = null
    let machine: Machine | null = null
    const locks = await Locks.bootWith({ threads, arch, lockdep }, (nrSlots, stop) => {
      memory = reserveMachineMemory(geometry, nrSlots, stop)
      return { module: SERVICE_MODULE, more: memory, onNews: () => void machine?.tellOwed() }
    })
    const capabilities = capabilitiesOf(locks)
    machine = new Machine({ locks: locks.handle, memory: memory!, autoOnline, capabilities }, locks)
    try {
      await machine.bringUp(nrBlocks)
      return machine
    } catch (error) {
      await machine.shutdown()
      throw error
    }
  }

  /**
   * Attaches the calling thread, whoever made it, at once.
   *
   * @throws {HotplugError} `ENOSPC`: so many threads are attached already. `ENODEV`: the machine is
   *   shut down. `EINVAL`: it is no such handle.
   */
  static attach(handle: MachineHandle): Machine {
    if (handle?.memory === undefined) {
      throw new HotplugError('EINVAL', 'attach', 'this is no `handle` of a machine')
    }
    return new Machine(handle, Locks.attach(handle.locks))
  }

  private constructor(handle: MachineHandle, locks: Locks) {
    this.handle = handle
    this.locks = locks
    const { memory, autoOnline } = handle
    const parts = openHotplug(memory, locks)
    const { zones } = (this.allocator = new PageAllocator(
      locks.slot,
      memory.control,
      parts.space,
      locks.guard,
    ))
    this.hotplug = { ...parts, zones }
    this.memory = new Memory(this.hotplug, autoOnline)
    const { blocks, space } = this.hotplug
    const assertOpen = (): void => this.hotplug.requests.assertServed('use a map')
    const look = (): void => {
      assertOpen()
      locks.reviveService()
    }
    const room = new Room(locks.slot, blocks, this.allocator, look)
    this.collections = openCollections(
      memory,
      locks,
      { source: room, space },
      { onNoRoom: () => room.make(), assertOpen, onWait: look },
    )
  }

  /** What the machine can do. */
  get capabilities(): Capabilities {
    return this.handle.capabilities
  }

  /**
   * Takes raw memory, zeroed: it never moves, so its block cannot go offline until it is released.
   * Of zone Normal: memory that is online as `online_movable` has no room for it.
   *
   * @throws {HotplugError} `EINVAL`: a size or owner that cannot be. `ENOMEM`: no room side by
   *   side. `ENOSPC`: too many are held. `ENODEV`: the machine is shut down.
   */
  buffer(size: Size, { owner }: { readonly owner: string }): RawMemory {
    this.hotplug.requests.assertServed('take raw memory')
    const bytes = bytesOf(size, 'take raw memory', 'its size')
    return takeRaw(this.parts(), bytes, owner)
  }

  /**
   * The map of that name, shared by all threads; there is an empty one at first.
   *
   * @throws {HotplugError} `EINVAL`: a bad name or codec, or the map has another codec. `ENOSPC`:
   *   there are too many maps. `ENODEV`: the machine is shut down.
   */
  map<V>(name: string, options: MapOptions<V>): SharedMap<V> {
    this.hotplug.requests.assertServed('open a map')
    this.locks.slot.assertAttached('open a map')
    return new SharedMap<V>(this.collections, name, options)
  }

  /** Who holds memory that cannot move. */
  pins(): PinRecord[] {
    this.hotplug.requests.assertServed('look at pins')
    return this.hotplug.pins.all()
  }

  /**
   * Detaches the calling thread. In the main thread, ends the machine: all its memory goes back to
   * the system, whoever still has a view of it. More than once is no error.
   *
   * What waits: main, for the service thread. It ends the piece of work that it has in hand, waits
   * until every thread has left the call that it is in the middle of (microseconds, but for a
   * thread that is held there, as by a debugger), and gives the memory back. Other threads do not
   * wait. Past the deadline the machine is shut down all the same, for every call of every thread;
   * its memory goes when it can, which does not keep the process alive, and can be waited for by
   * another `shutdown`.
   *
   * @throws {HotplugError} `ETIMEDOUT`: not all memory had gone when the deadline passed. `EINVAL`:
   *   a deadline that is not above 0; nothing was done.
   */
  async shutdown(options?: ShutdownOptions): Promise<void> {
    await this.locks.shutdown(options)
  }

  /** As `shutdown`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  private parts() {
    const { hotplug, allocator, handle } = this
    const { pins, space: frames, requests } = hotplug
    const assertOpen = (operation: string): void => requests.assertServed(operation)
    return { control: handle.memory.control, frames, allocator, pins, assertOpen }
  }

  private async bringUp(nrBlocks: number): Promise<void> {
    const { blockSize } = this.hotplug.geometry
    const added = await addMemory(this.hotplug, nrBlocks * blockSize)
    for (const [i, block] of added.entries()) {
      await onlineBlock(this.hotplug, block, i === 0 ? 'online_kernel' : 'online_movable')
    }
    await this.memory.resize(nrBlocks * blockSize)
  }

  /**
   * Has notifiers told what an operator that died still owed them, as any operation does first. For
   * the service thread, which may have been started by a notifier's call.
   */
  private async tellOwed(): Promise<void> {
    const limit = new Limit('tell of a dead operator')
    const told = outsideNotifiers(() => exclusively(this.hotplug, limit, async () => {}))
    await told.catch((error: unknown) => {
      if (this.locks.slot.token !== 0) throw error
    })
  }
}

function sizesOf(options: BootOptions) {
  const { memory = MEMORY_DEFAULT, maxMemory = MAX_MEMORY_DEFAULT } = options
  const { blockSize = BLOCK_SIZE_DEFAULT, pageSize = PAGE_SIZE_DEFAULT } = options
  const block = bytesOf(blockSize, 'boot', 'blockSize')
  const page = bytesOf(pageSize, 'boot', 'pageSize')
  const nrBlocks = Math.max(1, Math.ceil(bytesOf(memory, 'boot', 'memory') / block))
  const max = bytesOf(maxMemory, 'boot', 'maxMemory')
  const isDefault = options.maxMemory === undefined
  const reserved = isDefault ? Math.max(Math.floor(max / block), nrBlocks) * block : max
  const geometry = geometryOf({ pageSize: page, blockSize: block, maxMemory: reserved })
  if (nrBlocks > geometry.nrBlocks) {
    const reason = `memory ${sizeText(nrBlocks * block)} is more than maxMemory ${sizeText(max)}`
    throw new HotplugError('EINVAL', 'boot', reason)
  }
  return { geometry, nrBlocks }
}

function capabilitiesOf(locks: Locks): Capabilities {
  const { asymmetricFence, kernelThreadIds, reason } = locks.capabilities
  const report = locks.serviceReport as { discards: boolean; reason: string | undefined }
  return {
    discard: report.discards,
    mapFile: false,
    asymmetricFence,
    kernelThreadIds,
    reason: reason ?? report.reason,
  }
}
