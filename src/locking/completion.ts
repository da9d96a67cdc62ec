/*
 * Completion: threads wait until another says that something is done.
 *
 *     DONE        how many may pass << 8 | deaths, or ALL: everybody, for ever
 *     COMPLETER   0, or the token of the thread that will say so
 *
 *     wait                                  complete
 *     W1  DONE = ALL: through               C1  DONE: one more may pass
 *     W2  DONE: one less may pass: through  C2  wake one
 *     W3  none may pass: COMPLETER is dead:
 *         EOWNERDEAD; else sleep on DONE    completeAll: A1  DONE = ALL  A2  wake all
 *
 * No lost wake-up. A sleeper slept on a word that lets nobody pass; C1 and A1 change it. Whom C2
 * wakes may find that a newcomer passed in its place (W2), and sleeps again. Whoever gives up after
 * a wake-up passes it on.
 *
 * Deaths. `recover()` counts the completer's death in the word (D1), so that a waiter which saw it
 * alive does not sleep, and wakes all (D2): those who waited for the dead then see it, and a
 * wake-up may have died with a waiter. A thread that dies after W2 has passed.
 *
 * The kernel's struct completion, with a completer that can die. Checked by completion.check.ts.
 */
import { compareExchange, load, notify, store, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Turnstile } from './acquire.ts'
import { type Recoverable, type Slot, slotOfToken } from './slots.ts'
import { requireWords } from './words.ts'

const DONE = 0
const COMPLETER = 1

const DEATHS = 0xff
const ONE = DEATHS + 1
const ALL = 0x7fffff00

/** Something that will be done once, or again and again. */
export class Completion implements Acquisition, Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  /** What `step()` left to sleep on. */
  value = 0
  private readonly name: string
  private readonly turnstile = new Turnstile()

  /** Words of shared memory that a completion needs, zeroed: not done. */
  static readonly WORDS = 2

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @param name What errors call it.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds.
   */
  constructor(slot: Slot, words: Words, index: number, name = 'completion') {
    requireWords(name, words, index, Completion.WORDS)
    this.slot = slot
    this.words = words
    this.index = index
    this.name = name
  }

  /**
   * Declares who will complete it: should that thread die first, those who wait are told.
   *
   * @param token The thread's; the calling thread's if left out.
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  expect(token: number = this.slot.token): void {
    this.slot.assertAttached(`expect ${this.name}`)
    store(this.words, this.index + COMPLETER, token)
  }

  /**
   * Lets one waiter through: one that waits, or the next to come.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  complete(): void {
    this.slot.assertAttached(`complete ${this.name}`)
    for (;;) {
      const word = load(this.words, this.index)
      if (word >= ALL - ONE) break
      if (compareExchange(this.words, this.index, word, word + ONE) === word) break // C1
    }
    notify(this.words, this.index, 1) // C2
  }

  /**
   * Lets everybody through, until `reinit`.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  completeAll(): void {
    this.slot.assertAttached(`complete ${this.name}`)
    store(this.words, this.index, ALL) // A1
    notify(this.words, this.index) // A2
  }

  /**
   * Makes it not done, with nobody declared. Call while nobody waits or completes.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  reinit(): void {
    this.slot.assertAttached(`reinit ${this.name}`)
    store(this.words, this.index + COMPLETER, 0)
    store(this.words, this.index + DONE, 0)
  }

  /**
   * Blocks the thread until it is let through.
   *
   * @throws {HotplugError} `EOWNERDEAD`: who should have completed it is dead. `EDEADLK`: that is
   *   this thread, or an operation of this thread waits for it. `EINVAL`: the slot is detached.
   */
  wait(): void {
    if (this.tryWait()) return
    const operation = `wait for ${this.name}`
    if (load(this.words, this.index + COMPLETER) === this.slot.token) {
      throw new HotplugError('EDEADLK', operation, 'this thread itself is to complete it')
    }
    if (this.turnstile.nrWaiting > 0) {
      throw new HotplugError('EDEADLK', operation, 'an operation of this thread waits for it')
    }
    acquire(this)
  }

  /**
   * Passes if it is done; never waits.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  tryWait(): boolean {
    this.slot.assertAttached(`wait for ${this.name}`)
    return this.pass()
  }

  /**
   * Waits without blocking the thread.
   *
   * @throws {HotplugError} `EOWNERDEAD`: who should have completed it is dead. `ETIMEDOUT`: not
   *   done in time. `EINVAL`: the timeout is not above 0, or the slot is detached. The signal's
   *   reason if it was aborted before.
   */
  async waitAsync(options: AcquireOptions = {}): Promise<void> {
    const operation = `wait for ${this.name}`
    this.slot.assertAttached(operation)
    return this.turnstile.acquire(
      operation,
      () => this,
      () => {},
      options,
    )
  }

  /**
   * Whether somebody could pass now.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  isDone(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return load(this.words, this.index) >= ONE
  }

  /** One try; see the essay. Part of `Acquisition`. */
  step(): boolean {
    this.slot.assertAttached(`wait for ${this.name}`)
    if (this.pass()) return true
    const completer = load(this.words, this.index + COMPLETER)
    if (completer === 0 || this.slot.slots.isAlive(completer)) return false // W3
    if (this.pass()) return true // what it did before it died
    this.refuseToWaitForTheDead(completer)
  }

  /** Part of `Acquisition`. */
  cancel(): void {
    notify(this.words, this.index, 1)
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    const completer = load(this.words, this.index + COMPLETER)
    if (completer === token) this.countDeath()
    notify(this.words, this.index) // D2
  }

  private countDeath(): void {
    for (;;) {
      const word = load(this.words, this.index)
      if (word >= ALL) return
      const next = (word & ~DEATHS) | ((word + 1) & DEATHS)
      if (compareExchange(this.words, this.index, word, next) === word) return // D1
    }
  }

  private pass(): boolean {
    for (;;) {
      const word = load(this.words, this.index)
      this.value = word
      if (word >= ALL) return true // W1
      if (word < ONE) return false
      if (compareExchange(this.words, this.index, word, word - ONE) === word) return true // W2
    }
  }

  private refuseToWaitForTheDead(completer: number): never {
    this.cancel() // the others are to see it too
    const reason = `slot ${slotOfToken(completer)}, which was to complete it, is dead`
    throw new HotplugError('EOWNERDEAD', `wait for ${this.name}`, reason)
  }
}
