/*
 * Breadth-first search of all states, from the first one on.
 *
 * What is found first is reached by a shortest schedule. A state with an exception or that `never`
 * refuses is noticed when it is found, one where nobody can move when it is explored; so after the
 * former, those that were found before it are explored still.
 */
import type { FailureKind, SearchSpec, Step } from '../program.ts'
import { Layout, Relayout, repacker } from './layout.ts'
import { Edges } from './livelock.ts'
import { type Hooks, run } from './loop.ts'
import type { Places } from './places.ts'
import { Store } from './store.ts'
import { Flag, Tables } from './tables.ts'
import { learn } from './walk.ts'
import { PackedView, Watch } from './watch.ts'
import { ValuesOverflow } from './words.ts'

/** Something that is wrong. */
export interface Finding {
  readonly kind: FailureKind
  /** The state in which it is seen, or before whose `step`. */
  readonly index: number
  readonly step: Step | null
}

/** What an exploration saw. */
export interface Exploration {
  readonly store: Store
  readonly finding: Finding | null
  readonly bytes: number
}

/** Explores all states. */
export function explore(places: Places, spec: SearchSpec): Exploration {
  learn(places, 1)
  const search = new Search(places, spec)
  search.run()
  return search
}

class Search implements Hooks, Exploration {
  finding: Finding | null = null
  store: Store
  readonly flags: number
  readonly bound: number
  readonly canonical: ((state: Int32Array) => void) | null
  edges: Edges | null = null
  private readonly places: Places
  private readonly spec: SearchSpec
  private readonly watched: Uint8Array
  private tables: Tables
  private watch: Watch | null = null

  constructor(places: Places, spec: SearchSpec) {
    this.places = places
    this.spec = spec
    this.bound = spec.mode.kind === 'preemptions' ? spec.mode.bound : -1
    this.canonical = places.automata.symmetric ? state => this.tables.canonical(state) : null
    this.flags = Flag.Failed
    if (spec.never !== undefined) this.flags |= Flag.Look
    if (this.livelock) this.flags |= Flag.Ended
    this.watched = new Uint8Array(spec.initial.length + 1)
    this.tables = this.newTables()
    this.store = this.begin()
  }

  get bytes(): number {
    return this.store.bytes + (this.edges?.bytes ?? 0)
  }

  run(): void {
    try {
      while (!this.runOnce());
    } catch (error) {
      if (!(error instanceof ValuesOverflow)) throw error
      this.finding = { kind: 'overflow', index: this.store.current, step: this.tables.lastMade }
    }
    if (this.edges === null || this.finding !== null) return
    const trapped = this.edges.firstTrapped(this.store.count)
    if (trapped >= 0) this.report('livelock', trapped)
  }

  /** Runs until all is explored; false if the layout had to be changed before. */
  private runOnce(): boolean {
    try {
      run(this.tables, this.store, this)
      return true
    } catch (error) {
      if (!(error instanceof Relayout)) throw error
      this.relayout()
      return false
    }
  }

  private get livelock(): boolean {
    return this.spec.livelock && this.bound < 0
  }

  /** Goes on with fields wide enough. What fingerprints were taken of is gone: begins again. */
  private relayout(): void {
    const { layout } = this.tables
    this.tables = this.newTables()
    if (this.store.fingerprints) this.store = this.begin()
    else this.store.repack(this.tables.layout.size, repacker(layout, this.tables.layout))
  }

  private newTables(): Tables {
    const { never } = this.spec
    for (let t = 0; t < this.spec.threads.length; t++) this.places.root(t)
    const tables = new Tables(this.places, new Layout(this.places, this.bound), this.watched)
    this.watch = never === undefined ? null : new Watch(tables, never)
    return tables
  }

  /** A store with nothing but the first state. */
  private begin(): Store {
    const { mode, maxStates, onProgress, threads } = this.spec
    const { layout } = this.tables
    this.finding = null
    this.edges = this.livelock ? new Edges() : null
    const store = new Store(layout.size, mode.kind === 'fingerprints', maxStates)
    this.store = store
    store.onProgress = onProgress
    const first = this.tables.first()
    store.addFirst(first)
    const failed = threads.some((_, t) => this.tables.place(t, first, 0).failed)
    this.check(0, failed ? Flag.Failed : Flag.Look)
    return store
  }

  check(index: number, flags: number): void {
    const { store, edges } = this
    const chunk = store.chunk(index)
    const offset = store.offset(index)
    if ((flags & Flag.Failed) !== 0) this.report('exception', index)
    if (this.watch?.isWrong(chunk, offset) === true) this.report('never', index)
    if (edges !== null && this.ended(chunk, offset)) edges.addEnd(index)
  }

  stuck(index: number): void {
    const { store } = this
    const chunk = store.chunk(index)
    const offset = store.offset(index)
    if (!this.ended(chunk, offset)) this.report('deadlock', index)
    else if (this.isWrongEnd(chunk, offset)) this.report('atEnd', index)
  }

  /** Whether all that must end have ended. */
  private ended(chunk: Int32Array, offset: number): boolean {
    const { threads } = this.spec
    for (let t = 0; t < threads.length; t++) {
      if (!threads[t]!.daemon && !this.tables.place(t, chunk, offset).finished) return false
    }
    return true
  }

  private isWrongEnd(chunk: Int32Array, offset: number): boolean {
    return this.spec.atEnd?.(new PackedView(this.tables).at(chunk, offset)) === false
  }

  private report(kind: FailureKind, index: number): void {
    if (index >= this.store.stop) return
    this.store.stop = index
    this.finding = { kind, index, step: null }
  }
}
