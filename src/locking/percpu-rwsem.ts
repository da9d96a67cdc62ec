/*
 * Per-CPU reader-writer semaphore: cheap for readers, dear for writers, first come first served.
 *
 *     GATE      0 open, or  token << 2 | WAITERS? | SICK?   closed by the writer that it names
 *     QUEUE     mutex; what a line of waiters needs: who joins, who is next
 *     PLACE[i]  deaths | readers inside | stamp, WRITE?, READ? | DRAIN?    one word per slot
 *     TOKEN[i]  whose place that is
 *
 *     reader on slot i                      writer
 *     R1  PLACE[i] += one reader            W1  GATE: 0 -> mine
 *     R2  GATE open: inside                 W2  each PLACE: no living reader: inside
 *     R3  else PLACE[i] -= one reader,          else set its DRAIN, sleep on it
 *         Q1                                W3  GATE: mine -> 0, or P1 if it has WAITERS
 *     R4  leaves: PLACE[i] -= one reader;   W4  GATE was closed: Q1; once granted, W2
 *         had it DRAIN: clear it, wake
 *
 *     who finds the gate closed, with QUEUE held       who opens it, with QUEUE held
 *     Q1  GATE: set WAITERS, unless it opened          P1  GATE: SICK or not
 *     Q2  PLACE[i] += stamp, READ or WRITE             P2  each reader up to the first writer:
 *         ... QUEUE released, sleep on PLACE[i]            its record -> one reader, wake
 *     Q3  record gone: granted                         P3  GATE -> that writer, or open
 *                                                      P4  its record -> 0, wake
 *
 * Exclusion. Each side stores its own word, then loads the other's. Either R1 < W2, and the writer
 * sees the reader; or W1 < W2 < R1 < R2, and the reader sees the writer and backs out. A reader
 * let in from the line is counted (P2) before the next writer owns the gate (P3).
 *
 * First come first served. Whoever finds the gate closed stands in line, and while somebody
 * stands there the gate does not open: P3 hands it on. Only a free gate can be taken by W1, R2.
 *
 * No lost wake-up. R4 and W2 change one word, so one of them sees the other. W3 is a
 * compare-exchange from a word without WAITERS, so it fails once Q1 has been. P2 and P4 change the
 * word slept on.
 *
 * Deaths. Every change that others depend on is one word, so whoever comes next starts over. A
 * dead reader's count and a dead waiter's record are those of a token that is not alive. A gate
 * that names the dead is passed on by the first to see it, with SICK set: all that enter are told,
 * until a writer has been and left. A death is counted in each place, so that who looked before it
 * does not sleep; where nobody runs `recover()`, waiters look every HEARTBEAT_MS. Who takes over
 * a slot clears its place before its own name stands beside it, so TOKEN is read before, or PLACE
 * again after.
 *
 * Not recursive: who reads again after W1 would wait for itself, and is refused (EDEADLK).
 *
 * The lettered steps are in percpu-gate.ts, but for R1, R2 and R4 of blocking readers, which are
 * here. Checked by percpu-rwsem.check.ts.
 */
import { add, load, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, acquire, Held, Turnstile } from './acquire.ts'
import {
  DRAIN,
  Gate,
  isOpen,
  ONE_READER,
  PLACES,
  READERS,
  READERS_LIMIT,
  Reading,
  refuseMoreReaders,
  Writing,
} from './percpu-gate.ts'
import type { Rwsem } from './rwsem.ts'
import { CACHE_LINE_WORDS, type Recoverable, type Slot } from './slots.ts'
import { requireWords } from './words.ts'

/**
 * Per-CPU reader-writer semaphore. Not recursive; survives the death of whoever is inside or waits.
 *
 * A thread uses one `PercpuRwsem` for a lock, and makes it with its own slot.
 */
export class PercpuRwsem implements Rwsem, Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  private readonly place: number
  private readonly name: string
  private readonly gate: Gate
  private readonly turnstile = new Turnstile()
  /** Reads of this thread's operations, in units of `ONE_READER`. */
  private operations = 0
  /** Who of this thread writes: the thread itself, or an operation. */
  private writer: 'thread' | Held | null = null

  /** Words of shared memory that the lock needs for `nrSlots` slots, zeroed. */
  static words(nrSlots: number): number {
    return PLACES + nrSlots * CACHE_LINE_WORDS
  }

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @param name What errors call it.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; the slot is
   *   detached.
   */
  constructor(slot: Slot, words: Words, index: number, name = 'rwsem') {
    requireWords(name, words, index, PercpuRwsem.words(slot.slots.nrSlots))
    slot.assertAttached(`make ${name}`)
    this.slot = slot
    this.words = words
    this.index = index
    this.name = name
    this.gate = new Gate(slot, words, index, name)
    this.place = this.gate.place
  }

  /**
   * Blocks until this thread may read.
   *
   * @returns Whether the last writer died inside: what the lock protects may be half changed.
   * @throws {HotplugError} `EDEADLK`: it would wait for this thread itself: for what it, or an
   *   operation of it, holds or waits for. `EAGAIN`: it reads `READERS_MAX` times already.
   *   `EINVAL`: the slot is detached.
   */
  downRead(): boolean {
    if (this.slot.token === 0) this.slot.assertAttached(`read ${this.name}`)
    const before = add(this.words, this.place, ONE_READER) // R1
    const gate = load(this.words, this.index) // R2
    if (gate === 0 && (before & READERS) < READERS_LIMIT) return false
    return this.downReadSlowly(before & READERS, gate)
  }

  /**
   * Ends what `downRead` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not read. `EINVAL`: the slot is
   *   detached. Nothing has changed.
   */
  upRead(): void {
    if (this.slot.token === 0) this.slot.assertAttached(`stop reading ${this.name}`)
    const before = add(this.words, this.place, -ONE_READER) // R4
    if ((before & READERS) <= this.operations) this.refuseUpRead()
    if ((before & DRAIN) !== 0 && (before & READERS) === ONE_READER) this.gate.wakeDrain()
  }

  /**
   * Blocks until this thread alone may write.
   *
   * @returns Whether the last writer died inside: what the lock protects may be half changed.
   * @throws {HotplugError} `EDEADLK`: as `downRead`. `EINVAL`: the slot is detached.
   */
  downWrite(): boolean {
    const operation = `write ${this.name}`
    this.slot.assertAttached(operation)
    this.refuseToWaitForMyself(operation, load(this.words, this.place) & READERS)
    acquire(new Writing(this.gate))
    this.writer = 'thread'
    return this.gate.sick
  }

  /**
   * Ends what `downWrite` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not write. `EINVAL`: the slot is
   *   detached. Nothing has changed.
   */
  upWrite(): void {
    this.slot.assertAttached(`stop writing ${this.name}`)
    if (this.writer !== 'thread') {
      const reason = `${this.writer === null ? 'this thread' : 'the thread itself'} does not write`
      throw new HotplugError('EPERM', `stop writing ${this.name}`, reason)
    }
    this.writer = null
    this.gate.open(0)
  }

  /** As `downRead`, for a `using` block. */
  acquireRead(): Held {
    const ownerDied = this.downRead()
    return this.heldRead(ownerDied)
  }

  /** As `downWrite`, for a `using` block. */
  acquireWrite(): Held {
    const ownerDied = this.downWrite()
    return this.heldWrite(ownerDied)
  }

  /**
   * Reads unless a writer is inside or waits; never waits.
   *
   * @throws {HotplugError} `EAGAIN`, `EINVAL`: as `downRead`.
   */
  tryDownRead(): Held | null {
    this.slot.assertAttached(`read ${this.name}`)
    const isIn = this.gate.enter() || (this.gate.repair(0) && this.gate.enter())
    return isIn ? this.heldRead(this.gate.sick) : null
  }

  /**
   * Writes unless somebody is inside or waits; never waits.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  tryDownWrite(): Held | null {
    this.slot.assertAttached(`write ${this.name}`)
    const hasGate = this.gate.close() || (this.gate.repair(0) && this.gate.close())
    if (!hasGate) return null
    if (this.gate.drain(this.gate.firstPlace)) return this.heldWrite(this.gate.sick)
    this.gate.open(this.gate.sickness())
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
    const granted = (): Held => this.heldRead(this.gate.sick)
    return this.turnstile.acquire(operation, () => new Reading(this.gate, false), granted, options)
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
    const granted = (): Held => this.heldWrite(this.gate.sick)
    return this.turnstile.acquire(operation, () => new Writing(this.gate), granted, options)
  }

  /** Whether this thread, or an operation of it, reads. */
  isReadHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return (load(this.words, this.place) & READERS) !== 0
  }

  /** Whether this thread, or an operation of it, writes. */
  isWriteHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return this.writer !== null
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    this.gate.recover(token)
  }

  private downReadSlowly(readers: number, gate: number): boolean {
    if (isOpen(gate) && readers < READERS_LIMIT) return true // after a writer's death
    this.gate.leave() // R3
    if (readers >= READERS_LIMIT) refuseMoreReaders(this.name)
    if (readers !== 0 && this.gate.repair(0)) return this.downRead()
    this.refuseToWaitForMyself(`read ${this.name}`, readers)
    acquire(new Reading(this.gate, true))
    return this.gate.sick
  }

  private heldRead(ownerDied: boolean): Held {
    this.operations += ONE_READER
    return new Held(ownerDied, () => {
      this.operations -= ONE_READER
      this.slot.assertAttached(`stop reading ${this.name}`)
      this.gate.leave()
    })
  }

  private heldWrite(ownerDied: boolean): Held {
    this.writer = new Held(ownerDied, () => {
      this.writer = null
      this.slot.assertAttached(`stop writing ${this.name}`)
      this.gate.open(0)
    })
    return this.writer
  }

  private refuseToWaitForMyself(operation: string, readers: number): void {
    if (this.turnstile.nrWaiting > 0) {
      throw new HotplugError('EDEADLK', operation, 'an operation of this thread waits for it')
    }
    if (this.writer !== null) {
      throw new HotplugError('EDEADLK', operation, 'this thread writes already')
    }
    if (readers !== 0) throw new HotplugError('EDEADLK', operation, 'this thread reads already')
  }

  private refuseUpRead(): never {
    add(this.words, this.place, ONE_READER)
    this.gate.wakeDrain() // may have seen one reader too few, or many
    const reason = `${this.operations === 0 ? 'this thread' : 'the thread itself'} does not read`
    throw new HotplugError('EPERM', `stop reading ${this.name}`, reason)
  }
}
