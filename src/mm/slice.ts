import type { Batch, Leftover } from './migration.ts'

const STOPS: readonly Batch['stopped'][] = ['no', 'empty', 'noRoom', 'inside']

/** What the service thread did for one request to move pages of a block. */
export interface Slice {
  readonly moved: number
  /** Pages of the block that somebody has. */
  readonly left: number
  /** Whether some of them cannot move. */
  readonly isUnmovable: boolean
  /** Why it went no further. */
  readonly stopped: Batch['stopped']
  /** The slot of a thread that stayed inside the guard; else -1. */
  readonly slot: number
  readonly longestBatchMs: number
}

/** As words, for the mailbox. */
export function sliceWords(
  moved: number,
  { stopped, slot }: Batch,
  { pages, unmovable }: Leftover,
  longestBatchMs: number,
): number[] {
  const stop = STOPS.indexOf(stopped)
  return [moved, pages, unmovable.length, stop, slot, Math.ceil(longestBatchMs * 1000)]
}

/** From such words. */
export function sliceOf(words: readonly number[]): Slice {
  const [moved, left, nrUnmovable, stop, slot, longest] = words as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const longestBatchMs = longest / 1000
  const isUnmovable = nrUnmovable > 0
  return { moved, left, isUnmovable, stopped: STOPS[stop]!, slot, longestBatchMs }
}
