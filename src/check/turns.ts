/*
 * Taking turns on real threads: what a replay and its workers have in common. See workers.ts.
 */
import type { Kind, Move } from './program.ts'

/** The result of an operation that does not end. */
export const ASLEEP = -1

/** A step of the schedule with all that it does in the model. */
export interface Turn {
  readonly thread: number
  readonly move: Move
  readonly kind: Kind
  readonly word: number
  readonly a: number
  readonly b: number
  /** What it results in; `ASLEEP` if the thread falls asleep. */
  readonly result: number
  readonly woken: readonly number[]
}

/** What a worker of a replay is given. */
export interface WorkerInput {
  readonly file: string
  readonly model: string
  readonly thread: number
  readonly words: SharedArrayBuffer
  readonly control: SharedArrayBuffer
  readonly turns: readonly Turn[]
}

/** What a thread is at: nothing to wait for, before an operation, in a sleep, at its end. */
export const Status = { Runs: 0, Waits: 1, Asleep: 2, Done: 3, Threw: 4 } as const
/** One of `Status`. */
export type Status = (typeof Status)[keyof typeof Status]

/** The control buffer of a replay. */
export class Control {
  /** Index of the step that is due. */
  static readonly STEP = 0
  readonly words: Int32Array
  readonly buffer: SharedArrayBuffer

  /** A control buffer for `nrThreads` threads. */
  static buffer(nrThreads: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (1 + 2 * nrThreads))
  }

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.words = new Int32Array(buffer)
  }

  /** Index of a thread's status. */
  status(thread: number): number {
    return 1 + 2 * thread
  }

  /** Index of what a thread is to wake with, plus 1; 0 while it is to sleep on. */
  woken(thread: number): number {
    return 2 + 2 * thread
  }

  /** Step `step` is done. */
  advance(step: number): void {
    this.set(Control.STEP, step + 1)
  }

  /** Changes a word and wakes those that wait for that. */
  set(index: number, value: number): void {
    Atomics.store(this.words, index, value)
    Atomics.notify(this.words, index)
  }

  /** Blocks until step `step` is due. */
  await(step: number): void {
    for (let due = 0; (due = Atomics.load(this.words, Control.STEP)) !== step; ) {
      Atomics.wait(this.words, Control.STEP, due)
    }
  }
}
