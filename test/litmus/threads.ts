import { AssertionError } from 'node:assert'
import type { Words } from '#atomics'
import { HotplugError } from '../../src/lib/errors.ts'
import { generationOfToken, Slot, Slots, slotOfToken } from '../../src/locking/slots.ts'

/** Fills a model's view of `Slots.words(n)` words with `n` living threads, thread i in slot i. */
export function aliveThreads(words: Words): void {
  const slots = new Slots(words)
  for (let index = 0; index < slots.nrSlots; index++) {
    slots.attach({ tid: index + 1, start: 1, exists: () => true })
  }
}

/** The slot of a model's thread `id`, attached by `aliveThreads`. */
export function slotOf(words: Words, id: number): Slot {
  return new Slot(new Slots(words), id, 0)
}

/**
 * Whether a word names a thread that lives, when a model with one death has ended: a lock that
 * nobody will release. Thread i has slot i.
 */
export function namesLiving(token: number, isDead: (id: number) => boolean): boolean {
  if (token === 0) return false
  return generationOfToken(token) > 0 || !isDead(slotOfToken(token))
}

/** The code of the error that a call throws; `''` if it throws none. */
export function codeOf(call: () => void): string {
  try {
    call()
    return ''
  } catch (error) {
    if (!(error instanceof HotplugError)) throw error
    return error.code
  }
}

/** The message of the assertion that a call fails; `''` if it fails none. */
export function bugOf(call: () => void): string {
  try {
    call()
    return ''
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error
    return error.message
  }
}
