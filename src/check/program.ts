/*
 * What the two halves of the checker agree on: learned threads.
 *
 * A thread that shares nothing but words is an automaton: what it does next is a function of the
 * results of its own earlier operations. `learn/` runs the source to find out (each local edge
 * once); `search/` explores the product of the automata and never runs user code in its hot loop.
 */

/** Operations a thread can stand before. Those below `Done` are steps; `Fail` is an exception. */
export const Kind = {
  Load: 0,
  Store: 1,
  Add: 2,
  Sub: 3,
  And: 4,
  Or: 5,
  Xor: 6,
  Exchange: 7,
  CompareExchange: 8,
  /** `a` is the value slept on, `b` 1 if the sleep has a timeout. */
  Wait: 9,
  /** `a` is how many to wake. */
  Notify: 10,
  LoadPlain: 11,
  StorePlain: 12,
  /** Every thread's plain stores become visible. */
  BarrierAll: 13,
  /** Blocks until a thread is dead that this thread has not been told of; results in its index. */
  AwaitDeath: 14,
  Done: 15,
  Fail: 16,
} as const
/** One of `Kind`. */
export type Kind = (typeof Kind)[keyof typeof Kind]

/** Results of `Kind.Wait`. */
export const Woke = { Ok: 0, NotEqual: 1, TimedOut: 2 } as const

/** `a` of a `Kind.Notify` that wakes all. */
export const NOTIFY_ALL = 0x7fffffff

/** Plain stores of one thread that may be on their way to memory at once. */
export const BUFFER_MAX = 4

/** A place in the source. */
export interface Site {
  readonly file: string
  readonly line: number
  /** The call as written, for example `compareExchange(this.words, this.index, 0, mine)`. */
  readonly text: string
}

/**
 * The automata of a model's threads. Nodes are numbered from 0 over all threads.
 *
 * The arrays are indexed by node and grow: read them anew after each `next()` that learned.
 */
export interface Program {
  readonly nrThreads: number
  /** Words of shared memory; a node's `word` is below it. */
  readonly nrWords: number
  /** Each thread's first node. */
  readonly roots: readonly number[]
  /** Nodes so far. Grows when `next` learns. */
  readonly nrNodes: number
  /** Known edges so far; with `nrNodes` it tells whether `next` learned. */
  readonly nrEdges: number
  readonly kind: Int32Array
  readonly word: Int32Array
  readonly a: Int32Array
  readonly b: Int32Array
  /** Index into `labels` of what `cs()` said last; 0 is ''. */
  readonly label: Int32Array
  readonly labels: readonly string[]
  readonly thread: Int32Array
  /**
   * Plain stores since the thread's last atomic operation but loads, oldest first, at most the last
   * `BUFFER_MAX`: pairs of word and value. Empty for most nodes.
   */
  stores(node: number): readonly number[]
  /**
   * What plain loads returned since the thread's last store or atomic operation: pairs of word
   * and value. The compiler may let a later plain load of that word return it again.
   */
  reads(node: number): readonly number[]
  /**
   * The node after `node`'s operation resulted in `result`; runs the source if that edge is new.
   *
   * @throws {Refusal} the source did something that cannot be captured.
   */
  next(node: number, result: number): number
  /** The edge if it is known, else -1. Never runs the source. */
  known(node: number, result: number): number
  /** Where the node's operation stands, innermost call first. */
  sites(node: number): readonly Site[]
  /** The message of a `Kind.Fail` node. */
  error(node: number): string
}

/** A thread of a model, as the search sees it. */
export interface ThreadSpec {
  readonly name: string
  /** Threads of one group (a number from 0) are interchangeable; -1: of none. */
  readonly group: number
  /** Need not finish: a recovery that waits for deaths. */
  readonly daemon: boolean
  /** Whether it may die. No daemon does. */
  readonly mortal: boolean
}

/** How a thread moved. All but `run` are choices of the machine, not of the source. */
export const Move = {
  /** Its next operation. */
  Run: 0,
  /** Its oldest plain store reaches memory. */
  Flush: 1,
  /** Its plain load returned the value that it returned last time. */
  Stale: 2,
  /** A wait with a timeout timed out. */
  TimeOut: 3,
  /** A sleeper woke without a reason. */
  Spurious: 4,
  /** It died before its next operation, or in its sleep. */
  Die: 5,
  /** It died in its sleep, and is still in the queue: it will swallow a wake-up. */
  DieQueued: 6,
  /** arm64: its next plain store overtook the plain load it stands before. */
  Early: 7,
} as const
/** One of `Move`. */
export type Move = (typeof Move)[keyof typeof Move]

/** One move of one thread. */
export interface Step {
  readonly thread: number
  readonly move: Move
}

/** A state, as `never` and `atEnd` see it. Valid during the call only. */
export interface StateView {
  /** Value of a shared word in memory. */
  word(index: number): number
  /** The label index of a thread; 0 once it is dead. */
  label(thread: number): number
  isDead(thread: number): boolean
}

/** What to search, and how. */
export interface SearchSpec {
  readonly threads: readonly ThreadSpec[]
  /** Initial values, `nrWords` of them. */
  readonly initial: Int32Array
  /** True in a state that must not be reached. */
  readonly never?: ((state: StateView) => boolean) | undefined
  /** False in an end state (nobody can move, all but daemons done or dead) that is wrong. */
  readonly atEnd?: ((state: StateView) => boolean) | undefined
  /** How many threads may die; 0 for none. */
  readonly deaths: number
  /** Whether finite waits may time out. */
  readonly timeouts: boolean
  readonly spurious: boolean
  /** `tso`: x86-64's store buffers; `arm` adds `Move.Early`. No difference without plain words. */
  readonly memory: 'tso' | 'arm'
  /** Whether every state must be able to reach an end: a livelock is a set that cannot. */
  readonly livelock: boolean
  readonly mode:
    | { readonly kind: 'all' }
    | { readonly kind: 'fingerprints' }
    | { readonly kind: 'preemptions'; readonly bound: number }
    | { readonly kind: 'pct'; readonly depth: number; readonly runs: number; readonly seed: number }
  /** Whether states are left out in which a thread is about to do what nobody can notice. */
  readonly reduce: boolean
  readonly maxStates: number
  readonly onProgress?: ((states: number) => void) | undefined
}

/** What can go wrong. */
export type FailureKind = 'deadlock' | 'livelock' | 'exception' | 'never' | 'atEnd' | 'overflow'

/** What was found. */
export interface Failure {
  readonly kind: FailureKind
  /** For people: which threads sleep where, what was thrown. */
  readonly message: string
  /** A shortest schedule that leads there (not shortest in `pct` mode). */
  readonly steps: readonly Step[]
}

/** How a search ended. */
export interface SearchResult {
  /** `proved`: every state was seen. `bounded`: nothing found within the mode's bound. */
  readonly verdict: 'proved' | 'bounded' | 'failed'
  readonly failure: Failure | null
  readonly states: number
  readonly transitions: number
  /** Bytes of the visited set and the arena, at the end. */
  readonly bytes: number
}

/** The source cannot be checked: it did something that the checker cannot see or replay. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code = 'ENOTCHECKABLE'
  readonly site: Site | null

  /** @param what What it did, and what to write instead. */
  constructor(what: string, site: Site | null) {
    super(site === null ? what : `${site.file}:${site.line}: ${what}`)
    this.site = site
  }
}
