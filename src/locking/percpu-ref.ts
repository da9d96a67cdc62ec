/*
 * Per-CPU reference count: cheap to get and put, and once killed, waited for until nobody is left.
 *
 *     STATE      kills << 1 | KILLED?
 *     EVENTS     moves on with each change that a drain may wait for
 *     counts     one per slot (percpu-count.ts)
 *
 *     tryGet                             kill, drain
 *     G1  count one more on my slot      K1  STATE: live -> KILLED
 *     G2  STATE live: got it             K2  E = EVENTS
 *     G3  else one less, W               K3  each slot's count is zero: drained
 *                                            else sleep while EVENTS = E, K2 again
 *     put
 *     P1  count one less on the slot     revive
 *         that got it                    R1  STATE: KILLED -> live, W
 *     P2  STATE killed: W
 *                                        W   EVENTS + 1, wake all
 *
 * Nobody is left. Each side stores its own word, then loads the other's. Either G1 < K3, and the
 * drain sees the reference; or K1 < K3 < G1 < G2, and tryGet sees the kill. So a count that K3 has
 * once found at zero is of no more interest, and K3 looks at each slot in turn.
 *
 * No lost wake-up. What a drain waits for happens before a W; if that comes after K2, the drain
 * does not sleep, or is woken. P2 finds STATE live only if K1, and so K3, comes after P1. Deaths
 * are a W, too (`recover`): of those that a drain waits for, and of those that died before their W.
 *
 * Whose references? Those of pages and buffers that asynchronous I/O may be writing into, which a
 * thread's death does not end. So a dead thread's references count until its slot is freed, that
 * is until the kernel's thread is gone, not merely until it runs no more JavaScript. Any thread may
 * put a reference that another got, as long as that one is not gone.
 *
 * A drain that was revived meanwhile is told.
 *
 * After the kernel's percpu_ref, without its switch to one atomic count: K3 sums instead. Checked
 * by percpu-ref.check.ts.
 */
import { add, compareExchange, load, notify, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Held, Turnstile } from './acquire.ts'
import { PercpuCount } from './percpu-count.ts'
import { CACHE_LINE_WORDS, type Recoverable, type Slot, slotOfToken } from './slots.ts'
import { requireWords } from './words.ts'

const STATE = 0
const EVENTS = 1

const KILLED = 1
const ONE_KILL = 2 + KILLED

/** References to one thing that all threads share. */
export class PercpuRef implements Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly index: number
  private readonly name: string
  private readonly counts: PercpuCount
  private readonly turnstile = new Turnstile()

  /** Words of shared memory that a reference count needs for `nrSlots` slots, zeroed: live. */
  static words(nrSlots: number): number {
    return CACHE_LINE_WORDS + PercpuCount.words(nrSlots)
  }

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @param name What errors call it.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; the slot is
   *   detached.
   */
  constructor(slot: Slot, words: Words, index: number, name = 'ref') {
    requireWords(name, words, index, PercpuRef.words(slot.slots.nrSlots))
    this.slot = slot
    this.words = words
    this.index = index
    this.name = name
    this.counts = new PercpuCount(slot, words, index + CACHE_LINE_WORDS, 'freed')
    slot.references.push(this.counts)
  }

  /**
   * Gets a reference, unless it was killed.
   *
   * @throws {HotplugError} `EAGAIN`: this thread has `PERCPU_COUNT_MAX` already. `EINVAL`: the slot
   *   is detached.
   */
  tryGet(): boolean {
    if (this.slot.token === 0) this.slot.assertAttached(`get ${this.name}`)
    this.counts.increment() // G1
    const state = load(this.words, this.index + STATE) // G2
    if ((state & KILLED) === 0) return true
    this.counts.decrement() // G3
    this.wake()
    return false
  }

  /** As `tryGet`, for a `using` block; null if it was killed. */
  tryAcquire(): Held | null {
    return this.tryGet() ? new Held(false, () => this.put()) : null
  }

  /**
   * Puts a reference.
   *
   * @param owner The `slot.token` of the thread that got it; the calling thread's if left out.
   * @throws {HotplugError} `EPERM`: that thread has none. Nothing has changed. `EINVAL`:
   *   the slot is detached.
   */
  put(owner: number = this.slot.token): void {
    const operation = `put ${this.name}`
    this.slot.assertAttached(operation)
    const isMine = owner === this.slot.token
    const isPut = isMine ? this.counts.decrement() : this.counts.decrementOf(owner) // P1
    if (!isPut) {
      const reason = `slot ${slotOfToken(owner)} has no reference`
      throw new HotplugError('EPERM', operation, reason)
    }
    const state = load(this.words, this.index + STATE) // P2
    if ((state & KILLED) !== 0) this.wake()
  }

  /**
   * From now on nobody gets a reference.
   *
   * @returns Whether it was live; false if it had been killed before.
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  kill(): boolean {
    this.slot.assertAttached(`kill ${this.name}`)
    for (;;) {
      const state = load(this.words, this.index + STATE)
      if ((state & KILLED) !== 0) return false
      const before = compareExchange(this.words, this.index + STATE, state, state + ONE_KILL) // K1
      if (before === state) return true
    }
  }

  /**
   * Takes a kill back.
   *
   * @returns Whether it was killed.
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  revive(): boolean {
    this.slot.assertAttached(`revive ${this.name}`)
    for (;;) {
      const state = load(this.words, this.index + STATE)
      if ((state & KILLED) === 0) return false
      const before = compareExchange(this.words, this.index + STATE, state, state - KILLED) // R1
      if (before !== state) continue
      this.wake()
      return true
    }
  }

  /**
   * Whether it was killed.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  isKilled(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return (load(this.words, this.index + STATE) & KILLED) !== 0
  }

  /**
   * Whether this thread has references.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  isHeld(): boolean {
    this.slot.assertAttached(`look at ${this.name}`)
    return this.counts.mine() !== 0
  }

  /**
   * Blocks until nobody has a reference. Call after `kill`.
   *
   * @throws {HotplugError} `EINVAL`: it is not killed; the slot is detached. `EDEADLK`: this thread
   *   has a reference itself. `EAGAIN`: it was revived meanwhile.
   */
  drain(): void {
    const operation = `drain ${this.name}`
    const draining = this.beginDrain(operation)
    if (this.counts.mine() !== 0) {
      throw new HotplugError('EDEADLK', operation, 'this thread has a reference')
    }
    acquire(draining)
  }

  /** Whether nobody has a reference now. Call after `kill`; throws as `drain`. */
  tryDrain(): boolean {
    return this.beginDrain(`drain ${this.name}`).step()
  }

  /**
   * As `drain`, without blocking the thread, which may have references.
   *
   * @throws {HotplugError} `EINVAL`, `EAGAIN`: as `drain`. `ETIMEDOUT`: not in time. `EINVAL`: the
   *   timeout is not above 0. The signal's reason if it was aborted before.
   */
  async drainAsync(options: AcquireOptions = {}): Promise<void> {
    const operation = `drain ${this.name}`
    const draining = this.beginDrain(operation)
    return this.turnstile.acquire(
      operation,
      () => draining,
      () => {},
      options,
    )
  }

  /** Part of `Recoverable`. */
  recover(): void {
    this.wake()
  }

  private wake(): void {
    add(this.words, this.index + EVENTS, 1) // W
    notify(this.words, this.index + EVENTS)
  }

  private beginDrain(operation: string): Draining {
    this.slot.assertAttached(operation)
    const state = load(this.words, this.index + STATE)
    if ((state & KILLED) === 0) throw new HotplugError('EINVAL', operation, 'it is not killed')
    return new Draining(this, this.counts, state)
  }
}

/** One drain: which slots it has seen at zero. */
class Draining implements Acquisition {
  readonly words: Words
  readonly index: number
  value = 0
  private readonly ref: PercpuRef
  private readonly counts: PercpuCount
  private readonly state: number
  private next = 0

  constructor(ref: PercpuRef, counts: PercpuCount, state: number) {
    this.ref = ref
    this.words = ref.words
    this.index = ref.index + EVENTS
    this.counts = counts
    this.state = state
  }

  step(): boolean {
    const { ref } = this
    ref.slot.assertAttached('drain')
    const events = load(ref.words, this.index) // K2
    const busy = this.counts.findBusy(this.next) // K3
    const state = load(ref.words, ref.index + STATE)
    if (state !== this.state) throw new HotplugError('EAGAIN', 'drain', 'it was revived meanwhile')
    if (busy === -1) return true
    this.next = busy
    this.value = events
    return false
  }

  cancel(): void {}
}
