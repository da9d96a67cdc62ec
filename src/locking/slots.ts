/*
 * Slots: who is alive.
 *
 * A thread that takes part takes a slot; locks name their owners by slot and generation, so that
 * "who holds this" and "is it still alive" are each one load away. `terminate()` runs no `finally`:
 * what a thread held when it died is told by the words it left behind, and a word that names a
 * generation which is not alive is a word that anyone may take over.
 *
 *     CLAIM   0, or generation << 22 | id of the thread that has the slot
 *     START   when that thread started; 0 until it has said so
 *     STATE   generation << 2 | Free, Alive or Gone
 *
 *     attach                           detach, or reap by any thread
 *     A1  CLAIM: 0 -> mine             R1  STATE: Alive -> Gone (runs no more JavaScript: a hint
 *     A2  START = my start time            is enough; from here on its locks are anyone's)
 *     A3  STATE: Free -> Alive         R2  recover(): wakes every lock's sleepers
 *     A4  ring the doorbell            R3  only if the kernel's thread is gone (its asynchronous
 *                                          I/O may still write): STATE: Gone -> Free, the next
 *                                          generation
 *                                      R4  recover() again, for what outlives the thread's code
 *                                      R5  START: its start time -> 0
 *                                      R6  CLAIM: its claim -> 0
 *
 * Claim and identification are one word (A1), so a thread that dies between any two steps leaves
 * a slot that says who had it; START is 0 before A2, and then the id alone identifies.
 *
 * All steps of a reaper are compare-exchanges from what it saw, and it looks at CLAIM twice, so
 * that what it saw between is of one owner. So two may reap at once, each may die and be followed
 * by the next, and R2, R4 may run twice: they name the dead by generation, and cannot touch the
 * slot's next owner, even if the kernel gave that the same id. R6 comes last: nobody attaches
 * before the slot is whole. (A generation comes back after 2^19 attaches of one slot, the bits of
 * it in a claim after 2^9, to the same id: nobody sleeps between two of these steps for so long.)
 *
 * Checked by slots.check.ts.
 */
import { add, compareExchange, load, notify, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { requireWords } from './words.ts'

/** Words that a processor moves at once: what threads write apart is that far apart. */
export const CACHE_LINE_WORDS = 16
/** Slots that one set can have: an owner fits in a word beside its flags. */
export const SLOTS_MAX = 1023

/** A waiter looks at least this often whether the thread that it waits for still lives. */
export const HEARTBEAT_MS = 100

/** What a slot's thread is: attached, or dead with its slot still taken. */
export const Status = { Free: 0, Alive: 1, Gone: 2 } as const

const TID_BITS = 22
const SLOT_BITS = 10
const SLOT_MASK = (1 << SLOT_BITS) - 1
const GENERATION_MASK = (1 << 19) - 1
const STATUS_MASK = 3

/** Rung when the service thread has something to do; it sleeps on this word of the slots. */
export const DOORBELL = 0
const STATE = 0
const CLAIM = 1
const START = 2

/** Thread ids are 1 to `TID_MAX`, as the kernel's are. */
export const TID_MAX = (1 << TID_BITS) - 1

/** Tells threads of the process apart, and the living from the dead. From `arch/`. */
export interface ThreadOracle {
  /** The calling thread's id, from 1 to `TID_MAX`. */
  readonly tid: number
  /** When the calling thread started, in the oracle's own unit; tells two users of one id apart. */
  readonly start: number
  /** Whether the thread that had this id and start time can still touch memory. */
  exists(tid: number, start: number): boolean
}

/** A lock, as the recovery after a death sees it. */
export interface Recoverable {
  /**
   * Wakes every sleeper, so that they see that `token` is not alive, or freed, any more.
   * Runs in any thread, any number of times.
   */
  recover(token: number): void
}

/**
 * The name of an owner in a lock word: generation and slot, in 29 bits; 0 is nobody.
 *
 * @param index Slot, from 0.
 */
export function tokenOf(index: number, generation: number): number {
  return (generation << SLOT_BITS) | (index + 1)
}

/** The slot that a token names. */
export function slotOfToken(token: number): number {
  return (token & SLOT_MASK) - 1
}

/** The generation that a token names. */
export function generationOfToken(token: number): number {
  return token >>> SLOT_BITS
}

/** References to one thing that a thread holds. */
export interface References {
  /** How many the calling thread's slot holds. */
  mine(): number
}

/** A thread's own slot. Locks are made with it; it is not to be used by another thread. */
export class Slot {
  readonly slots: Slots
  readonly index: number
  readonly generation: number
  /** How lock words name this thread; 0 once detached. */
  token: number
  /** What this thread's asynchronous I/O may be using: while there is any, the slot stays taken. */
  readonly references: References[] = []
  /** Asked only once detached: throws `ENODEV` if the whole machine is shut down. Null: nobody. */
  assertOpen: ((operation: string) => void) | null = null

  constructor(slots: Slots, index: number, generation: number) {
    this.slots = slots
    this.index = index
    this.generation = generation
    this.token = tokenOf(index, generation)
  }

  /**
   * @throws {HotplugError} `ENODEV`: the machine is shut down, and the slot detached. `EINVAL`: the
   *   slot alone has been detached.
   */
  assertAttached(operation: string): void {
    if (this.token === 0) {
      this.assertOpen?.(operation)
      throw new HotplugError('EINVAL', operation, `slot ${this.index} is detached`)
    }
  }

  /**
   * Gives the slot back. What the thread still holds is released as if it had died: locks at once,
   * references with the slot, when the thread is gone.
   *
   * @throws {HotplugError} `EINVAL`: detached already.
   */
  detach(): void {
    this.assertAttached('detach')
    const hasReferences = this.references.some(references => references.mine() > 0)
    this.token = 0
    this.slots.close(this.index, this.generation)
    if (!hasReferences) this.slots.free(this.index, this.generation)
  }
}

/** The table of slots: `Slots.words(nrSlots)` words of shared memory, zeroed. */
export class Slots {
  readonly words: Words
  readonly nrSlots: number
  private readonly recoverables: Recoverable[] = []

  /** Words of shared memory that `nrSlots` slots need. */
  static words(nrSlots: number): number {
    return (1 + nrSlots) * CACHE_LINE_WORDS
  }

  /**
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or not of 1 to `SLOTS_MAX` whole
   *   slots.
   */
  constructor(words: Words) {
    requireWords('slots', words, 0, Slots.words(1))
    this.words = words
    this.nrSlots = words.length / CACHE_LINE_WORDS - 1
    if (!Number.isInteger(this.nrSlots) || this.nrSlots > SLOTS_MAX) {
      const reason = `its ${words.length} words are not those of 1 to ${SLOTS_MAX} slots`
      throw new HotplugError('EINVAL', 'make slots', reason)
    }
  }

  /**
   * Takes a free slot, one of [`from`, `to`), for the calling thread.
   *
   * @throws {HotplugError} `ENOSPC`: every slot is taken. `EINVAL`: a thread id that cannot be.
   */
  attach(oracle: ThreadOracle, from = 0, to: number = this.nrSlots): Slot {
    if (!(oracle.tid > 0 && oracle.tid <= TID_MAX)) {
      throw new HotplugError('EINVAL', 'attach', `thread id ${oracle.tid} is not 1 to ${TID_MAX}`)
    }
    for (let index = from; index < to; index++) {
      const found = load(this.words, this.at(index, CLAIM))
      if (found !== 0) continue
      const generation = load(this.words, this.at(index, STATE)) >>> 2
      const mine = (generation << TID_BITS) | oracle.tid
      if (compareExchange(this.words, this.at(index, CLAIM), 0, mine) !== 0) continue // A1
      store(this.words, this.at(index, START), oracle.start) // A2
      const state = load(this.words, this.at(index, STATE))
      assert((state & STATUS_MASK) === Status.Free, `slots: ${index} was claimed while in use`)
      store(this.words, this.at(index, STATE), state | Status.Alive) // A3
      this.ring() // A4
      return new Slot(this, index, state >>> 2)
    }
    throw new HotplugError('ENOSPC', 'attach', `all ${to - from} slots are taken`)
  }

  /** Whether the owner that `token` names can still release what it holds. One load. */
  isAlive(token: number): boolean {
    const state = load(this.words, this.at(slotOfToken(token), STATE))
    return state === ((generationOfToken(token) << 2) | Status.Alive)
  }

  /** Whether nothing of that owner is left, not even asynchronous I/O in flight. */
  isFreed(token: number): boolean {
    const state = load(this.words, this.at(slotOfToken(token), STATE))
    return state >>> 2 !== generationOfToken(token)
  }

  /** The token of the thread that has slot `index` alive, or 0. */
  tokenAt(index: number): number {
    const state = load(this.words, this.at(index, STATE))
    return (state & STATUS_MASK) === Status.Alive ? tokenOf(index, state >>> 2) : 0
  }

  /** What slot `index` is: `generation << 2 | Status`. */
  stateAt(index: number): number {
    return load(this.words, this.at(index, STATE))
  }

  /** From now on every death that this thread reaps is told to `lock`. */
  register(lock: Recoverable): void {
    this.recoverables.push(lock)
  }

  /**
   * The thread runs no more JavaScript: what it held is released. Its slot stays taken.
   *
   * @returns Whether it was alive until now.
   */
  close(index: number, generation: number): boolean {
    const alive = (generation << 2) | Status.Alive
    const gone = (generation << 2) | Status.Gone
    const closed = compareExchange(this.words, this.at(index, STATE), alive, gone) === alive // R1
    this.recover(tokenOf(index, generation)) // R2
    return closed
  }

  /** The thread is gone from the machine: its slot can be taken again. Call after `close`. */
  free(index: number, generation: number): void {
    const claim = load(this.words, this.at(index, CLAIM))
    const start = load(this.words, this.at(index, START))
    const gone = (generation << 2) | Status.Gone
    const next = ((generation + 1) & GENERATION_MASK) << 2
    if (compareExchange(this.words, this.at(index, STATE), gone, next) !== gone) return // R3
    this.unclaim(index, claim, start, generation)
  }

  /**
   * Looks at one slot; if its thread has died, releases what it held and frees the slot.
   *
   * @returns Whether the slot was freed.
   */
  reap(index: number, oracle: ThreadOracle): boolean {
    const claim = load(this.words, this.at(index, CLAIM))
    if (claim === 0) return false
    const start = load(this.words, this.at(index, START))
    const state = load(this.words, this.at(index, STATE))
    const same = load(this.words, this.at(index, CLAIM))
    if (same !== claim) return false // what was seen between is not of one owner
    if (oracle.exists(claim & TID_MAX, start)) return false
    const generation = state >>> 2
    if ((state & STATUS_MASK) === Status.Free) {
      this.unclaim(index, claim, start, (generation - 1) & GENERATION_MASK) // died in A2, A3, R4-R6
      return true
    }
    this.close(index, generation)
    this.free(index, generation)
    return true
  }

  /** Rings the service thread's doorbell. */
  ring(): void {
    add(this.words, DOORBELL, 1)
    notify(this.words, DOORBELL)
  }

  private unclaim(index: number, claim: number, start: number, generation: number): void {
    this.recover(tokenOf(index, generation)) // R4
    compareExchange(this.words, this.at(index, START), start, 0) // R5
    compareExchange(this.words, this.at(index, CLAIM), claim, 0) // R6
    this.ring()
  }

  private recover(token: number): void {
    for (let i = 0; i < this.recoverables.length; i++) this.recoverables[i]!.recover(token)
  }

  private at(index: number, field: number): number {
    return (1 + index) * CACHE_LINE_WORDS + field
  }
}
