/*
 * Breadth-first search of all states, from the first one on.
 *
 * What is found first is reached by a shortest schedule. A state with an exception or that `never`
 * refuses is noticed when it is found, one where nobody can move when it is explored; so after the
 * former, those that were found before it are explored still.
 */
import type { FailureKind, SearchSpec, Step } from '../program.ts'
import { Layout, Relayout } from './layout.ts'
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

/** Explores, as often as needed until all fits the layout. */
export function explore(places: Places, spec: SearchSpec): Exploration {
  const watched = new Uint8Array(spec.initial.length + 1)
  for (let seed = 1; ; seed++) {
    learn(places, seed)
    const search = new Search(places, spec, watched)
    try {
      search.run()
      return search
    } catch (error) {
      if (!(error instanceof Relayout)) throw error
    }
  }
}

class Search implements Hooks, Exploration {
  finding: Finding | null = null
  readonly store: Store
  readonly flags: number
  readonly bound: number
  readonly canonical: ((state: Int32Array) => void) | null
  readonly edges: Edges | null
  private readonly tables: Tables
  private readonly spec: SearchSpec
  private readonly watch: Watch | null
  private readonly view: PackedView

  constructor(places: Places, spec: SearchSpec, watched: Uint8Array) {
    const { mode, never, livelock, maxStates } = spec
    this.spec = spec
    this.bound = mode.kind === 'preemptions' ? mode.bound : -1
    const layout = new Layout(places, this.bound)
    const tables = new Tables(places, layout, watched)
    this.tables = tables
    this.store = new Store(layout.size, mode.kind === 'fingerprints', maxStates)
    this.store.onProgress = spec.onProgress
    this.watch = never === undefined ? null : new Watch(tables, never)
    this.view = new PackedView(tables)
    this.edges = livelock && this.bound < 0 ? new Edges() : null
    this.flags = Flag.Failed
    if (never !== undefined) this.flags |= Flag.Look
    if (this.edges !== null) this.flags |= Flag.Ended
    this.canonical = places.automata.symmetric ? state => tables.canonical(state) : null
  }

  get bytes(): number {
    return this.store.bytes + (this.edges?.bytes ?? 0)
  }

  run(): void {
    const { store, tables, edges } = this
    const first = tables.first()
    store.addFirst(first)
    this.check(0, this.anyFailed(first) ? Flag.Failed : Flag.Look)
    try {
      run(tables, store, this)
    } catch (error) {
      if (!(error instanceof ValuesOverflow)) throw error
      this.finding = { kind: 'overflow', index: store.explored, step: tables.lastMade }
    }
    if (edges === null || this.finding !== null) return
    const trapped = edges.firstTrapped(store.count)
    if (trapped >= 0) this.report('livelock', trapped)
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
    else if (this.spec.atEnd?.(this.view.at(chunk, offset)) === false) this.report('atEnd', index)
  }

  /** Whether all that must end have ended. */
  private ended(chunk: Int32Array, offset: number): boolean {
    const { threads } = this.spec
    for (let t = 0; t < threads.length; t++) {
      if (!threads[t]!.daemon && !this.tables.place(t, chunk, offset).finished) return false
    }
    return true
  }

  private anyFailed(first: Int32Array): boolean {
    return this.spec.threads.some((_, t) => this.tables.place(t, first, 0).failed)
  }

  private report(kind: FailureKind, index: number): void {
    if (index >= this.store.stop) return
    this.store.stop = index
    this.finding = { kind, index, step: null }
  }
}
