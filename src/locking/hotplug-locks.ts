/*
 * The locks of a machine, by the kernel's names, in their order, outermost first:
 *
 *     deviceHotplugLock     whole operations on devices: what went offline stays so until the end
 *     cpuAddRemoveLock      whole ups and downs of CPUs
 *     memAddRemoveLock      whole adds, onlines, offlines, removes of memory: the private lock
 *     cpuHotplugLock        which CPUs are online
 *     memHotplugLock        which memory is online
 *
 * A writer of `memHotplugLock` is a reader of `cpuHotplugLock` first (`memHotplugBegin`): whoever
 * waits for CPUs while it changes memory, or the reverse, would wait in a circle with a third.
 */
import type { Words } from '#atomics'
import { type AcquireOptions, acquireWithin, Held } from './acquire.ts'
import { Guard, type GuardForm } from './guard.ts'
import { Lockdep } from './lockdep.ts'
import { Mutex } from './mutex.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import { CACHE_LINE_WORDS, type Slot } from './slots.ts'
import { withLockdep } from './with-lockdep.ts'

const NR_MUTEXES = 3
const NR_RWSEMS = 2

/**
 * A machine's locks, as one thread uses them.
 *
 * The blocking functions belong to the thread, and return whether the last owner died inside; the
 * others belong to an operation, which releases what it holds by its `Held`.
 */
export class HotplugLocks {
  /** The calling thread's own. */
  readonly slot: Slot
  readonly deviceHotplugLock: Mutex
  readonly cpuAddRemoveLock: Mutex
  /** Memory notifiers are asked with it held, so a thread that has any does not block on it. */
  readonly memAddRemoveLock: Mutex
  readonly cpuHotplugLock: PercpuRwsem
  readonly memHotplugLock: PercpuRwsem
  /** Keeps what is looked up from being reused, without a lock. */
  readonly guard: Guard
  /** Null: lockdep is off. */
  readonly lockdep: Lockdep | null

  /** Words of shared memory that the locks need for `nrSlots` slots, zeroed. */
  static words(nrSlots: number): number {
    return guardAt(nrSlots) + Guard.words(nrSlots)
  }

  /**
   * @param slot The calling thread's own; deaths that it reaps are told to the locks.
   * @param words Shared memory, the same in every thread.
   * @param lockdepWords Shared memory of lockdep; null: it is off.
   */
  constructor(slot: Slot, words: Words, lockdepWords: Words | null) {
    this.slot = slot
    this.lockdep = lockdepWords === null ? null : new Lockdep(slot, lockdepWords)
    this.deviceHotplugLock = this.mutex(words, 0, 'deviceHotplugLock')
    this.cpuAddRemoveLock = this.mutex(words, 1, 'cpuAddRemoveLock')
    this.memAddRemoveLock = this.mutex(words, 2, 'memAddRemoveLock')
    this.cpuHotplugLock = this.rwsem(words, 0, 'cpuHotplugLock')
    this.memHotplugLock = this.rwsem(words, 1, 'memHotplugLock')
    // Without lockdep nothing of with-lockdep.ts runs: the checker refuses its WeakMap.
    const guard = new Guard(slot, words, guardAt(slot.slots.nrSlots))
    this.guard = this.lockdep === null ? guard : withLockdep(guard, this.lockdep, 'guard')
  }

  /** Says which form the guard has. Once, before any thread makes its `HotplugLocks`. */
  static chooseGuard(words: Words, nrSlots: number, form: GuardForm): void {
    Guard.choose(words, guardAt(nrSlots), form)
  }

  /** Blocks until no CPU comes or goes. Not recursive. */
  getOnlineCpus(): boolean {
    return this.cpuHotplugLock.downRead()
  }

  /** Ends what `getOnlineCpus` began. */
  putOnlineCpus(): void {
    this.cpuHotplugLock.upRead()
  }

  /** As `getOnlineCpus`, for an operation of an event loop. */
  getOnlineCpusAsync(options?: AcquireOptions): Promise<Held> {
    return this.cpuHotplugLock.downReadAsync(options)
  }

  /** As `getOnlineCpus`, or null at once. */
  tryGetOnlineCpus(): Held | null {
    return this.cpuHotplugLock.tryDownRead()
  }

  /** Blocks until this thread alone may change which CPUs are online. */
  cpuHotplugBegin(): boolean {
    return this.cpuHotplugLock.downWrite()
  }

  /** Ends what `cpuHotplugBegin` began. */
  cpuHotplugDone(): void {
    this.cpuHotplugLock.upWrite()
  }

  /** As `cpuHotplugBegin`, for an operation of an event loop. */
  cpuHotplugBeginAsync(options?: AcquireOptions): Promise<Held> {
    return this.cpuHotplugLock.downWriteAsync(options)
  }

  /** As `cpuHotplugBegin`, or null at once. */
  tryCpuHotplugBegin(): Held | null {
    return this.cpuHotplugLock.tryDownWrite()
  }

  /** Blocks until this thread alone brings CPUs up or down. */
  cpuMapsUpdateBegin(): boolean {
    return this.cpuAddRemoveLock.lock()
  }

  /** Ends what `cpuMapsUpdateBegin` began. */
  cpuMapsUpdateDone(): void {
    this.cpuAddRemoveLock.unlock()
  }

  /** As `cpuMapsUpdateBegin`, for an operation of an event loop. */
  cpuMapsUpdateBeginAsync(options?: AcquireOptions): Promise<Held> {
    return this.cpuAddRemoveLock.lockAsync(options)
  }

  /** As `cpuMapsUpdateBegin`, or null at once. */
  tryCpuMapsUpdateBegin(): Held | null {
    return this.cpuAddRemoveLock.tryLock()
  }

  /** Blocks until no memory comes or goes. Not recursive; after `getOnlineCpus`, if both. */
  getOnlineMems(): boolean {
    return this.memHotplugLock.downRead()
  }

  /** Ends what `getOnlineMems` began. */
  putOnlineMems(): void {
    this.memHotplugLock.upRead()
  }

  /** As `getOnlineMems`, for an operation of an event loop. */
  getOnlineMemsAsync(options?: AcquireOptions): Promise<Held> {
    return this.memHotplugLock.downReadAsync(options)
  }

  /** As `getOnlineMems`, or null at once. */
  tryGetOnlineMems(): Held | null {
    return this.memHotplugLock.tryDownRead()
  }

  /** Blocks until no CPU comes or goes and this thread alone may change which memory is online. */
  memHotplugBegin(): boolean {
    const cpusDied = this.cpuHotplugLock.downRead()
    try {
      return this.memHotplugLock.downWrite() || cpusDied
    } catch (error) {
      this.cpuHotplugLock.upRead()
      throw error
    }
  }

  /** Ends what `memHotplugBegin` began. */
  memHotplugDone(): void {
    this.memHotplugLock.upWrite()
    this.cpuHotplugLock.upRead()
  }

  /** As `memHotplugBegin`, for an operation of an event loop. */
  memHotplugBeginAsync(options: AcquireOptions = {}): Promise<Held> {
    return acquireWithin('write memHotplugLock', options, async limited => {
      const cpus = await this.cpuHotplugLock.downReadAsync(limited)
      try {
        return both(cpus, await this.memHotplugLock.downWriteAsync(limited))
      } catch (error) {
        cpus.release()
        throw error
      }
    })
  }

  /** As `memHotplugBegin`, or null at once. */
  tryMemHotplugBegin(): Held | null {
    const cpus = this.cpuHotplugLock.tryDownRead()
    if (cpus === null) return null
    const mems = this.memHotplugLock.tryDownWrite()
    if (mems !== null) return both(cpus, mems)
    cpus.release()
    return null
  }

  /** Blocks until this thread alone operates on devices. */
  lockDeviceHotplug(): boolean {
    return this.deviceHotplugLock.lock()
  }

  /** Ends what `lockDeviceHotplug` began. */
  unlockDeviceHotplug(): void {
    this.deviceHotplugLock.unlock()
  }

  /** As `lockDeviceHotplug`, for an operation of an event loop. */
  lockDeviceHotplugAsync(options?: AcquireOptions): Promise<Held> {
    return this.deviceHotplugLock.lockAsync(options)
  }

  /** As `lockDeviceHotplug`, or null at once. */
  tryLockDeviceHotplug(): Held | null {
    return this.deviceHotplugLock.tryLock()
  }

  private mutex(words: Words, nth: number, name: string): Mutex {
    const lock = new Mutex(this.slot, words, nth * CACHE_LINE_WORDS, name)
    this.slot.slots.register(lock)
    return this.lockdep === null ? lock : withLockdep(lock, this.lockdep, name)
  }

  private rwsem(words: Words, nth: number, name: string): PercpuRwsem {
    const size = PercpuRwsem.words(this.slot.slots.nrSlots)
    const at = NR_MUTEXES * CACHE_LINE_WORDS + nth * size
    const lock = new PercpuRwsem(this.slot, words, at, name)
    this.slot.slots.register(lock)
    return this.lockdep === null ? lock : withLockdep(lock, this.lockdep, name)
  }
}

function guardAt(nrSlots: number): number {
  return NR_MUTEXES * CACHE_LINE_WORDS + NR_RWSEMS * PercpuRwsem.words(nrSlots)
}

/** Two as one, released inner first. */
function both(outer: Held, inner: Held): Held {
  return new Held(outer.ownerDied || inner.ownerDied, () => {
    inner.release()
    outer.release()
  })
}
