/*
 * The end of every GOING: who heard that a block goes on or off hears how that ended, once,
 * whoever dies in between.
 *
 *     GOING     0, or block << 3 | zone << 2 | way: notifiers may have heard of it, and not yet of
 *               its end
 *
 *     operator, with `memAddRemoveLock`              whoever has that lock next
 *     E1  GOING = block and way; the block is on      E0  GOING is not 0: if the block is on its
 *         its way                                         way still, recovery.ts; then E3, E4
 *         GOING_ONLINE or GOING_OFFLINE
 *     E2  the block comes to rest
 *     E3  notifiers are told the end
 *     E4  GOING = 0
 *
 * One word is enough for all blocks: there is one operator at a time, and it begins with E0.
 *
 * Which end it is follows from the way and from where the block came to rest, so that no death
 * between E2 and a note of it can make the two differ:
 *
 *                            at rest Online      at rest Offline
 *     way: on                ONLINE              CANCEL_ONLINE
 *     way: off               CANCEL_OFFLINE      OFFLINE
 *
 * GOING says what may be owed, also where nobody has heard of it: a CANCEL that nobody waits for
 * is passed over by all (notifiers.ts).
 *
 * At least once: GOING stands from before the first notifier hears of it until the last has heard
 * the end; and what a dead operator owes, the service thread has told if nobody else comes, and
 * its successor if it dies as well. At most once: who dies in E3 or before E4 has some told again,
 * and each notifier's own thread passes over an end that is the last that it has read; between two
 * ends that look alike, it reads another (notifiers.ts).
 *
 * Checked by recovery.check.ts.
 */
import { assert } from '../lib/assert.ts'
import type { Slot } from '../locking/slots.ts'
import type { Blocks } from './blocks.ts'
import { BlockState } from './geometry.ts'
import type { Box } from './mailboxes.ts'
import type { MemoryAction, Notifiers } from './notifiers.ts'

/** Which way a block goes, in `GOING`. */
export const Way = { On: 1, Off: 2 } as const

const WAY_MASK = 3
const ZONE_SHIFT = 2
const BLOCK_SHIFT = 3

/** E1. Call with `memHotplugLock` held for writing, before the block's state changes. */
export function beginGoing(blocks: Blocks, block: number, kind: number, way: number): void {
  const before = blocks.going()
  assert(before === 0, `ends: nobody was told how ${before} ended`)
  blocks.setGoing((block << BLOCK_SHIFT) | (kind << ZONE_SHIFT) | way)
}

/** The block that `GOING` is about. */
export function blockOfGoing(going: number): number {
  return going >>> BLOCK_SHIFT
}

/** How what `GOING` says ended, by the state that its block has come to rest in. */
export function endOf(going: number, state: number): MemoryAction {
  const isOnline = state === BlockState.Online
  assert(isOnline || state === BlockState.Offline, `ends: ${going} has not ended`)
  if ((going & WAY_MASK) === Way.On) return isOnline ? 'ONLINE' : 'CANCEL_ONLINE'
  return isOnline ? 'CANCEL_OFFLINE' : 'OFFLINE'
}

/** What it takes to tell. */
interface Teller {
  readonly blocks: Blocks
  readonly notifiers: Notifiers
  readonly locks: { readonly slot: Slot }
}

/** Whether what `GOING` is about is on its way. Call as the next. */
export function isUnderWay(blocks: Blocks): boolean {
  const going = blocks.going()
  if (going === 0) return false
  const state = blocks.state(blockOfGoing(going))
  return state === BlockState.GoingOnline || state === BlockState.GoingOffline
}

/**
 * E3, E4: tells what is still to be told, if anything is. Call with `memAddRemoveLock` held.
 *
 * @param only Whom: those who heard of it, of what is cancelled; all if left out.
 * @throws {HotplugError} `EINVAL`: the slot is detached; it is still to be told.
 */
export async function tellEnd(
  { blocks, notifiers, locks }: Teller,
  only?: readonly Box[],
): Promise<void> {
  const going = blocks.going()
  if (going === 0) return
  const block = blockOfGoing(going)
  const action = endOf(going, blocks.state(block))
  await notifiers.call(action, block, (going >>> ZONE_SHIFT) & 1, { only }) // E3
  locks.slot.assertAttached(`tell of ${action}`) // else the word is another's by now
  blocks.setGoing(0) // E4
}
