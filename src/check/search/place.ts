/*
 * A place: everything about a thread that is its own. See places.ts.
 */
import type { Row } from './rows.ts'

/** What a thread is at; a zombie is dead and still in a queue. */
export const Mode = { Live: 0, Asleep: 1, Dead: 2, Zombie: 3 } as const
/** One of `Mode`. */
export type Mode = (typeof Mode)[keyof typeof Mode]

/** A plain store that reached memory before the plain load that the thread stands before. */
export interface Early {
  readonly word: number
  readonly value: number
}

/** What tells a place from the others of its class. */
export interface PlaceKey {
  /** -1: dead. */
  readonly node: number
  readonly mode: Mode
  /** Plain stores that are not in memory yet, oldest first: pairs of word and value. */
  readonly pending: readonly number[]
  /** Mask of the deaths that the thread was told of. */
  readonly told: number
  readonly early: Early | null
  /** The word on which it sleeps, dead or alive; else -1. */
  readonly queue: number
}

/** A place, with what follows from it. */
export interface Place extends PlaceKey {
  readonly threadClass: number
  /** Number within its class, from 0. */
  readonly index: number
  readonly dead: boolean
  /** Index of its label; 0 once dead. */
  readonly label: number
  /** Neither asleep nor before an operation: done, dead or failed. */
  readonly finished: boolean
  readonly failed: boolean
  /** Holds back stores, or has made one early: no barrier is passed now. */
  readonly dirty: boolean
  rows: readonly Row[] | null
  woken: Place | null
}
