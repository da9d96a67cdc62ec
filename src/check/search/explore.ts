/*
 * Breadth-first search of all states, from the first one on.
 *
 * What is found first is reached by a shortest schedule. A state with an exception or that `never`
 * refuses is noticed when it is found, one where nobody can move when it is explored; so after the
 * former, those that were found before it are explored still.
 */
import type { FailureKind, SearchSpec } from '../program.ts'
import { Layout, Relayout } from './layout.ts'
import { type Hooks, run } from './loop.ts'
import type { Places } from './places.ts'
import { Store } from './store.ts'
import { Tables } from './tables.ts'
import { PackedView, Watch } from './watch.ts'

/** What is wrong with a state. */
export interface Finding {
  readonly kind: FailureKind
  readonly index: number
}

export interface Exploration {
  readonly tables: Tables
  readonly store: Store
  readonly finding: Finding | null
}

/** Explores, as often as needed until all fits the layout. */
export function explore(places: Places, spec: SearchSpec): Exploration {
  const watched = new Uint8Array(spec.initial.length + 1)
  for (;;) {
    try {
      return exploreOnce(places, spec, watched)
    } catch (error) {
      if (!(error instanceof Relayout)) throw error
    }
  }
}

function exploreOnce(places: Places, spec: SearchSpec, watched: Uint8Array): Exploration {
  for (let t = 0; t < spec.threads.length; t++) places.root(t)
  const layout = new Layout(places, -1)
  const tables = new Tables(places, layout, watched)
  const store = new Store(layout.size, spec.mode.kind === 'fingerprints', spec.maxStates)
  store.onProgress = spec.onProgress
  const search = new Search(tables, store, spec)
  search.run()
  return { tables, store, finding: search.finding }
}

class Search implements Hooks {
  finding: Finding | null = null
  readonly canonical = null
  readonly edges = null
  readonly looks: boolean
  private readonly tables: Tables
  private readonly store: Store
  private readonly spec: SearchSpec
  private readonly watch: Watch | null
  private readonly view: PackedView

  constructor(tables: Tables, store: Store, spec: SearchSpec) {
    this.tables = tables
    this.store = store
    this.spec = spec
    this.looks = spec.never !== undefined
    this.watch = spec.never === undefined ? null : new Watch(tables, spec.never)
    this.view = new PackedView(tables)
  }

  run(): void {
    const first = this.tables.first()
    this.store.addFirst(first)
    this.check(0, this.anyFailed(first))
    run(this.tables, this.store, this)
  }

  check(index: number, failed: boolean): void {
    const { store } = this
    if (failed) this.report('exception', index)
    else if (this.watch?.isWrong(store.chunk(index), store.offset(index))) {
      this.report('never', index)
    }
  }

  stuck(index: number): void {
    const { store, tables } = this
    const chunk = store.chunk(index)
    const offset = store.offset(index)
    const ended = this.spec.threads.every(
      ({ daemon }, t) => daemon || tables.place(t, chunk, offset).finished,
    )
    if (!ended) this.report('deadlock', index)
    else if (this.spec.atEnd?.(this.view.at(chunk, offset)) === false) this.report('atEnd', index)
  }

  private anyFailed(first: Int32Array): boolean {
    return this.spec.threads.some((_, t) => this.tables.place(t, first, 0).failed)
  }

  private report(kind: FailureKind, index: number): void {
    if (index >= this.store.stop) return
    this.store.stop = index
    this.finding = { kind, index }
  }
}
