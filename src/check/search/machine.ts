/*
 * One state, unpacked, and the moves from it. Slow and plain: what walks, replays and explains.
 */
import type { Move, StateView } from '../program.ts'
import { PLACE_BITS_MAX } from './layout.ts'
import type { Place } from './place.ts'
import type { Places } from './places.ts'
import { Act, type Outcome, outcome, type Row } from './rows.ts'

/** A move that is possible now. */
export interface Option {
  readonly thread: number
  readonly row: Row
  readonly outcome: Outcome
}

/** One state of all threads and words, and the moves from it. */
export class Machine implements StateView {
  readonly places: Places
  readonly nrThreads: number
  /** By word, the number of its value. */
  readonly words: Int32Array
  /** By thread. */
  readonly at: Place[] = []
  /** By thread, its rank in the queue that it is in, from 1; else 0. */
  readonly ranks: Int32Array
  /** Threads that the last step woke. */
  woken: number[] = []

  constructor(places: Places) {
    this.places = places
    this.nrThreads = places.spec.threads.length
    this.words = new Int32Array(places.spec.initial.length)
    this.ranks = new Int32Array(this.nrThreads)
    this.reset()
  }

  /** Back to the state in which nobody has moved. */
  reset(): void {
    this.words.fill(0)
    this.ranks.fill(0)
    for (let t = 0; t < this.nrThreads; t++) this.at[t] = this.places.root(t)
  }

  word(index: number): number {
    return this.places.words.value(index, this.words[index]!)
  }

  label(thread: number): number {
    return this.at[thread]!.label
  }

  isDead(thread: number): boolean {
    return this.at[thread]!.dead
  }

  /** All moves that are possible now. */
  options(): Option[] {
    const options: Option[] = []
    for (let thread = 0; thread < this.nrThreads; thread++) {
      for (const row of this.places.rows(this.at[thread]!)) {
        const result = this.outcome(row)
        if (result !== null) options.push({ thread, row, outcome: result })
      }
    }
    return options
  }

  /** A thread's move, if it is possible now; else null. */
  option(thread: number, move: Move): Option | null {
    const row = this.places.rows(this.at[thread]!).find(r => r.move === move)
    const result = row === undefined ? null : this.outcome(row)
    return row === undefined || result === null ? null : { thread, row, outcome: result }
  }

  step({ thread, row, outcome: { value, place } }: Option): void {
    this.woken = []
    if ((row.act & Act.Notify) !== 0) this.notify(row.place)
    if ((row.act & Act.Leave) !== 0) this.leave(thread)
    if (row.word >= 0) this.words[row.word] = value
    if (place.queue >= 0 && row.place.queue < 0) {
      this.ranks[thread] = this.at.filter(({ queue }) => queue === place.queue).length + 1
    }
    this.at[thread] = place
  }

  /**
   * Sorts the threads of each group as `Tables.canonical` does, and `names` along with them.
   */
  canonical(names: number[]): void {
    const { classOf } = this.places.automata
    const before = { at: [...this.at], ranks: [...this.ranks], names: [...names] }
    for (const first of new Set(classOf)) {
      const slots = classOf.flatMap((c, t) => (c === first ? [t] : []))
      const sorted = [...slots].sort((t, u) => this.orderOf(t) - this.orderOf(u))
      for (const [i, slot] of slots.entries()) {
        this.at[slot] = before.at[sorted[i]!]!
        this.ranks[slot] = before.ranks[sorted[i]!]!
        names[slot] = before.names[sorted[i]!]!
      }
    }
  }

  private orderOf(thread: number): number {
    return Math.max(0, this.ranks[thread]! - 1) * 2 ** PLACE_BITS_MAX + this.at[thread]!.index
  }

  /** Whether all that must end have ended. */
  get ended(): boolean {
    return this.places.spec.threads.every(({ daemon }, t) => daemon || this.at[t]!.finished)
  }

  private outcome(row: Row): Outcome | null {
    const { act, place } = row
    if ((act & Act.Death) !== 0) {
      if (this.at.filter(({ dead }) => dead).length >= this.places.spec.deaths) return null
    }
    if ((act & Act.Barrier) !== 0 && this.at.some(({ dirty }) => dirty)) return null
    if ((act & Act.Notify) !== 0) return outcome(row, this.sleepersToWake(place).length)
    if ((act & Act.Await) !== 0) {
      const untold = this.at.findIndex(({ dead }, t) => dead && (place.told & (1 << t)) === 0)
      return untold < 0 ? null : outcome(row, untold)
    }
    return outcome(row, row.word < 0 ? 0 : this.words[row.word]!)
  }

  private sleepersToWake({ node }: Place): number[] {
    const { word, a } = this.places.program
    const sleepers: number[] = []
    for (const [t, { queue }] of this.at.entries()) {
      if (queue === word[node] && this.ranks[t]! <= a[node]!) sleepers.push(t)
    }
    return sleepers
  }

  private notify(place: Place): void {
    for (const t of this.sleepersToWake(place).sort((t, u) => this.ranks[t]! - this.ranks[u]!)) {
      const sleeper = this.at[t]!
      if (!sleeper.dead) this.woken.push(t)
      this.at[t] = this.places.woken(sleeper)
    }
    const { word, a } = this.places.program
    for (const [t, { queue }] of this.at.entries()) {
      if (queue < 0) this.ranks[t] = 0
      else if (queue === word[place.node]) this.ranks[t]! -= Math.max(0, a[place.node]!)
    }
  }

  private leave(thread: number): void {
    const rank = this.ranks[thread]!
    for (const [t, { queue }] of this.at.entries()) {
      if (queue === this.at[thread]!.queue && this.ranks[t]! > rank) this.ranks[t]! -= 1
    }
    this.ranks[thread] = 0
  }
}
