/*
 * Automata learned from source (stub: the signatures stand, the rest follows).
 */
import type { Program } from '../program.ts'

/** A stretch of the model's words, handed to bodies as one Int32Array. All lie in one buffer. */
export interface LearnView {
  /** Its first word's number. */
  readonly start: number
  /** Words. */
  readonly length: number
}

/** What a body is given beside its views. The same two functions in every run of a thread. */
export interface LearnFace {
  /** Says where the thread is from now on. No step. */
  readonly cs: (label: string) => void
  /** A step of `Kind.AwaitDeath`. */
  readonly awaitDeath: () => number
}

/** What to learn. */
export interface LearnSpec {
  /** Words of shared memory. */
  readonly nrWords: number
  readonly views: readonly LearnView[]
  /**
   * By thread: runs its body once, from the start. Called about once an edge; must make everything
   * that the body may change anew, and call the body directly, without a callback in between.
   */
  readonly bodies: readonly ((views: readonly Int32Array[], face: LearnFace) => void)[]
  /**
   * When two moments of a thread are one: `frames` if its stack and variables are equal (needs
   * code loaded through `hotplug/check/register`), `history` if its results so far are.
   */
  readonly identity: 'frames' | 'history'
}

/** What an audit did. */
export interface Audited {
  /** Histories that led to a moment known from another one. */
  readonly merged: number
  /** Continuations that were run again. */
  readonly runs: number
}

/** The automata of a model's threads, learned as they are asked for. */
export interface Automaton extends Program {
  /** How often a body was run. */
  readonly codeRuns: number
  /**
   * Runs every history again that was merged into a known moment, along random known
   * continuations, which must meet the same operations.
   *
   * @throws {Refusal} they do not: names the place and both histories.
   */
  audit(options: { readonly rounds: number; readonly seed: number }): Audited
}

/**
 * Learns the roots; everything else when `next()` asks for it.
 *
 * Install nothing before: views are made, and what a body can see of clocks, timers and the real
 * Atomics is guarded, during each run of a body only.
 *
 * @throws {Refusal} a body did something that cannot be captured before its first operation.
 */
export declare function learn(spec: LearnSpec): Automaton
