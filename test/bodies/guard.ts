/* What threads of the access guard's tests do. */
import { Guard } from '../../src/locking/guard.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'

/** Shared memory of one test. */
export interface GuardData {
  readonly handle: LocksHandle
  /** The guard's own words. */
  readonly guard: Int32Array
  /** Words that the threads tell each other by, as below. */
  readonly words: Int32Array
}

/** 1 when a thread is inside. */
export const INSIDE = 0
/** 1 when it is to leave, or to end. */
export const END = 1
/** The slot of the thread that is inside. */
export const SLOT = 2
/** Which of two pairs is published: 0 or 1. */
export const PUBLISHED = 3
/** How often a thread read a pair. */
export const READS = 4
/** How often the two of a pair were not the same. */
export const TORN = 5
/** Two pairs, in cache lines of their own. */
export const PAIRS = 16

/** Enters, says so, and leaves when told. */
export function stayInside({ handle, guard, words }: GuardData): void {
  const locks = Locks.attach(handle)
  const own = new Guard(locks.slot, guard, 0)
  own.enter()
  Atomics.store(words, SLOT, locks.slot.index)
  Atomics.store(words, INSIDE, 1)
  Atomics.wait(words, END, 0)
  own.leave()
  locks.detach()
}

/** Reads the published pair, in and out again, until told to end. */
export function readPairs({ handle, guard, words }: GuardData): void {
  const locks = Locks.attach(handle)
  const own = new Guard(locks.slot, guard, 0)
  let reads = 0
  let torn = 0
  while (Atomics.load(words, END) === 0) {
    own.enter()
    const at = PAIRS + (words[PUBLISHED] as number) * 16
    if (words[at] !== words[at + 1]) torn++
    own.leave()
    if ((++reads & 0xff) === 0) Atomics.store(words, READS, reads)
  }
  Atomics.add(words, TORN, torn)
  locks.detach()
}
