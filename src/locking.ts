/*
 * hotplug/locking: the machine's locks, by the kernel's names, and the locks they are made of for
 * use on anybody's own SharedArrayBuffer.
 */
import { isMainThread } from 'node:worker_threads'
import { installBarrier, load, type Words } from '#atomics'
import { BarrierRequests } from './arch/barrier.ts'
import { type Control, isControl, makeControl, SERVICE_SLOT } from './arch/control.ts'
import { openOracle, type WatchingOracle, watchWorkers } from './arch/oracle.ts'
import { type Arch, archFrom, SERVICE_MODULE, Service, type ServiceData } from './arch/service.ts'
import { HotplugError } from './lib/errors.ts'
import { requireOptions } from './lib/options.ts'
import { HotplugLocks } from './locking/hotplug-locks.ts'
import { wantsLockdep } from './locking/lockdep.ts'
import { generationOfToken, SLOTS_MAX, type Slot, Slots, slotOfToken } from './locking/slots.ts'

export { HotplugError } from './lib/errors.ts'
export { type AcquireOptions, Held } from './locking/acquire.ts'
export { Completion } from './locking/completion.ts'
export { CounterRwsem, type CounterRwsemOptions } from './locking/counter-rwsem.ts'
export { type GracePeriod, Guard, type GuardForm } from './locking/guard.ts'
export { HotplugLocks } from './locking/hotplug-locks.ts'
export { Lockdep, LockdepMap } from './locking/lockdep.ts'
export { Mutex } from './locking/mutex.ts'
export { PercpuRef } from './locking/percpu-ref.ts'
export { PercpuRwsem } from './locking/percpu-rwsem.ts'
export type { Rwsem } from './locking/rwsem.ts'
export { type Recoverable, Slot, Slots, type ThreadOracle } from './locking/slots.ts'
export { assertHeld, nest, type Watchable, withLockdep } from './locking/with-lockdep.ts'

const THREADS_DEFAULT = 64
const OPTIONS: Readonly<Record<keyof LocksOptions, true>> = {
  threads: true,
  arch: true,
  lockdep: true,
}

/** How to boot. */
export interface LocksOptions {
  /** Threads that can be attached at once, main among them; 1 to 1022, 64 if left out. */
  readonly threads?: number | undefined
  /** `portable`: only what every Node has. Else as HOTPLUG_ARCH says, else `auto`. */
  readonly arch?: Arch | undefined
  /** Whether lockdep watches; else as HOTPLUG_LOCKDEP=1 says. */
  readonly lockdep?: boolean | undefined
}

/** How to shut down. */
export interface ShutdownOptions {
  /** Waits no longer than so many milliseconds: more than 0. For ever if left out. */
  readonly deadlineMs?: number | undefined
}

/** A service thread that serves more than locks. */
export interface MoreService extends Pick<ServiceData, 'module' | 'more'> {
  /** Is given what it posts, in the main thread. */
  readonly onNews?: ((news: unknown) => void) | undefined
}

/** What the machine can do, found out at boot. */
export interface Capabilities {
  /** Whether the access guard leaves the fences to whoever waits. */
  readonly asymmetricFence: boolean
  /** Whether any thread can see that another is dead, or only the one that made it. */
  readonly kernelThreadIds: boolean
  /** Why something is missing. */
  readonly reason?: string | undefined
}

/** What a worker needs to attach. Cloneable: pass it in `workerData` or a message. */
export interface LocksHandle {
  readonly control: Control
  readonly arch: Arch
  readonly capabilities: Capabilities
}

/**
 * The locks of one machine, as the calling thread uses them.
 *
 *     await using locks = await Locks.boot()
 *     new Worker(url, { workerData: locks.handle })   // there: Locks.attach(workerData)
 */
export class Locks extends HotplugLocks implements AsyncDisposable {
  /** For `Locks.attach` in other threads. */
  readonly handle: LocksHandle
  private readonly attachment: Attachment
  private readonly service: Service | null
  private readonly barrier: Disposable | null

  /**
   * Makes a machine and attaches the main thread to it.
   *
   * @throws {HotplugError} `EINVAL`: bad options, or one that there is not. `EPERM`: not the main
   *   thread, with which the machine's service thread would die.
   */
  static async boot(options: LocksOptions = {}): Promise<Locks> {
    requireOptions('boot', options, OPTIONS)
    return await Locks.bootWith(options, () => ({ module: SERVICE_MODULE }))
  }

  /**
   * As `boot`, with a service thread that serves more. Part of `Machine.boot`.
   *
   * @param more Which module the service thread runs, and what that is told.
   */
  static async bootWith(
    options: LocksOptions,
    more: (nrSlots: number, stop: Words) => MoreService,
  ): Promise<Locks> {
    const { threads = THREADS_DEFAULT } = options
    if (!Number.isInteger(threads) || threads < 1 || threads >= SLOTS_MAX) {
      throw new HotplugError('EINVAL', 'boot', `threads is ${threads}, not 1 to ${SLOTS_MAX - 1}`)
    }
    if (!isMainThread) throw new HotplugError('EPERM', 'boot', 'this is not the main thread')
    const arch = archFrom(options.arch)
    const control = makeControl(threads + 1, wantsLockdep(options.lockdep))
    const attachment = attach(control, arch)
    const service = await startService({ control, arch, form: null }, attachment, more)
    const { form, reason } = service.report
    const { kernelThreadIds } = attachment
    const capabilities = { asymmetricFence: form === 'asymmetric', kernelThreadIds, reason }
    return new Locks({ control, arch, capabilities }, attachment, service)
  }

  /**
   * Attaches the calling thread, whoever made it, at once.
   *
   * @throws {HotplugError} `ENOSPC`: so many threads are attached already. `ENODEV`: the machine is
   *   shut down. `EINVAL`: it is no such handle.
   */
  static attach(handle: LocksHandle): Locks {
    if (!isControl(handle?.control) || handle.capabilities === undefined) {
      const reason = 'this is no `handle` of a machine, or of its locks'
      throw new HotplugError('EINVAL', 'attach', reason)
    }
    requireOpen(handle.control, 'attach')
    return new Locks(handle, attach(handle.control, handle.arch), null)
  }

  private constructor(handle: LocksHandle, attachment: Attachment, service: Service | null) {
    super(attachment.slot, handle.control.locks, handle.control.lockdep)
    this.handle = handle
    this.attachment = attachment
    this.service = service
    this.barrier = handle.capabilities.asymmetricFence ? this.openBarrier() : null
  }

  /** What the service thread's module has reported; undefined in other threads than main. */
  get serviceReport(): unknown {
    return this.service?.report.more
  }

  /** Starts another service thread if it has died. Part of `Machine`. */
  reviveService(): void {
    this.service?.revive()
  }

  /** What the machine can do. */
  get capabilities(): Capabilities {
    return this.handle.capabilities
  }

  /**
   * A hint: the thread whose `slot.token` this was runs no more JavaScript (its port has closed, it
   * has ended). What it held is released now; otherwise that happens some 50 ms later.
   *
   * @throws {HotplugError} `EINVAL`: no thread of this machine can have had that token.
   */
  closed(token: number): void {
    const isToken = Number.isInteger(token) && token > 0
    if (!isToken || slotOfToken(token) < 0 || slotOfToken(token) >= this.slot.slots.nrSlots) {
      throw new HotplugError('EINVAL', 'closed', `${token} is no thread's token`)
    }
    this.slot.slots.close(slotOfToken(token), generationOfToken(token))
  }

  /**
   * Detaches the calling thread: what it holds is released as if it had died.
   *
   * @throws {HotplugError} `EINVAL`: it is detached.
   */
  detach(): void {
    this.slot.detach()
    this.attachment.watch[Symbol.dispose]()
    this.barrier?.[Symbol.dispose]()
  }

  /**
   * Detaches; in the main thread, ends the machine, and waits until the service thread has ended.
   * More than once is no error.
   *
   * @throws {HotplugError} `ETIMEDOUT`: it had not when the deadline passed; that goes on.
   *   `EINVAL`: a deadline that is not above 0; nothing was done.
   */
  async shutdown({ deadlineMs }: ShutdownOptions = {}): Promise<void> {
    if (deadlineMs !== undefined && !(deadlineMs > 0)) {
      throw new HotplugError('EINVAL', 'shut down', `deadlineMs is ${deadlineMs}, not more than 0`)
    }
    if (this.slot.token !== 0) this.detach()
    await this.service?.stop(deadlineMs)
  }

  /** As `shutdown`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  private openBarrier(): Disposable {
    const requests = new BarrierRequests(this.handle.control.barrier, 0)
    const look = (): void => {
      requireOpen(this.handle.control, 'wait for a barrier')
      this.service?.revive()
    }
    return openBarrier(() => requests.request(this.slot.slots, look))
  }
}

/** A thread's slot, and its eyes for the end of the workers that it makes. */
interface Attachment {
  readonly slot: Slot
  readonly oracle: WatchingOracle
  readonly kernelThreadIds: boolean
  readonly watch: Disposable
}

function attach(control: Control, arch: Arch): Attachment {
  const { oracle, isKernels } = openOracle(arch, control.family)
  const slots = new Slots(control.slots)
  const slot = slots.attach(oracle, SERVICE_SLOT + 1)
  slot.assertOpen = operation => requireOpen(control, operation)
  const watch = watchWorkers(oracle, () => {
    for (let i = 0; i < slots.nrSlots; i++) slots.reap(i, oracle)
  })
  return { slot, oracle, kernelThreadIds: isKernels, watch }
}

function requireOpen({ stop }: Control, operation: string): void {
  if (load(stop, 0) === 0) return
  throw new HotplugError('ENODEV', operation, 'the machine is shut down')
}

async function startService(
  data: Pick<ServiceData, 'control' | 'arch' | 'form'>,
  { slot, oracle, watch }: Attachment,
  more: (nrSlots: number, stop: Words) => MoreService,
): Promise<Service> {
  try {
    const { onNews, ...rest } = more(slot.slots.nrSlots, data.control.stop)
    return await Service.start({ ...data, ...rest }, oracle, onNews)
  } catch (error) {
    watch[Symbol.dispose]()
    throw error
  }
}

/** Barriers of the machines that this thread is attached to; any of them serves all. */
const barriers: (() => void)[] = []

function openBarrier(run: () => void): Disposable {
  const install = (): void => {
    installBarrier(() => {
      const last = barriers.at(-1)
      if (last === undefined) throw new HotplugError('EINVAL', 'barrier', 'no machine is attached')
      last()
    })
  }
  barriers.push(run)
  install()
  return { [Symbol.dispose]: () => void barriers.splice(barriers.indexOf(run), 1) }
}
