/*
 * Per-CPU reader-writer semaphore: cheap for readers, dear for writers, first come first served.
 *
 *     GATE      0 open, or  token << 2 | WAITERS? | SICK?   closed by the writer that it names
 *     PLACE[i]  deaths | readers inside | stamp, WRITE?, READ? | DRAIN?    one word per slot
 *     TOKEN[i]  whose place that is
 *     TICKET    how many have ever stood in line
 *     QUEUE     mutex: who passes the gate on, or leaves the line
 *
 *     reader on slot i                      writer
 *     R1  PLACE[i] += one reader            W1  GATE: open -> mine
 *     R2  GATE open: inside                 W2  each PLACE: no living reader: inside
 *     R3  else PLACE[i] -= one reader,          else set its DRAIN, sleep on it
 *         Q1                                W3  GATE: mine -> open, or P1 if it has WAITERS
 *     R4  leaves: PLACE[i] -= one reader;   W4  GATE was closed: Q1; once granted, W2
 *         had it DRAIN: clear it, wake
 *
 *     who finds the gate closed             who leaves it and finds WAITERS, with QUEUE held
 *     Q1  takes a stamp from TICKET         P1  GATE: clear WAITERS; SICK or not
 *     Q2  PLACE[i] += stamp, READ or WRITE  P2  each reader before the first writer in line:
 *     Q3  GATE: set WAITERS; if it is open,     its record -> one reader, wake
 *         record away, begin again          P3  GATE -> that writer, WAITERS if others wait
 *     Q4  its owner lives: sleep on         P4  it lives: its record -> 0, wake
 *         PLACE[i]; else P1 in its place    P5  it has died: its record -> 0, P1 in its place
 *     Q5  the record is gone: granted       P6  no writer in line: GATE -> open; if somebody
 *                                               set WAITERS since P1, again
 *
 * Exclusion. Each side stores its own word, then loads the other's. Either R1 < W2, and the writer
 * sees the reader; or W1 < W2 < R1 < R2, and the reader sees the writer and backs out. A reader
 * let in from the line is counted (P2) before the next writer owns the gate (P3).
 *
 * First come first served, by stamps. While somebody stands in line the gate does not open, but is
 * handed on (P3); so nobody starves, and W1 and R2 overtake only who has not come to Q3.
 *
 * No lost wake-up. R4 and W2 change one word, so one of them sees the other. Who sleeps in line
 * has seen GATE with WAITERS after its record was there (Q2 < Q3). The owner that it saw finds
 * WAITERS at W3, for only P1 clears it; and what is recorded before P1 is seen by P2 and P3, and
 * what comes after P1 sets WAITERS anew. P2 and P4 change the word slept on.
 *
 * Deaths. Every change that others depend on is one word, so whoever comes next starts over. A
 * dead reader's count and a dead waiter's record are those of a token that is not alive. A gate
 * that names the dead is passed on by the first to see it, with SICK set: all that enter are told,
 * until a writer has been and left. A death is counted in each place, so that who looked before it
 * does not sleep; where nobody runs `recover()`, waiters look every HEARTBEAT_MS. The next writer
 * is named by the gate before the look at whether it lives (P3 < P4, P5): either it is found dead
 * there, or its death is counted when the gate names it. Whoever was granted by one that died
 * before P4 finds its own name in GATE. A slot's next thread clears its place before its own name
 * stands beside it, with QUEUE held, so that P3 hands the gate to whom the record belongs.
 *
 * Not recursive: who reads again after W1 would wait for itself, and is refused (EDEADLK).
 *
 * The lettered steps are in percpu-gate.ts, but for R1, R2 and R4 of blocking readers, which are
 * here. Checked by percpu-rwsem.check.ts.
 */
import { add, load, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Held, Turnstile } from './acquire.ts'
import {
  DRAIN,
  Gate,
  ONE_READER,
  PLACES,
  READERS,
  READERS_MAX,
  Reading,
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
  /** How often the thread itself reads. */
  private reads = 0
  /** How many of its operations read. */
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
    if (this.slot.token === 0 || this.reads >= READERS_MAX) this.refuseRead()
    add(this.words, this.place, ONE_READER) // R1
    const gate = load(this.words, this.index) // R2
    if (gate !== 0) return this.downReadSlowly(gate)
    this.reads++
    return false
  }

  /**
   * Ends what `downRead` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not read. `EINVAL`: the slot is
   *   detached. Nothing has changed.
   */
  upRead(): void {
    if (this.slot.token === 0 || this.reads === 0) this.refuseUpRead()
    this.reads--
    const before = add(this.words, this.place, -ONE_READER) // R4
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
    this.refuseToWaitForMyself(operation)
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
    this.gate.open(true)
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
   * Reads unless a writer is inside or waits; never waits.
   *
   * @throws {HotplugError} `EAGAIN`, `EINVAL`: as `downRead`.
   */
  tryDownRead(): Held | null {
    this.requireRoom()
    const isIn = this.gate.enter() || (this.gate.repair() && this.gate.enter())
    return isIn ? this.heldRead() : null
  }

  /**
   * Writes unless somebody is inside or waits; never waits.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  tryDownWrite(): Held | null {
    this.slot.assertAttached(`write ${this.name}`)
    const hasGate = this.gate.close() || (this.gate.repair() && this.gate.close())
    if (!hasGate) return null
    if (this.gate.drain(this.gate.firstPlace)) return this.heldWrite()
    this.gate.open(false)
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
    this.requireRoom()
    const operation = `read ${this.name}`
    const granted = (): Held => this.heldRead()
    return this.turnstile.acquire(operation, () => this.reading(), granted, options)
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
    return this.turnstile.acquire(operation, () => this.writing(), granted, options)
  }

  /** Whether this thread, or an operation of it, reads. */
  isReadHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return this.reads + this.operations > 0
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

  /** What an operation holds that has just come in. Part of the async form, as the next three. */
  heldRead(): Held {
    this.operations++
    return new Held(this.gate.sick, () => {
      this.slot.assertAttached(`stop reading ${this.name}`)
      this.operations--
      this.gate.leave()
    })
  }

  /** What an operation holds that has just come in. */
  heldWrite(): Held {
    this.writer = new Held(this.gate.sick, () => {
      this.writer = null
      this.slot.assertAttached(`stop writing ${this.name}`)
      this.gate.open(true)
    })
    return this.writer
  }

  /** `downRead` in steps; `heldRead` once the last is done. */
  reading(): Acquisition {
    return new Reading(this.gate, false)
  }

  /** `downWrite` in steps; `heldWrite` once the last is done. */
  writing(): Acquisition {
    return new Writing(this.gate)
  }

  private downReadSlowly(gate: number): boolean {
    if (!this.gate.isLetIn(gate)) {
      if (this.isReadHeld() && this.gate.repair()) return this.downRead()
      this.refuseToWaitForMyself(`read ${this.name}`)
      acquire(new Reading(this.gate, true))
    }
    this.reads++
    return this.gate.sick
  }

  private refuseToWaitForMyself(operation: string): void {
    if (this.turnstile.nrWaiting > 0) {
      throw new HotplugError('EDEADLK', operation, 'an operation of this thread waits for it')
    }
    if (this.writer !== null) {
      throw new HotplugError('EDEADLK', operation, 'this thread writes already')
    }
    if (this.isReadHeld()) throw new HotplugError('EDEADLK', operation, 'this thread reads already')
  }

  private requireRoom(): void {
    const isFull = this.operations + this.turnstile.nrWaiting >= READERS_MAX
    if (this.slot.token === 0 || isFull) this.refuseRead()
  }

  private refuseRead(): never {
    const operation = `read ${this.name}`
    this.slot.assertAttached(operation)
    const reason = `this thread reads ${READERS_MAX} times already`
    throw new HotplugError('EAGAIN', operation, reason)
  }

  private refuseUpRead(): never {
    const operation = `stop reading ${this.name}`
    this.slot.assertAttached(operation)
    const reason = `${this.operations === 0 ? 'this thread' : 'the thread itself'} does not read`
    throw new HotplugError('EPERM', operation, reason)
  }
}
