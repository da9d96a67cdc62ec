/*
 * Access guard: readers that never wait, and waiters that know when all of them have looked away.
 *
 *     SEQUENCE[i]   odd while slot i's thread is inside; moves on with each enter and leave
 *     TOKEN[i]      whose sequence that is
 *     FORM          chosen once, when the memory is set up
 *
 *     reader on slot i                     waiter
 *     E1  SEQUENCE[i] becomes odd              unpublishes the old, by an atomic operation
 *         looks up what is published,      S1  barrier on all threads
 *         uses it                          S2  each SEQUENCE that is odd, of the living: wait
 *     E2  SEQUENCE[i] becomes even             until it changes
 *                                          S3  barrier on all threads
 *                                              reuses the old
 *
 * In the asymmetric form E1 and E2 are plain stores, and S1 and S3 are `barrierAll`; in the
 * portable form E1 and E2 are atomic, and there are no barriers.
 *
 * No use after reuse. Say a reader found the old. It looked it up before S1, or S1 would have
 * shown it the new; so E1 came before S1, which made it visible, and S2 waits for E2. What it read
 * before E2 it has read when S3 returns, even where a plain store can overtake plain loads before
 * it, as on arm64. (Those who enter after S1 see the new, so waiting for a change is enough: a
 * thread that enters again and again holds up nobody.)
 *
 * Readers do not wake waiters, which would cost them a look each: waiters look every POLL_MS.
 *
 * Deaths. A dead thread's sequence may stay odd; it is one of a token that is not alive. Who takes
 * over a slot begins its sequence anew before its own name stands beside it. A reader may not
 * nest, wait, yield or await inside.
 *
 * Checked by guard.check.ts.
 */
import { barrierAll, load, store, storePlain, type Words, wait } from '#atomics'
import { isBroken } from '#protections'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Turnstile } from './acquire.ts'
import { CACHE_LINE_WORDS, type Slot } from './slots.ts'
import { requireWords } from './words.ts'

const FORM = 0
const PLACES = CACHE_LINE_WORDS
const TOKEN = 1

const PORTABLE = 0
const ASYMMETRIC = 1

const POLL_MS = 0.1
/** Looks between two calls of `meanwhile`. */
const LOOKS = 10

/** How readers say that they are inside: by atomic operations, or plainly. */
export type GuardForm = 'portable' | 'asymmetric'

/** One thread's hand on an access guard. It makes one for itself, with its own slot. */
export class Guard {
  readonly words: Words
  readonly index: number
  readonly form: GuardForm
  readonly slot: Slot
  /**
   * Called about every millisecond that `synchronize` blocks; null: by nobody. For the thread that
   * finds the dead, which else might wait for one of them.
   */
  readonly waiting: { meanwhile: (() => void) | null } = { meanwhile: null }
  private readonly isAsymmetric: boolean
  private readonly place: number
  private sequence: number

  /** Words of shared memory that a guard needs for `nrSlots` slots, zeroed. */
  static words(nrSlots: number): number {
    return PLACES + nrSlots * CACHE_LINE_WORDS
  }

  /**
   * Chooses the form of the guard in zeroed memory; portable if never called. Call before any
   * thread makes its `Guard`, and only with a `barrierAll` that works choose `asymmetric`.
   *
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; no such form.
   */
  static choose(words: Words, index: number, form: GuardForm): void {
    requireWords('guard', words, index, Guard.words(1))
    if (form !== 'asymmetric' && form !== 'portable') {
      const reason = `its form is ${String(form)}, not asymmetric or portable`
      throw new HotplugError('EINVAL', 'make guard', reason)
    }
    store(words, index + FORM, form === 'asymmetric' ? ASYMMETRIC : PORTABLE)
  }

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; the slot is
   *   detached.
   */
  constructor(slot: Slot, words: Words, index: number) {
    requireWords('guard', words, index, Guard.words(slot.slots.nrSlots))
    slot.assertAttached('make guard')
    this.words = words
    this.index = index
    this.slot = slot
    this.isAsymmetric = load(words, index + FORM) === ASYMMETRIC
    this.form = this.isAsymmetric ? 'asymmetric' : 'portable'
    this.place = index + PLACES + slot.index * CACHE_LINE_WORDS
    if (load(words, this.place + TOKEN) !== slot.token) {
      store(words, this.place, 0)
      store(words, this.place + TOKEN, slot.token)
    }
    this.sequence = load(words, this.place)
  }

  /**
   * From now on, what is looked up stays until `leave`. Never waits; may not nest.
   *
   * @throws {HotplugError} `EDEADLK`: this thread is inside. `EINVAL`: the slot is detached.
   */
  enter(): void {
    const sequence = (this.sequence + 1) | 0
    if ((sequence & 1) === 0 || this.slot.token === 0) this.refuse('enter')
    this.sequence = sequence
    if (this.isAsymmetric)
      storePlain(this.words, this.place, sequence) // E1
    else store(this.words, this.place, sequence)
  }

  /**
   * Ends what `enter` began.
   *
   * @throws {HotplugError} `EPERM`: this thread is not inside. `EINVAL`: the slot is detached.
   */
  leave(): void {
    const sequence = (this.sequence + 1) | 0
    if ((sequence & 1) !== 0 || this.slot.token === 0) this.refuse('leave')
    this.sequence = sequence
    if (this.isAsymmetric)
      storePlain(this.words, this.place, sequence) // E2
    else store(this.words, this.place, sequence)
  }

  /** Whether this thread is inside. */
  isInside(): boolean {
    return (this.sequence & 1) !== 0
  }

  /**
   * Blocks until every thread that is inside now has left: a grace period. What was unpublished
   * before the call, by an atomic operation, is in use by nobody after it.
   *
   * @throws {HotplugError} `EDEADLK`: this thread is inside itself. `EINVAL`: the slot is detached.
   */
  synchronize(): void {
    const period = this.beginPeriod()
    const { meanwhile } = this.waiting
    if (meanwhile === null) acquire(period)
    else waitHelping(period, meanwhile)
  }

  /**
   * As `synchronize`, but looks only so many times, POLL_MS apart.
   *
   * @param looks 1 or more.
   * @returns The slot of a thread that is still inside, or -1 if none is.
   * @throws {HotplugError} `EDEADLK`, `EINVAL`: as `synchronize`.
   */
  trySynchronize(looks: number): number {
    return this.beginPeriod().tryEnd(looks)
  }

  /**
   * As `synchronize`, without blocking the thread.
   *
   * @throws {HotplugError} `ETIMEDOUT`: a thread, which the message names, was inside for too long.
   *   `EDEADLK`, `EINVAL`: as `synchronize`, or a bad timeout. The signal's reason if it was
   *   aborted before.
   */
  async synchronizeAsync(options: AcquireOptions = {}): Promise<void> {
    const period = this.beginPeriod()
    try {
      await new Turnstile().acquire('synchronize guard', () => period, nothing, options)
    } catch (error) {
      if (!(error instanceof HotplugError) || error.code !== 'ETIMEDOUT') throw error
      const reason = `slot ${period.slotInside()} is inside for more than ${options.timeoutMs} ms`
      throw new HotplugError('ETIMEDOUT', 'synchronize guard', reason, { cause: error })
    }
  }

  /** S1, S3. Part of `synchronize`. */
  barrier(_step: 'S1' | 'S3'): void {
    if (this.isAsymmetric) barrierAll()
  }

  /**
   * A grace period that begins now, to be waited for in pieces.
   *
   * @throws {HotplugError} `EDEADLK`, `EINVAL`: as `synchronize`.
   */
  beginPeriod(): GracePeriod {
    this.slot.assertAttached('synchronize guard')
    if (this.isInside()) {
      throw new HotplugError('EDEADLK', 'synchronize guard', 'this thread is inside itself')
    }
    return new GracePeriod(this)
  }

  private refuse(operation: 'enter' | 'leave'): never {
    this.slot.assertAttached(`${operation} guard`)
    if (operation === 'leave') {
      throw new HotplugError('EPERM', 'leave guard', 'this thread is not inside')
    }
    throw new HotplugError('EDEADLK', 'enter guard', 'this thread is inside already')
  }
}

/** S1 to S3. */
export class GracePeriod implements Acquisition {
  readonly words: Words
  index: number
  value = 0
  readonly lookEveryMs = POLL_MS
  private readonly guard: Guard
  private hasBegun = false

  constructor(guard: Guard) {
    this.guard = guard
    this.words = guard.words
    this.index = guard.index + PLACES
  }

  step(): boolean {
    if (isBroken('guard')) return true
    if (!this.hasBegun) this.guard.barrier('S1')
    this.hasBegun = true
    const end = this.guard.index + Guard.words(this.guard.slot.slots.nrSlots)
    for (; this.index < end; this.index += CACHE_LINE_WORDS) {
      const sequence = load(this.words, this.index) // S2
      const hasChanged = this.value !== 0 && sequence !== this.value
      this.value = sequence
      if ((sequence & 1) !== 0 && !hasChanged && this.isAlive()) return false
      this.value = 0
    }
    this.guard.barrier('S3')
    return true
  }

  cancel(): void {}

  /**
   * Looks so many times, POLL_MS apart, and goes on from there when it is called again.
   *
   * @param looks 1 or more.
   * @returns The slot of a thread that is still inside, or -1 if none is: it has ended.
   */
  tryEnd(looks: number): number {
    for (let i = 1; !this.step(); i++) {
      if (i >= looks) return this.slotInside()
      wait(this.words, this.index, this.value, POLL_MS)
    }
    return -1
  }

  /** The slot that is waited for. */
  slotInside(): number {
    return (this.index - this.guard.index - PLACES) / CACHE_LINE_WORDS
  }

  private isAlive(): boolean {
    const token = load(this.words, this.index + TOKEN)
    return this.guard.slot.slots.isAlive(token)
  }
}

function waitHelping(period: GracePeriod, meanwhile: () => void): void {
  for (let i = 1; !period.step(); i++) {
    if (i % LOOKS === 0) meanwhile()
    wait(period.words, period.index, period.value, POLL_MS)
  }
}

function nothing(): void {}
