/*
 * Futex mutex: one word that says who has it, and whether anybody sleeps.
 *
 *     0                          free
 *     token << 2 | WAITERS?      owned; WAITERS: somebody may sleep, so unlock must notify
 *     DIED | WAITERS?            free, and its last owner died inside
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
 * Deaths. A dead owner is seen by the next to come (L3) and by the sleepers: `recover()` wakes
 * them all, also when the dead held nothing, for a wake-up may have died with it; where nobody
 * runs `recover()` for this memory, they look every HEARTBEAT_MS. Whoever takes over is told.
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

/** Mutual exclusion among threads; survives the death of its owner. Not recursive. */
export class Mutex implements Acquisition, Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  /** The value to sleep on after `step()` said no. */
  value = 0
  private readonly name: string
  private ownerDied = false
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
   * @throws {HotplugError} `EDEADLK`: an operation of this thread has it, or waits for it.
   *   `EINVAL`: the slot is detached.
   */
  lock(): boolean {
    const { token } = this.slot
    if (token === 0) this.slot.assertAttached(`lock ${this.name}`)
    if (compareExchange(this.words, this.index, 0, token << TOKEN_SHIFT) === 0) return false // L1
    this.refuseToWaitForMyself()
    acquire(this)
    return this.ownerDied
  }

  /** Takes the mutex if it is free; never waits. A dead owner counts as free: see `ownerDied`. */
  tryLock(): Held | null {
    this.slot.assertAttached(`lock ${this.name}`)
    const word = load(this.words, this.index)
    return this.takeOver(word) ? this.held() : null
  }

  /** As `lock`, for a `using` block. */
  acquire(): Held {
    this.lock()
    return this.held()
  }

  /**
   * Waits for the mutex without blocking the thread.
   *
   * @throws {HotplugError} `ETIMEDOUT`, `EINVAL`; the signal's reason if aborted.
   */
  async lockAsync(options: AcquireOptions = {}): Promise<Held> {
    const operation = `lock ${this.name}`
    this.slot.assertAttached(operation)
    await this.turnstile.acquire(operation, () => this, options)
    return this.held()
  }

  /** @throws {HotplugError} `EPERM`: this thread does not own it. Nothing has changed. */
  unlock(): void {
    const mine = this.slot.token << TOKEN_SHIFT
    if (mine === 0) this.slot.assertAttached(`unlock ${this.name}`)
    const word = compareExchange(this.words, this.index, mine, 0) // U1
    if (word === mine) return
    if (word !== (mine | WAITERS)) {
      throw new HotplugError('EPERM', `unlock ${this.name}`, ownerText(word))
    }
    exchange(this.words, this.index, 0) // U2: nobody but its owner changes such a word
    notify(this.words, this.index, 1)
  }

  /** Whether this thread owns it. */
  isHeld(): boolean {
    return load(this.words, this.index) >>> TOKEN_SHIFT === this.slot.token
  }

  /** One try of the slow path; see the essay. Part of `Acquisition`. */
  step(): boolean {
    const word = load(this.words, this.index)
    if (this.takeOver(word)) return true
    const contended = word | WAITERS
    compareExchange(this.words, this.index, word, contended) // L4; if it fails, the sleep does
    this.value = contended
    return false
  }

  /** Part of `Acquisition`. */
  cancel(): void {
    notify(this.words, this.index, 1)
  }

  recover(token: number): void {
    const word = load(this.words, this.index)
    if (word >>> TOKEN_SHIFT === token) {
      compareExchange(this.words, this.index, word, DIED | WAITERS)
    }
    notify(this.words, this.index)
  }

  private takeOver(word: number): boolean {
    const owner = word >>> TOKEN_SHIFT
    if (owner !== 0 && this.slot.slots.isAlive(owner)) return false
    const mine = (this.slot.token << TOKEN_SHIFT) | WAITERS
    if (compareExchange(this.words, this.index, word, mine) !== word) return false // L2, L3
    this.ownerDied = owner !== 0 || (word & DIED) !== 0
    return true
  }

  private refuseToWaitForMyself(): void {
    const word = load(this.words, this.index)
    const owned = word !== 0 && slotOfToken(word >>> TOKEN_SHIFT) === this.slot.index
    if (!(owned && this.isHeld()) && this.turnstile.nrWaiting === 0) return
    const reason = owned ? 'this thread has it already' : 'an operation of this thread waits for it'
    throw new HotplugError('EDEADLK', `lock ${this.name}`, reason)
  }

  private held(): Held {
    return new Held(this.ownerDied, () => this.unlock())
  }
}

function ownerText(word: number): string {
  const owner = word >>> TOKEN_SHIFT
  return owner === 0 ? 'nobody has it' : `slot ${slotOfToken(owner)} has it`
}
