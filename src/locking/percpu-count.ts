/*
 * A count that every thread keeps for itself: cheap to change, dear to sum.
 *
 *     generation << 13 | count      one word per slot, each in a cache line of its own
 *
 * Only a slot's thread raises its word; whoever waits for zero looks at them one by one
 * (`findBusy`). It finds each word at zero at some moment, not all at one: a user makes sure that
 * after such a moment nobody who counts goes on (a flag, raised before the search, that each loads
 * after it counted).
 *
 * Deaths. A word of a generation that is over counts nothing, whoever left it. So nothing has to
 * be repaired when a thread dies, and its slot's next thread begins with a word of its own (C1).
 *
 * The count may be one off for a moment (D1, I1): below zero it borrows from the generation, and
 * reads as that of a generation that is over; above, it has room.
 *
 * Checked by percpu-count.check.ts and percpu-ref.check.ts.
 */
import { add, compareExchange, load, store, sub, type Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import {
  CACHE_LINE_WORDS,
  generationOfToken,
  type Slot,
  type Slots,
  slotOfToken,
  tokenOf,
} from './slots.ts'
import { requireWords } from './words.ts'

const COUNT_BITS = 13
const COUNT_MASK = (1 << COUNT_BITS) - 1

/** How far one thread can count. */
export const PERCPU_COUNT_MAX = 4095

/** Until when what a thread has counted stands: until it runs no more, or until it is gone. */
export type CountsUntil = 'closed' | 'freed'

/** One count per slot, of things that slot's thread holds. */
export class PercpuCount {
  readonly words: Words
  private readonly slots: Slots
  private readonly index: number
  private readonly own: number
  private readonly untilFreed: boolean

  /** Words of shared memory that the counts of `nrSlots` slots need, zeroed. */
  static words(nrSlots: number): number {
    return nrSlots * CACHE_LINE_WORDS
  }

  /**
   * @param slot The calling thread's own.
   * @param until `freed` if what is counted may still be in use by I/O of a closed thread.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds; the slot is
   *   detached.
   */
  constructor(slot: Slot, words: Words, index: number, until: CountsUntil) {
    requireWords('percpu count', words, index, PercpuCount.words(slot.slots.nrSlots))
    slot.assertAttached('make percpu count')
    this.words = words
    this.slots = slot.slots
    this.index = index
    this.own = this.at(slot.index)
    this.untilFreed = until === 'freed'
    const word = load(words, this.own)
    if (word >>> COUNT_BITS !== slot.generation) {
      store(words, this.own, slot.generation << COUNT_BITS) // C1
    }
  }

  /**
   * Counts one more on the calling thread's slot.
   *
   * @throws {HotplugError} `EAGAIN`: it counts `PERCPU_COUNT_MAX` already.
   */
  increment(): void {
    const before = add(this.words, this.own, 1)
    if ((before & COUNT_MASK) < PERCPU_COUNT_MAX) return
    sub(this.words, this.own, 1) // I1
    throw new HotplugError('EAGAIN', 'count', `this thread holds ${PERCPU_COUNT_MAX} already`)
  }

  /**
   * Counts one less on the calling thread's slot.
   *
   * @returns False, and nothing has changed, if it counted none.
   */
  decrement(): boolean {
    const before = sub(this.words, this.own, 1)
    if ((before & COUNT_MASK) !== 0) return true
    add(this.words, this.own, 1) // D1
    return false
  }

  /**
   * Counts one less for the owner that `token` names, from any thread.
   *
   * @returns False, and nothing has changed, if that owner counts none.
   */
  decrementOf(token: number): boolean {
    const at = this.at(slotOfToken(token))
    for (;;) {
      const word = load(this.words, at)
      if (word >>> COUNT_BITS !== generationOfToken(token)) return false
      if ((word & COUNT_MASK) === 0) return false
      if (compareExchange(this.words, at, word, word - 1) === word) return true
    }
  }

  /** How many the calling thread's slot counts. */
  mine(): number {
    return load(this.words, this.own) & COUNT_MASK
  }

  /** The first slot, `from` or above, that counts something; -1 if none does. */
  findBusy(from: number): number {
    for (let slot = from; slot < this.slots.nrSlots; slot++) {
      const word = load(this.words, this.at(slot))
      if ((word & COUNT_MASK) === 0) continue
      if (!this.stands(tokenOf(slot, word >>> COUNT_BITS))) continue
      return slot
    }
    return -1
  }

  private at(slot: number): number {
    return this.index + slot * CACHE_LINE_WORDS
  }

  private stands(token: number): boolean {
    return this.untilFreed ? !this.slots.isFreed(token) : this.slots.isAlive(token)
  }
}
