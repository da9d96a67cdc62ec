/*
 * What `hotplug-check` and its processes (lane-main.ts) tell each other.
 */
import type { BatchOptions } from './batch.ts'
import type { Tally } from './tally.ts'

/** A file to check. */
export interface Request {
  readonly file: string
  readonly options: BatchOptions
}

/** What became of it. */
export interface Response {
  /** Its table, or why it could not be checked. */
  readonly text: string
  /** Null if it could not be checked. */
  readonly tally: Tally | null
}
