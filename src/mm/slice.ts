import type { Batch, Leftover } from './migration.ts'

const STOPS: readonly Batch['stopped'][] = ['no', 'empty', 'noRoom', 'inside']

type Six = [number, number, number, number, number, number]

/** What the service thread did for one request to move pages of a block. */
export interface Slice {
  readonly moved: number
  /** Pages of the block that somebody has. */
  readonly left: number
  /** Whether some of them cannot move. */
  readonly isUnmovable: boolean
  /** Why it went no further. */
  readonly stopped: Batch['stopped']
  /** The slot of a thread that stays inside the guard, which it waits for; -1: of none. */
  readonly inside: number
  readonly longestBatchMs: number
}

/** As words, for the answer to a request. */
export function sliceWords(
  moved: number,
  { stopped, inside }: Batch,
  { pages, isUnmovable }: Leftover,
  longestBatchMs: number,
): number[] {
  const stop = STOPS.indexOf(stopped)
  return [moved, pages, Number(isUnmovable), stop, Math.ceil(longestBatchMs * 1000), inside]
}

/** From such words. */
export function sliceOf(words: readonly number[]): Slice {
  const [moved, left, unmovable, stop, longest, inside] = words as Six
  const stopped = STOPS[stop]!
  return {
    moved,
    left,
    isUnmovable: unmovable !== 0,
    stopped,
    inside,
    longestBatchMs: longest / 1000,
  }
}
