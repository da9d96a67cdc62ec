/*
 * What a dead operator left on its way, and where it goes.
 *
 *     Adding          -> Absent     its memory leaves again
 *     GoingOnline     -> Offline    no page of it was given out
 *     Online          -> Online     its pages are given to the zone again, in case they were not
 *     GoingOffline    -> Online     the same; it gives out pages again
 *     Removing        -> Absent     a removal cannot fail: it is finished
 *
 * By the service thread, with `memAddRemoveLock` held (by it, or by the operation that asks) and
 * `memHotplugLock` for writing. Each step can be done again, so whoever recovers may die as well.
 *
 * Checked by recovery.check.ts.
 */
import type { Blocks } from './blocks.ts'
import { BlockState } from './geometry.ts'
import { RESULTS_MAX } from './requests.ts'
import type { Zone } from './zone.ts'

/** A block whose way was undone, and what notifiers are to be told. */
export interface Recovered {
  readonly block: number
  readonly action: 'CANCEL_ONLINE' | 'CANCEL_OFFLINE'
}

const ONLINE = 1
const OFFLINE = 2

/**
 * Puts every block to rest.
 *
 * @param discard Has a block's memory leave.
 * @returns For notifiers: words, of which `recovered` makes sense.
 */
export function recoverBlocks(
  blocks: Blocks,
  zones: readonly Zone[],
  discard: (block: number) => void,
): number[] {
  const { geometry } = blocks
  const undone: number[] = []
  for (let block = 0; block < geometry.nrBlocks; block++) {
    const state = blocks.state(block)
    if (state === BlockState.Absent || state === BlockState.Offline) continue
    if (state === BlockState.Adding || state === BlockState.Removing) {
      discard(block)
      blocks.setState(block, BlockState.Absent)
    } else if (state === BlockState.GoingOnline) {
      blocks.setState(block, BlockState.Offline)
      undone.push((block << 2) | ONLINE)
    } else {
      const kind = blocks.zoneKind(block)
      zones[kind]!.giveBlock(block)
      blocks.setState(block, BlockState.Online)
      if (state === BlockState.GoingOffline) undone.push((block << 2) | OFFLINE)
    }
  }
  blocks.count()
  const told = undone.slice(0, RESULTS_MAX - 1)
  return [told.length, ...told]
}

/** What `recoverBlocks` said. */
export function recovered(words: readonly number[]): Recovered[] {
  const [count, ...undone] = words
  return undone.slice(0, count).map(word => ({
    block: word >>> 2,
    action: (word & 3) === ONLINE ? 'CANCEL_ONLINE' : 'CANCEL_OFFLINE',
  }))
}
