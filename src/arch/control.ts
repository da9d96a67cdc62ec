import type { Words } from '#atomics'
import { HotplugLocks } from '../locking/hotplug-locks.ts'
import { Lockdep } from '../locking/lockdep.ts'
import { CACHE_LINE_WORDS, Slots } from '../locking/slots.ts'
import { FAMILY_WORDS } from './oracle.ts'

/** The slot that is the service thread's; others take the ones after it. */
export const SERVICE_SLOT = 0

/** A machine's control buffer: one SharedArrayBuffer, and what lies where in it. Cloneable. */
export interface Control {
  readonly slots: Words
  /** Requests for barriers. */
  readonly barrier: Words
  /** One word: not 0 once the service thread shall end. */
  readonly stop: Words
  /** Who made which worker. */
  readonly family: Words
  readonly locks: Words
  /** Null: lockdep is off. */
  readonly lockdep: Words | null
}

/** Whether it can be what `makeControl` made, in this thread or another. */
export function isControl(value: unknown): value is Control {
  const { slots, barrier, stop, family, locks, lockdep } = Object(value) as Partial<Control>
  const isWords = (words: unknown): boolean =>
    words instanceof Int32Array && words.buffer instanceof SharedArrayBuffer
  return (
    [slots, barrier, stop, family, locks].every(isWords) && (lockdep === null || isWords(lockdep))
  )
}

/** A control buffer for `nrSlots` slots, one of them the service thread's, all free. */
export function makeControl(nrSlots: number, lockdep: boolean): Control {
  const sizes = [
    Slots.words(nrSlots),
    CACHE_LINE_WORDS,
    CACHE_LINE_WORDS,
    FAMILY_WORDS,
    HotplugLocks.words(nrSlots),
    lockdep ? Lockdep.WORDS : 0,
  ]
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const buffer = new SharedArrayBuffer(total * Int32Array.BYTES_PER_ELEMENT)
  let at = 0
  const take = (nrWords: number): Words => {
    const words = new Int32Array(buffer, at * Int32Array.BYTES_PER_ELEMENT, nrWords)
    at += nrWords
    return words
  }
  const [slots, barrier, stop, family, locks, graph] = sizes.map(take) as [
    Words,
    Words,
    Words,
    Words,
    Words,
    Words,
  ]
  return { slots, barrier, stop, family, locks, lockdep: lockdep ? graph : null }
}
