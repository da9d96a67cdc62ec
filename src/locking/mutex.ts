/*
 * Futex mutex: one word that says who has it, and whether anybody sleeps.
 *
 *     0                          free
 *     token << 2 | WAITERS?      owned; WAITERS: somebody may sleep, so unlock must notify
 *     DIED                       free, and its last owner died inside
 *
 *     lock                                 unlock
 *     L1  0 -> mine                        U1  mine -> 0, nobody sleeps
 *     L2  free: -> mine | WAITERS          U2  mine | WAITERS -> 0, wake one
 *     L3  owner dead: -> mine | WAITERS
 *     L4  owned: set WAITERS, sleep
 *
 * One owner: every way in is a compare-exchange from a value that says free or dead.
 *
 * No lost wake-up. A sleeper slept on a word with WAITERS set, and U2 sees that bit, because only
 * it or L2, L3 (which set it anew, for sleepers they cannot know of) change such a word. Whom U2
 * wakes takes the mutex with WAITERS set, so its own unlock wakes the next. Whoever gives up after
 * a wake-up passes it on.
 *
 * Deaths. The next to come sees that the owner is dead (L3). Whoever found it alive and is about to
 * sleep does not, for `recover()` changes the word (D1), and then wakes all (D2), also when the
 * dead held nothing: a wake-up may have died with it. Where nobody runs `recover()` for this
 * memory, sleepers look every HEARTBEAT_MS. Whoever takes over is told.
 *
 * Algorithm: U. Drepper, "Futexes are tricky", 2011, its second mutex, with the owner in the word
 * as in the kernel's robust futexes. Checked by mutex.check.ts.
 */
import { compareExchange, exchange, load, notify, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Held, Turnstile } from './acquire.ts'
import { type Recoverable, type Slot, slotOfToken } from './slots.ts'
import { requireWords } from './words.ts'

const WAITERS = 1
const DIED = 2
const TOKEN_SHIFT = 2

/** The token of the owner that a mutex's word names; 0: nobody. */
export function ownerOfWord(word: number): number {
  return word >>> TOKEN_SHIFT
}

/**
 * Mutual exclusion among threads; survives the death of its owner. Not recursive.
 *
 * A thread uses one `Mutex` for a lock, and makes it with its own slot. Operations of one event
 * loop exclude each other too: each holds a `Held`.
 */
export class Mutex implements Acquisition, Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  /** What `step()` left to sleep on. */
  value = 0
  /**
   * Called now and then while `lock` blocks; null: by nobody. For the thread that finds the dead,
   * which else might wait for one of them.
   */
  readonly waiting: { meanwhile: (() => void) | null } = { meanwhile: null }
  /**
   * Callbacks of this thread that others ask with the mutex held. A thread that blocks does not
   * answer; so while there are any, `lock` refuses to wait.
   */
  readonly callbacks = { count: 0 }
  private readonly name: string
  private ownerDied = false
  /** The operation of this thread that owns it; null: the thread itself, or nobody here. */
  private holder: Held | null = null
  private readonly turnstile = new Turnstile()

  /** Words of shared memory that a mutex needs, zeroed. */
  static readonly WORDS = 1

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @param name What errors call it.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds.
   */
  constructor(slot: Slot, words: Words, index: number, name = 'mutex') {
    requireWords(name, words, index, Mutex.WORDS)
    this.slot = slot
    this.words = words
    this.index = index
    this.name = name
  }

  /**
   * Blocks the thread until it owns the mutex.
   *
   * @returns Whether the last owner died inside: what it protects may be half changed.
   * @throws {HotplugError} `EDEADLK`: this thread or an operation of it has it, or waits for it; or
   *   whoever has it may ask a callback of this thread. `EINVAL`: the slot is detached.
   */
  lock(): boolean {
    const { token } = this.slot
    if (token === 0) this.slot.assertAttached(`lock ${this.name}`)
    const word = compareExchange(this.words, this.index, 0, token << TOKEN_SHIFT) // L1
    if (word === 0) return false
    this.refuseToWaitForMyself(ownerOfWord(word) === token)
    if (this.callbacks.count > 0) this.takeOverOrRefuse(word)
    else acquire(this, this.waiting.meanwhile)
    return this.ownerDied
  }

  /**
   * Takes the mutex if it is free; never waits. A dead owner counts as free: see `ownerDied`.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  tryLock(): Held | null {
    this.slot.assertAttached(`lock ${this.name}`)
    const word = compareExchange(this.words, this.index, 0, this.slot.token << TOKEN_SHIFT) // L1
    if (word === 0) return this.held(false)
    return this.isFree(word) && this.takeOver(word) ? this.held(this.ownerDied) : null
  }

  /** As `lock`, for a `using` block. */
  acquire(): Held {
    const ownerDied = this.lock()
    return this.held(ownerDied)
  }

  /**
   * Waits for the mutex without blocking the thread.
   *
   * @throws {HotplugError} `ETIMEDOUT`: not granted in time. `EINVAL`: the timeout is not above 0,
   *   or the slot is detached. The signal's reason if it was aborted before.
   */
  async lockAsync(options: AcquireOptions = {}): Promise<Held> {
    const operation = `lock ${this.name}`
    this.slot.assertAttached(operation)
    const granted = (): Held => this.held(this.ownerDied)
    return this.turnstile.acquire(operation, () => this, granted, options)
  }

  /**
   * Ends what `lock` began.
   *
   * @throws {HotplugError} `EPERM`: the thread itself does not own it. `EINVAL`: the slot is
   *   detached. Nothing has changed.
   */
  unlock(): void {
    const mine = this.slot.token << TOKEN_SHIFT
    if (mine === 0 || this.holder !== null) this.refuseUnlock()
    const word = compareExchange(this.words, this.index, mine, 0) // U1
    if (word === mine) return
    if (word !== (mine | WAITERS)) this.refuseUnlock(word)
    exchange(this.words, this.index, 0) // U2: nobody but its owner changes such a word
    notify(this.words, this.index, 1)
  }

  /**
   * Whether this thread or an operation of it owns the mutex.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  isHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return ownerOfWord(load(this.words, this.index)) === this.slot.token
  }

  /** One try of the slow path; see the essay. Part of `Acquisition`. */
  step(): boolean {
    this.slot.assertAttached(`lock ${this.name}`)
    this.value = 0 // what was slept on before tells no two states of the checker apart
    for (;;) {
      const word = load(this.words, this.index)
      if (this.isFree(word)) {
        if (this.takeOver(word)) return true // L2, L3
        continue // somebody was faster: a word that was free is not one to sleep on
      }
      const contended = word | WAITERS
      if (word !== contended) {
        if (compareExchange(this.words, this.index, word, contended) !== word) continue // L4
      }
      this.value = contended
      return false
    }
  }

  /** Part of `Acquisition`. */
  cancel(): void {
    notify(this.words, this.index, 1)
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    let word = load(this.words, this.index)
    while (ownerOfWord(word) === token) {
      compareExchange(this.words, this.index, word, DIED) // D1; fails if WAITERS came meanwhile
      word = load(this.words, this.index)
    }
    notify(this.words, this.index) // D2
  }

  private isFree(word: number): boolean {
    const owner = ownerOfWord(word)
    return owner === 0 || !this.slot.slots.isAlive(owner)
  }

  private takeOver(word: number): boolean {
    const mine = (this.slot.token << TOKEN_SHIFT) | WAITERS
    if (compareExchange(this.words, this.index, word, mine) !== word) return false
    this.ownerDied = word !== 0
    return true
  }

  private held(ownerDied: boolean): Held {
    this.holder = new Held(ownerDied, () => {
      this.holder = null
      this.unlock()
    })
    return this.holder
  }

  private refuseToWaitForMyself(held: boolean): void {
    if (!held && this.turnstile.nrWaiting === 0) return
    const reason = held ? 'this thread has it already' : 'an operation of this thread waits for it'
    throw new HotplugError('EDEADLK', `lock ${this.name}`, reason)
  }

  /** @param word What L1 found. */
  private takeOverOrRefuse(word: number): void {
    if (this.isFree(word) && this.takeOver(word)) return
    const reason = 'who has it may ask a callback of this thread, which would not answer: await'
    throw new HotplugError('EDEADLK', `lock ${this.name}`, `${reason} lockAsync() instead`)
  }

  private refuseUnlock(word = 0): never {
    this.slot.assertAttached(`unlock ${this.name}`)
    const owner = ownerOfWord(word)
    const reason =
      this.holder !== null
        ? 'an operation of this thread has it: release that'
        : owner === 0
          ? 'nobody has it'
          : `slot ${slotOfToken(owner)} has it`
    throw new HotplugError('EPERM', `unlock ${this.name}`, reason)
  }
}
