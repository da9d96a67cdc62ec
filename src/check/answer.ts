/*
 * What `hotplug-check` and its processes (lane.ts) tell each other.
 */
import type { BatchOptions, Tally } from './batch.ts'

/** A file to check. */
export interface Order {
  readonly file: string
  readonly options: BatchOptions
}

/** What became of it. */
export interface Answer {
  /** Its table. */
  readonly text: string
  readonly tally: Tally
}

/** The answer if no model of the file could be checked. */
export function lost(text: string): Answer {
  return { text, tally: { models: 0, failed: 1, states: 0, ms: 0 } }
}
