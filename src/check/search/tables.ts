/*
 * Code for the generated loop: the moves of each thread at each place, as numbers in one array.
 *
 *     threads   where its place is in a state, and where its heads are
 *     heads     by thread and place: the first row
 *     rows      one for each move that the place has, chained
 *
 * A row has, for each value of its word, an entry: flags, and what to add to each integer of the
 * state. Rows and entries are made when they first come up. Moves that involve other threads
 * (sleeping and waking, deaths, barriers) additionally go through `special` or `sleep`.
 */
import type { Move, Step } from '../program.ts'
import { type Field, type Layout, Relayout } from './layout.ts'
import type { Place } from './place.ts'
import type { Places } from './places.ts'
import { Act, outcome, type Row } from './rows.ts'

/** Offsets in what the code says of a thread: where its place is, and its first rows. */
export const ThreadAt = { Int: 0, Shift: 1, Mask: 2, Heads: 3 } as const
/** Integers of `ThreadAt`. */
export const THREAD_SIZE = 4

/** Offsets in a row. */
export const At = {
  Act: 0,
  /** Where the number of the word's value is. */
  Int: 1,
  Shift: 2,
  Mask: 3,
  /** The next row of the place; 0 if there is none. */
  Next: 4,
  Via: 5,
  Word: 6,
  /** The entries. */
  Entries: 7,
} as const

/** Flags of an entry; 0 if it was not made yet. */
export const Flag = {
  Known: 1,
  /** The move is not possible. */
  None: 2,
  Sleeps: 4,
  /** The thread's label changed, or it died: `never` must be asked. */
  Look: 8,
  Failed: 16,
  /** The word changed. */
  Changed: 32,
  /** All that must end may have ended: the thread has, or need not. */
  Ended: 64,
} as const

/** The acts that need `special`. */
export const SPECIAL = Act.Notify | Act.Barrier | Act.Await | Act.Leave | Act.Death

/** A place whose rows were not made yet. */
export const UNMADE = -1

/** The tables that the generated loop works on. */
export class Tables {
  readonly places: Places
  readonly layout: Layout
  readonly nrThreads: number
  /** Grows: read it anew after `make`. */
  code: Int32Array
  /** By word, whether `never` looks at it; one more for rows without a word. */
  readonly watched: Uint8Array
  /** What `special` and `sleep` add to the state. */
  readonly extra: Int32Array
  /** What `turn` adds to the state. */
  readonly turned: Int32Array
  /** Flags that the last `special` adds to those of the entry. */
  more = 0
  /** The move whose entry was made last. */
  lastMade: Step | null = null
  /** Threads that are interchangeable, by group. */
  private readonly groups: readonly (readonly number[])[]
  /** The move that a row of the code stands for. */
  private readonly sources = new Map<number, { thread: number; row: Row }>()
  /** By thread, the places of its class. */
  private readonly placesOf: readonly (readonly Place[])[]
  /** The state of which `mayDie` was told last, and what it said. */
  private asked: { state: Int32Array; offset: number; answer: boolean }
  private readonly ints: Int32Array
  private readonly shifts: Int32Array
  private readonly masks: Int32Array
  private length: number

  constructor(places: Places, layout: Layout, watched: Uint8Array) {
    this.places = places
    this.layout = layout
    this.watched = watched
    this.nrThreads = layout.threads.length
    this.ints = Int32Array.from(layout.threads, field => field.at)
    this.shifts = Int32Array.from(layout.threads, field => field.shift)
    this.masks = Int32Array.from(layout.placeBits, bits => 2 ** bits - 1)
    const nrHeads = this.masks.reduce((sum, mask) => sum + mask + 1, 0)
    this.length = this.nrThreads * THREAD_SIZE + nrHeads
    this.code = new Int32Array(this.length + (1 << 12)).fill(UNMADE, 0, this.length)
    let heads = this.nrThreads * THREAD_SIZE
    for (const [t, { at, shift }] of layout.threads.entries()) {
      this.code.set([at, shift, this.masks[t]!, heads], t * THREAD_SIZE)
      heads += this.masks[t]! + 1
    }
    this.asked = { state: this.code, offset: 0, answer: false }
    this.extra = new Int32Array(layout.size)
    this.turned = new Int32Array(layout.size)
    const { classOf } = places.automata
    this.placesOf = classOf.map(c => places.classes[c]!)
    this.groups = classOf
      .map(first => classOf.flatMap((c, t) => (c === first ? [t] : [])))
      .filter((members, t) => members.length > 1 && members[0] === t)
  }

  place(thread: number, state: Int32Array, offset: number): Place {
    const index =
      (state[offset + this.ints[thread]!]! >>> this.shifts[thread]!) & this.masks[thread]!
    return this.placesOf[thread]![index]!
  }

  /** Rank in its queue, from 1, of a thread that is in one. */
  rank(thread: number, state: Int32Array, offset: number): number {
    const { placeBits, rankBits } = this.layout
    const low = this.shifts[thread]! + placeBits[thread]!
    return ((state[offset + this.ints[thread]!]! >>> low) & (2 ** rankBits[thread]! - 1)) + 1
  }

  wordIndex(word: number, state: Int32Array, offset: number): number {
    const { at, shift, bits } = this.layout.words[word]!
    return (state[offset + at]! >>> shift) & (2 ** bits - 1)
  }

  /** The state in which nobody has moved yet. */
  first(): Int32Array {
    const state = new Int32Array(this.layout.size)
    for (let t = 0; t < this.nrThreads; t++) {
      state[this.ints[t]!]! |= this.admit(this.places.root(t)) << this.shifts[t]!
    }
    return state
  }

  /** Makes the rows of a thread's place; returns the first. */
  make(thread: number, index: number): number {
    const place = this.placesOf[thread]![index]!
    let next = 0
    for (const source of [...this.places.rows(place)].reverse()) {
      next = this.addRow(thread, source, next)
    }
    const heads = this.code[thread * THREAD_SIZE + ThreadAt.Heads]!
    return (this.code[heads + index] = next)
  }

  /** Makes the entry at `entry` of a row; returns its flags. */
  fill(row: number, entry: number): number {
    const { thread, row: source } = this.sources.get(row)!
    const { code } = this
    this.lastMade = { thread, move: source.move }
    const at = (entry - row - At.Entries) / (this.layout.size + 1)
    const result = outcome(source, at)
    if (result === null) return (code[entry] = Flag.Known | Flag.None)
    const { place } = source
    const to = result.place
    let flags: number = Flag.Known
    const moved = this.admit(to) - place.index
    code[entry + 1 + this.ints[thread]!]! += moved << this.shifts[thread]!
    if (source.word >= 0 && result.value !== at) {
      const field = this.layout.words[source.word]!
      if (result.value >= 2 ** field.bits) throw new Relayout()
      code[entry + 1 + field.at]! += (result.value - at) << field.shift
      flags |= Flag.Changed
    }
    if (to.queue >= 0 && place.queue < 0) flags |= Flag.Sleeps
    if (to.label !== place.label || to.dead !== place.dead) flags |= Flag.Look
    if (to.failed) flags |= Flag.Failed
    if (to.finished || this.places.spec.threads[thread]!.daemon) flags |= Flag.Ended
    return (code[entry] = flags)
  }

  /**
   * The entry of a row that depends on other threads, or -1 if it is not possible now. Puts into
   * `extra` what changes for the others, and for the thread's rank.
   */
  special(row: number, thread: number, state: Int32Array, offset: number): number {
    this.extra.fill(0)
    this.more = 0
    const act = this.code[row + At.Act]!
    if ((act & Act.Death) !== 0 && !this.mayDie(state, offset)) return -1
    if ((act & Act.Barrier) !== 0 && this.anyDirty(state, offset)) return -1
    if ((act & Act.Leave) !== 0) this.leave(thread, state, offset)
    let at = 0
    if ((act & Act.Notify) !== 0) at = this.notify(thread, state, offset)
    if ((act & Act.Await) !== 0) at = this.untold(thread, state, offset)
    return at < 0 ? -1 : row + At.Entries + at * (this.layout.size + 1)
  }

  /** The thread goes to sleep: puts its rank into `extra`. */
  sleep(row: number, thread: number, state: Int32Array, offset: number): void {
    this.extra.fill(0)
    const word = this.code[row + At.Word]!
    let before = 0
    for (let u = 0; u < this.nrThreads; u++) {
      if (u !== thread && this.place(u, state, offset).queue === word) before++
    }
    if (before >= 2 ** this.layout.rankBits[thread]!) throw new Relayout()
    this.addRank(thread, before)
  }

  /** The thread that moved last; -1 in the first state. */
  lastRun(state: Int32Array, offset: number): number {
    for (let t = 0; t < this.nrThreads; t++) {
      if (((state[offset + this.ints[t]!]! >>> this.lastShift(t)) & 1) !== 0) return t
    }
    return -1
  }

  preemptions(state: Int32Array, offset: number): number {
    const { at, shift, bits } = this.layout.used
    return (state[offset + at]! >>> shift) & (2 ** bits - 1)
  }

  /**
   * Puts into `turned` what changes because `thread` runs after `last` did.
   *
   * @param cost 1 if that is a preemption, else 0.
   */
  turn(thread: number, last: number, cost: number): void {
    this.turned.fill(0)
    if (thread === last) return
    if (last >= 0) this.turned[this.ints[last]!]! -= 1 << this.lastShift(last)
    this.turned[this.ints[thread]!]! += 1 << this.lastShift(thread)
    const { used } = this.layout
    if (cost > 0) this.turned[used.at]! += cost << used.shift
  }

  private lastShift(thread: number): number {
    const { placeBits, rankBits } = this.layout
    return this.shifts[thread]! + placeBits[thread]! + rankBits[thread]!
  }

  /** Sorts the fields of interchangeable threads. */
  canonical(state: Int32Array): void {
    for (const members of this.groups) {
      for (let i = 1; i < members.length; i++) {
        const field = this.field(members[i]!, state)
        let j = i - 1
        for (; j >= 0 && this.field(members[j]!, state) > field; j--) {
          this.setField(members[j + 1]!, state, this.field(members[j]!, state))
        }
        if (j + 1 < i) this.setField(members[j + 1]!, state, field)
      }
    }
  }

  private field(thread: number, state: Int32Array): number {
    return (state[this.ints[thread]!]! >>> this.shifts[thread]!) & this.fieldMask(thread)
  }

  private setField(thread: number, state: Int32Array, field: number): void {
    const at = this.ints[thread]!
    const rest = state[at]! & ~(this.fieldMask(thread) << this.shifts[thread]!)
    state[at] = rest | (field << this.shifts[thread]!)
  }

  private fieldMask(thread: number): number {
    const { placeBits, rankBits, lastBits } = this.layout
    return 2 ** (placeBits[thread]! + rankBits[thread]! + lastBits) - 1
  }

  private mayDie(state: Int32Array, offset: number): boolean {
    const { asked } = this
    if (asked.state !== state || asked.offset !== offset) {
      let dead = 0
      for (let u = 0; u < this.nrThreads; u++) if (this.place(u, state, offset).dead) dead++
      asked.state = state
      asked.offset = offset
      asked.answer = dead < this.places.spec.deaths
    }
    return asked.answer
  }

  private anyDirty(state: Int32Array, offset: number): boolean {
    for (let u = 0; u < this.nrThreads; u++) if (this.place(u, state, offset).dirty) return true
    return false
  }

  /** The first dead thread that `thread` was not told of, or -1. */
  private untold(thread: number, state: Int32Array, offset: number): number {
    const { told } = this.place(thread, state, offset)
    for (let u = 0; u < this.nrThreads; u++) {
      if ((told & (1 << u)) === 0 && this.place(u, state, offset).dead) return u
    }
    return -1
  }

  private leave(thread: number, state: Int32Array, offset: number): void {
    const rank = this.rank(thread, state, offset)
    const { queue } = this.place(thread, state, offset)
    this.addRank(thread, 1 - rank)
    this.more = Flag.Look
    for (let u = 0; u < this.nrThreads; u++) {
      if (u === thread || this.place(u, state, offset).queue !== queue) continue
      if (this.rank(u, state, offset) > rank) this.addRank(u, -1)
    }
  }

  /** Wakes sleepers; returns how many. */
  private notify(thread: number, state: Int32Array, offset: number): number {
    const { node } = this.place(thread, state, offset)
    const { word: words, a } = this.places.program
    const word = words[node]!
    const most = Math.max(0, a[node]!)
    let woken = 0
    for (let u = 0; u < this.nrThreads; u++) {
      const place = this.place(u, state, offset)
      if (place.queue !== word) continue
      const rank = this.rank(u, state, offset)
      if (rank > most) {
        this.addRank(u, -most)
        continue
      }
      woken++
      const to = this.places.woken(place)
      this.extra[this.ints[u]!]! += (this.admit(to) - place.index) << this.shifts[u]!
      this.addRank(u, 1 - rank)
      this.more |= Flag.Look
      if (to.failed) this.more |= Flag.Failed
    }
    return woken
  }

  private addRank(thread: number, delta: number): void {
    const shift = this.shifts[thread]! + this.layout.placeBits[thread]!
    if (delta !== 0) this.extra[this.ints[thread]!]! += delta << shift
  }

  /** The place's number, if the layout has room for it. */
  private admit(place: Place): number {
    if (place.index >= 2 ** this.layout.placeBits[place.threadClass]!) throw new Relayout()
    return place.index
  }

  private addRow(thread: number, source: Row, next: number): number {
    const { act, word, move } = source
    const field: Field = word < 0 ? { at: 0, shift: 0, bits: 0 } : this.layout.words[word]!
    const others = (act & (Act.Notify | Act.Await)) === 0 ? 0 : this.nrThreads
    const row = this.length
    this.sources.set(row, { thread, row: source })
    this.length += At.Entries + Math.max(2 ** field.bits, others + 1) * (this.layout.size + 1)
    while (this.length > this.code.length) this.code = doubled(this.code)
    const via = thread | (move << 5)
    const nrWords = this.layout.words.length
    const mask = 2 ** field.bits - 1
    const wordOrNone = word < 0 ? nrWords : word
    this.code.set([act, field.at, field.shift, mask, next, via, wordOrNone], row)
    return row
  }
}

/** The thread and move of a `via`. */
export function stepOf(via: number): { thread: number; move: Move } {
  return { thread: via & 31, move: (via >>> 5) as Move }
}

function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2)
  larger.set(array)
  return larger
}
