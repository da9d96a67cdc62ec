/*
 * What a dead operator left on its way, and where it goes.
 *
 *     Adding          -> Absent     its memory leaves again
 *     GoingOnline     -> Offline    no page of it was given out
 *     Online          -> Online     its pages are given to the zone again, in case they were not
 *     GoingOffline    -> Online     the same; it gives out pages again
 *     Removing        -> Absent     it is finished: nobody is left to give it up
 *
 * By the service thread, with `memAddRemoveLock` held (by it, or by the operation that asks) and
 * `memHotplugLock` for writing. Each step can be done again, so whoever recovers may die as well.
 * Notifiers hear of it afterwards, by what a word says that is still theirs (ends.ts).
 *
 * Checked by recovery.check.ts.
 */
import type { Blocks } from './blocks.ts'
import { BlockState } from './geometry.ts'
import type { Zone } from './zone.ts'

/**
 * Puts every block to rest.
 *
 * @param discard Has a block's memory leave.
 */
export function recoverBlocks(
  blocks: Blocks,
  zones: readonly Zone[],
  discard: (block: number) => void,
): void {
  const high = blocks.high()
  for (let block = 0; block < high; block++) {
    const state = blocks.state(block)
    if (state === BlockState.Absent || state === BlockState.Offline) continue
    if (state === BlockState.Adding || state === BlockState.Removing) {
      discard(block)
      blocks.setState(block, BlockState.Absent)
    } else if (state === BlockState.GoingOnline) {
      blocks.setState(block, BlockState.Offline)
    } else {
      const kind = blocks.zoneKind(block)
      zones[kind]!.giveBlock(block)
      blocks.setState(block, BlockState.Online)
    }
  }
  blocks.count()
}
