/*
 * The memory hotplug lock of the 2014-2017 kernels: one count of readers, one active writer.
 *
 *     ACTIVE_WRITER     who begins or is inside; nobody
 *     REFCOUNT          readers inside, guarded by LOCK
 *     LOCK              mutex; the running writer keeps it
 *     ADD_REMOVE_LOCK   mutex around a whole write: the private lock of the 2017 fix
 *     STATE[i]          a task runs, or sleeps until it is woken
 *     HOLDS[i]          generation << 13 | reads of slot i, so that REFCOUNT can be counted again
 *
 *     downRead, get_online_mems              downWrite, mem_hotplug_begin
 *     G1  ACTIVE_WRITER is me: done          B0  lock ADD_REMOVE_LOCK
 *     G2  lock LOCK                          B1  ACTIVE_WRITER = me
 *     G3  REFCOUNT + 1                       B2  lock LOCK
 *     G4  unlock LOCK                        B3  REFCOUNT is 0: inside, with LOCK
 *                                            B4  STATE = uninterruptible
 *     upRead, put_online_mems                B5  unlock LOCK
 *     P1  ACTIVE_WRITER is me: done          B6  sleep while STATE says so; B2 again
 *     P2  lock LOCK
 *     P3  REFCOUNT is 0: warn, repair        upWrite, mem_hotplug_done
 *     P4  REFCOUNT - 1; 0 now, and a         D1  ACTIVE_WRITER = nobody
 *         writer is active: wake it          D2  unlock LOCK
 *     P5  unlock LOCK                        D3  unlock ADD_REMOVE_LOCK
 *
 * Readers may nest, and the writer may read; new readers get in while a writer waits (B5), so they
 * can starve it.
 *
 * The race. B1 is done before anything excludes another writer. Without ADD_REMOVE_LOCK, two that
 * begin overwrite each other in ACTIVE_WRITER: P4 wakes the second and the first sleeps for ever;
 * D1 of the first erases the second; G1 and P1 take a writer for a reader, which then waits for
 * its own LOCK. With it, from B0 to D3 ACTIVE_WRITER is one writer's.
 *
 * Deaths, with the private lock: a dead writer leaves both mutexes to the next to come, and its
 * name in ACTIVE_WRITER, where B1 finds it; SICK goes with the name until a writer has left. A
 * dead reader leaves REFCOUNT too high, never too low: B4 counts again who lives. It sets STATE
 * before it counts, so that `recover()` finds it asleep, or it finds the reader dead. Without the
 * private lock all is as it was in the kernel, sleep for ever included.
 *
 * Checked by counter-rwsem.check.ts.
 */
import { add, compareExchange, load, notify, store, sub, type Words, wait } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, Held, Turnstile } from './acquire.ts'
import { Mutex } from './mutex.ts'
import type { Rwsem } from './rwsem.ts'
import { HEARTBEAT_MS, type Recoverable, type Slot, slotOfToken, tokenOf } from './slots.ts'
import { requireWords } from './words.ts'

const ACTIVE_WRITER = 0
const REFCOUNT = 1
const LOCK = 2
const ADD_REMOVE_LOCK = 3
const TASKS = 4

const HOLDS = 1
const TASK_WORDS = 2

const RUNNING = 0
const UNINTERRUPTIBLE = 1

/** In ACTIVE_WRITER, beside the token: a writer died inside, and none has repaired it yet. */
const SICK = 1 << 30

const HOLDS_BITS = 13
const HOLDS_MASK = (1 << HOLDS_BITS) - 1

/** How a counter rwsem is made. */
export interface CounterRwsemOptions {
  /** Whether writers exclude each other before they begin. False: as before the fix of 2017. */
  readonly privateMutex: boolean
  /** What errors call it. */
  readonly name?: string
}

/**
 * The counter form of the memory hotplug lock. Recursive for readers; unfair to writers.
 *
 * A thread uses one `CounterRwsem` for a lock, and makes it with its own slot.
 */
export class CounterRwsem implements Rwsem, Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  /** How often `upRead` found a count of 0 and repaired it: the kernel's WARN_ON. */
  nrWarnings = 0
  private readonly name: string
  private readonly lock: Mutex
  private readonly addRemoveLock: Mutex | null
  /** Index of this thread's STATE. */
  readonly taskState: number
  private readonly turnstile = new Turnstile()
  /** Reads of this thread, its operations' included. */
  private holds = 0
  private operations = 0
  /** Who of this thread writes: the thread itself, or an operation. */
  private writer: 'thread' | Held | null = null
  /** Whether the writer of this thread comes after one that died inside. */
  private sick = false

  /** Words of shared memory that the lock needs for `nrSlots` slots, zeroed. */
  static words(nrSlots: number): number {
    return TASKS + nrSlots * TASK_WORDS
  }

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; the slot is
   *   detached.
   */
  constructor(slot: Slot, words: Words, index: number, options: CounterRwsemOptions) {
    const { privateMutex, name = 'counter rwsem' } = options
    requireWords(name, words, index, CounterRwsem.words(slot.slots.nrSlots))
    slot.assertAttached(`make ${name}`)
    this.slot = slot
    this.words = words
    this.index = index
    this.name = name
    this.lock = new Mutex(slot, words, index + LOCK, `${name}'s lock`)
    this.addRemoveLock = privateMutex
      ? new Mutex(slot, words, index + ADD_REMOVE_LOCK, `${name}'s private lock`)
      : null
    this.taskState = index + TASKS + slot.index * TASK_WORDS
  }

  /**
   * `get_online_mems`: blocks until this thread may read. For the writer itself it does nothing.
   *
   * @returns Whether the last writer died inside: what the lock protects may be half changed.
   * @throws {HotplugError} `EDEADLK`: it would wait for an operation of this thread; without the
   *   private mutex, also for the thread itself, which the kernel let happen. `EAGAIN`: it reads
   *   too often at once. `EINVAL`: the slot is detached.
   */
  downRead(): boolean {
    const operation = `read ${this.name}`
    this.slot.assertAttached(operation)
    if (this.isWriter()) return false // G1
    this.refuseToWaitForOperations(operation)
    this.lock.lock() // G2
    return this.get()
  }

  /**
   * `put_online_mems`: ends what `downRead` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not read, or, without the private mutex,
   *   nothing but a warning. `EINVAL`: the slot is detached. Nothing has changed.
   */
  upRead(): void {
    this.slot.assertAttached(`stop reading ${this.name}`)
    if (this.isWriter()) return // P1
    if (this.addRemoveLock !== null && this.holds <= this.operations) this.refuseUp('read')
    this.put()
  }

  /**
   * `mem_hotplug_begin`: blocks until this thread alone may write.
   *
   * @returns Whether the last writer died inside: what the lock protects may be half changed.
   * @throws {HotplugError} `EDEADLK`: this thread, or an operation of it, reads, writes or waits.
   *   `EINVAL`: the slot is detached.
   */
  downWrite(): boolean {
    const operation = `write ${this.name}`
    this.slot.assertAttached(operation)
    this.refuseToWaitForMyself(operation)
    this.addRemoveLock?.lock() // B0
    this.announce()
    for (;;) {
      this.lock.lock() // B2
      if (this.hasNoReaders()) break
      this.lock.unlock() // B5
      this.schedule()
    }
    this.writer = 'thread'
    return this.sick
  }

  /**
   * `mem_hotplug_done`: ends what `downWrite` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not write. `EINVAL`: the slot is
   *   detached. Nothing has changed.
   */
  upWrite(): void {
    this.slot.assertAttached(`stop writing ${this.name}`)
    if (this.writer !== 'thread') this.refuseUp('write')
    this.done()
  }

  /** As `downRead`, for a `using` block. */
  acquireRead(): Held {
    const ownerDied = this.downRead()
    return new Held(ownerDied, () => this.upRead())
  }

  /** As `downWrite`, for a `using` block. */
  acquireWrite(): Held {
    const ownerDied = this.downWrite()
    return new Held(ownerDied, () => this.upWrite())
  }

  /**
   * Reads unless LOCK is taken, by a writer inside or for a moment; never waits.
   *
   * @throws {HotplugError} `EAGAIN`, `EINVAL`: as `downRead`.
   */
  tryDownRead(): Held | null {
    this.slot.assertAttached(`read ${this.name}`)
    return this.lock.step() ? this.heldRead(this.get()) : null
  }

  /**
   * Writes unless somebody reads or writes; never waits.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  tryDownWrite(): Held | null {
    this.slot.assertAttached(`write ${this.name}`)
    const attempt = this.beginning()
    if (attempt.step()) return this.heldWrite()
    attempt.cancel()
    return null
  }

  /**
   * Waits to read without blocking the thread.
   *
   * @throws {HotplugError} `ETIMEDOUT`: not granted in time. `EINVAL`: the timeout is not above 0,
   *   or the slot is detached. `EAGAIN`: as `downRead`. The signal's reason if it was aborted
   *   before.
   */
  async downReadAsync(options: AcquireOptions = {}): Promise<Held> {
    const operation = `read ${this.name}`
    this.slot.assertAttached(operation)
    const granted = (): Held => this.heldRead(this.get())
    return this.turnstile.acquire(operation, () => this.lock, granted, options)
  }

  /**
   * Waits to write without blocking the thread.
   *
   * @throws {HotplugError} `ETIMEDOUT`, `EINVAL`: as `downReadAsync`. The signal's reason if it was
   *   aborted before.
   */
  async downWriteAsync(options: AcquireOptions = {}): Promise<Held> {
    const operation = `write ${this.name}`
    this.slot.assertAttached(operation)
    const granted = (): Held => this.heldWrite()
    return this.turnstile.acquire(operation, () => this.beginning(), granted, options)
  }

  /** Whether this thread, or an operation of it, reads. */
  isReadHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return this.holds > 0
  }

  /** Whether this thread, or an operation of it, writes. */
  isWriteHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return this.writer !== null
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    this.lock.recover(token)
    if (this.addRemoveLock === null) return
    this.addRemoveLock.recover(token)
    const active = load(this.words, this.index + ACTIVE_WRITER)
    this.wake(active)
  }

  /** `downWrite` in steps, `heldWrite` once the last is done. Part of the async form. */
  beginning(): Acquisition {
    return new Beginning(this, this.lock, this.addRemoveLock)
  }

  /** What an operation holds that has just begun. Part of the async form. */
  heldWrite(): Held {
    this.writer = new Held(this.sick, () => {
      this.slot.assertAttached(`stop writing ${this.name}`)
      this.done()
    })
    return this.writer
  }

  /** B1. Part of `beginning`, as the next two. */
  announce(): void {
    const at = this.index + ACTIVE_WRITER
    let active = this.slot.token
    if (this.addRemoveLock !== null) {
      const last = load(this.words, at) // of a writer that did not reach D1
      this.sick = last !== 0
      if (this.sick) active |= SICK
    }
    store(this.words, at, active) // B1
  }

  /** Takes B1 and B4 back. */
  retract(): void {
    const active = this.slot.token | (this.sick ? SICK : 0)
    compareExchange(this.words, this.index + ACTIVE_WRITER, active, this.sick ? SICK : 0)
    store(this.words, this.taskState, RUNNING)
  }

  /** B3, B4. Call with LOCK held. */
  hasNoReaders(): boolean {
    if (load(this.words, this.index + REFCOUNT) === 0) return true // B3
    store(this.words, this.taskState, UNINTERRUPTIBLE) // B4
    if (this.addRemoveLock === null || this.recount() > 0) return false
    store(this.words, this.taskState, RUNNING)
    return true
  }

  private schedule(): void {
    const at = this.taskState
    if (this.addRemoveLock === null)
      wait(this.words, at, UNINTERRUPTIBLE) // B6
    else wait(this.words, at, UNINTERRUPTIBLE, HEARTBEAT_MS)
  }

  private done(): void {
    this.writer = null
    store(this.words, this.index + ACTIVE_WRITER, 0) // D1
    this.lock.unlock() // D2
    this.addRemoveLock?.unlock() // D3
  }

  /** G3, G4. Call with LOCK held. */
  private get(): boolean {
    const isFull = this.holds === HOLDS_MASK
    if (!isFull) {
      this.hold(1)
      add(this.words, this.index + REFCOUNT, 1) // G3
    }
    const ownerDied = this.isSick()
    this.lock.unlock() // G4
    if (!isFull) return ownerDied
    const reason = `this thread reads ${HOLDS_MASK} times already`
    throw new HotplugError('EAGAIN', `read ${this.name}`, reason)
  }

  /** P2 to P5. */
  private put(): void {
    const at = this.index + REFCOUNT
    this.lock.lock() // P2
    if (this.addRemoveLock === null) this.warnAndRepair()
    this.hold(-1)
    const before = sub(this.words, at, 1) // P4
    if (before === 1) {
      const active = load(this.words, this.index + ACTIVE_WRITER)
      this.wake(active)
    }
    this.lock.unlock() // P5
  }

  /** P3, which with the private mutex cannot be: who does not read is refused. */
  private warnAndRepair(): void {
    if (load(this.words, this.index + REFCOUNT) !== 0) return
    this.nrWarnings++
    add(this.words, this.index + REFCOUNT, 1)
  }

  /** `wake_up_process`. */
  private wake(active: number): void {
    const token = active & ~SICK
    if (token === 0) return
    const at = this.index + TASKS + slotOfToken(token) * TASK_WORDS
    store(this.words, at, RUNNING)
    notify(this.words, at)
  }

  private hold(delta: number): void {
    this.holds += delta
    if (this.addRemoveLock === null) return
    store(this.words, this.taskState + HOLDS, (this.slot.generation << HOLDS_BITS) | this.holds)
  }

  /** Sets REFCOUNT to the reads of the living. Call with LOCK held. */
  private recount(): number {
    const { slots } = this.slot
    let sum = 0
    for (let index = 0; index < slots.nrSlots; index++) {
      const holds = load(this.words, this.index + TASKS + index * TASK_WORDS + HOLDS)
      if ((holds & HOLDS_MASK) === 0) continue
      if (slots.isAlive(tokenOf(index, holds >>> HOLDS_BITS))) sum += holds & HOLDS_MASK
    }
    store(this.words, this.index + REFCOUNT, sum)
    return sum
  }

  /** Whether a writer died inside and none has been since. Call with LOCK held. */
  private isSick(): boolean {
    if (this.addRemoveLock === null) return false
    const active = load(this.words, this.index + ACTIVE_WRITER)
    const token = active & ~SICK
    return (active & SICK) !== 0 || (token !== 0 && !this.slot.slots.isAlive(token))
  }

  /** `active_writer == current`, unless an operation writes. */
  private isWriter(): boolean {
    if (this.writer !== 'thread') return false
    const active = load(this.words, this.index + ACTIVE_WRITER)
    return (active & ~SICK) === this.slot.token
  }

  private heldRead(ownerDied: boolean): Held {
    this.operations++
    return new Held(ownerDied, () => {
      this.slot.assertAttached(`stop reading ${this.name}`)
      this.operations--
      this.put()
    })
  }

  private refuseToWaitForOperations(operation: string): void {
    if (this.turnstile.nrWaiting > 0) {
      throw new HotplugError('EDEADLK', operation, 'an operation of this thread waits for it')
    }
    if (this.writer !== null && this.writer !== 'thread') {
      throw new HotplugError('EDEADLK', operation, 'an operation of this thread writes already')
    }
  }

  private refuseToWaitForMyself(operation: string): void {
    this.refuseToWaitForOperations(operation)
    if (this.writer !== null) {
      throw new HotplugError('EDEADLK', operation, 'this thread writes already')
    }
    if (this.holds > 0) throw new HotplugError('EDEADLK', operation, 'this thread reads already')
  }

  private refuseUp(what: 'read' | 'write'): never {
    const isOurs = what === 'read' ? this.operations > 0 : this.writer !== null
    const reason = `${isOurs ? 'the thread itself' : 'this thread'} does not ${what}`
    throw new HotplugError(
      'EPERM',
      `stop ${what === 'read' ? 'reading' : 'writing'} ${this.name}`,
      reason,
    )
  }
}

/** `mem_hotplug_begin` in steps, for event loops and tries. */
class Beginning implements Acquisition {
  words: Words
  index: number
  value = 0
  private readonly rwsem: CounterRwsem
  private readonly lock: Mutex
  private readonly addRemoveLock: Mutex | null
  private isAnnounced = false

  constructor(rwsem: CounterRwsem, lock: Mutex, addRemoveLock: Mutex | null) {
    this.rwsem = rwsem
    this.words = rwsem.words
    this.index = lock.index
    this.lock = lock
    this.addRemoveLock = addRemoveLock
  }

  step(): boolean {
    if (!this.isAnnounced) {
      if (this.addRemoveLock !== null && !this.take(this.addRemoveLock)) return false // B0
      this.rwsem.announce()
      this.isAnnounced = true
    }
    if (!this.take(this.lock)) return false // B2
    if (this.rwsem.hasNoReaders()) return true
    this.lock.unlock() // B5
    return this.sleepOn(this.rwsem.taskState, UNINTERRUPTIBLE) // B6
  }

  cancel(): void {
    if (this.rwsem.slot.token === 0) return
    this.lock.cancel()
    if (this.isAnnounced) {
      this.rwsem.retract()
      this.addRemoveLock?.unlock()
    } else {
      this.addRemoveLock?.cancel()
    }
  }

  private take(mutex: Mutex): boolean {
    return mutex.step() || this.sleepOn(mutex.index, mutex.value)
  }

  private sleepOn(index: number, value: number): false {
    this.index = index
    this.value = value
    return false
  }
}
