/*
 * What a thread may do at a place: one row for each of its moves.
 *
 * A row says which word it touches; its outcome, for each value of that word, is the word's new
 * value and the thread's new place. Outcomes are computed once. What depends on other threads is
 * left to the caller, and marked in `act`.
 *
 * Plain stores wait in the thread's buffer (x86-TSO): `StorePlain` adds one, `Flush` writes the
 * oldest. A load, atomic or not, sees the thread's own newest store, and goes past the others: on
 * x86-64 both are the same instruction. All other atomic operations need an empty buffer.
 *
 * `Early` (arm64): the store behind one or two plain loads is made first. No machine lets a store
 * overtake a load that decides about it, so each result known so far of those loads must lead to
 * the same store. A result learned later may show that it does decide; then the path is cut off
 * here, and the whole search repeated with what was learned.
 */
import { BUFFER_MAX, Kind, Move, Refusal, Woke } from '../program.ts'
import { type Early, Mode, type Place } from './place.ts'
import type { Places } from './places.ts'

/** What a row depends on besides the thread and its word. 0 for most. */
export const Act = {
  /** Wakes sleepers; the outcome is by their number. */
  Notify: 1,
  /** Possible while no thread is dirty. */
  Barrier: 2,
  /** Possible once a thread is dead that this one was not told of; the outcome is by its index. */
  Await: 4,
  /** Leaves the queue: those behind move up. */
  Leave: 8,
  /** Possible while fewer than `spec.deaths` are dead. */
  Death: 16,
  /** No way out: nobody may rely on it ever happening. */
  Choice: 32,
} as const

/** A move of a thread at a place. */
export interface Row {
  readonly place: Place
  readonly move: Move
  readonly act: number
  /** The word touched; -1 if none. */
  readonly word: number
  /** By value's number (0 without a word), sleepers woken, or index of the dead. */
  readonly outcomes: (Outcome | null)[]
  readonly compute: (at: number) => Outcome | null
}

/** Where a move leads for one value of its word. */
export interface Outcome {
  /** Number of the word's new value; 0 without a word. */
  readonly value: number
  readonly place: Place
  /** What the operation resulted in; null if it has not ended, or was none. */
  readonly result: number | null
}

/** Plain loads that a store may overtake. */
const OVERTAKEN_MAX = 2

/** The outcome of a row; null if the move is not possible. */
export function outcome(row: Row, at: number): Outcome | null {
  const known = row.outcomes[at]
  if (known !== undefined) return known
  return (row.outcomes[at] = row.compute(at))
}

/** The moves of a place. */
export function rowsOf(places: Places, place: Place): readonly Row[] {
  const rows: Row[] = []
  const add: AddRow = (move, act, word, compute) => {
    rows.push({ place, move, act, word, compute, outcomes: [] })
  }
  if (place.mode === Mode.Asleep) addSleeper(places, place, add)
  else if (!place.dead) addRun(places, place, add)
  if (place.pending.length > 0) addFlush(places, place, add)
  const { deaths, threads } = places.spec
  if (deaths > 0 && threads[place.threadClass]!.mortal && !place.finished) {
    addDeath(places, place, add)
  }
  return rows
}

type AddRow = (move: Move, act: number, word: number, compute: Row['compute']) => void

function addSleeper(places: Places, place: Place, add: AddRow): void {
  const { spec, program } = places
  if (spec.timeouts && program.b[place.node] === 1) {
    add(Move.TimeOut, Act.Leave, -1, () => moved(places.wake(place, Woke.TimedOut), Woke.TimedOut))
  }
  if (spec.spurious) {
    add(Move.Spurious, Act.Leave | Act.Choice, -1, () =>
      moved(places.wake(place, Woke.Ok), Woke.Ok),
    )
  }
}

function addDeath(places: Places, place: Place, add: AddRow): void {
  const act = Act.Death | Act.Choice
  const asleep = place.mode === Mode.Asleep
  add(Move.Die, asleep ? act | Act.Leave : act, -1, () => moved(places.dead(place)))
  if (asleep) add(Move.DieQueued, act, -1, () => moved(places.zombie(place)))
}

function addFlush(places: Places, place: Place, add: AddRow): void {
  const word = place.pending[0]!
  const value = place.pending[1]!
  add(Move.Flush, 0, word, () => ({
    value: places.words.intern(word, value),
    place: places.flushed(place),
    result: null,
  }))
}

/** Adds what the thread does next by itself. */
function addRun(places: Places, place: Place, add: AddRow): void {
  const { program } = places
  const kind = program.kind[place.node]! as Kind
  if (kind === Kind.Load || kind === Kind.LoadPlain) addLoad(places, place, add)
  else if (kind === Kind.StorePlain) addStorePlain(places, place, add)
  else if (kind >= Kind.Done || place.pending.length > 0) return
  else if (kind === Kind.Wait) addWait(places, place, add)
  else if (kind === Kind.Notify) {
    add(Move.Run, Act.Notify, -1, woken => moved(advance(places, place, woken), woken))
  } else if (kind === Kind.BarrierAll) {
    add(Move.Run, Act.Barrier, -1, () => moved(advance(places, place, 0), 0))
  } else if (kind === Kind.AwaitDeath) {
    if (places.automata.symmetric) throw cannotTell(places, place)
    add(Move.Run, Act.Await, -1, dead => {
      const node = places.automata.next(place.node, dead)
      const told = place.told | (1 << dead)
      return moved(places.live(place.threadClass, node, { told }), dead)
    })
  } else addAtomic(places, place, kind, add)
}

function cannotTell({ program }: Places, { node }: Place): Refusal {
  const what = 'awaitDeath() in a model with symmetric threads: which of them died would matter'
  return new Refusal(what, program.sites(node)[0] ?? null)
}

function addAtomic(places: Places, place: Place, kind: Kind, add: AddRow): void {
  const { program, words } = places
  const word = program.word[place.node]!
  const a = program.a[place.node]!
  const b = program.b[place.node]!
  add(Move.Run, 0, word, at => {
    const before = words.value(word, at)
    const after = applied(kind, before, a, b)
    const result = kind === Kind.Store ? a : before
    const to = advance(places, place, result)
    return to && { value: after === before ? at : words.intern(word, after), place: to, result }
  })
}

/** A word's value after an operation. */
function applied(kind: Kind, before: number, a: number, b: number): number {
  switch (kind) {
    case Kind.Store:
    case Kind.Exchange:
      return a
    case Kind.Add:
      return (before + a) | 0
    case Kind.Sub:
      return (before - a) | 0
    case Kind.And:
      return before & a
    case Kind.Or:
      return before | a
    case Kind.Xor:
      return before ^ a
    case Kind.CompareExchange:
      return before === a ? b : before
    default:
      throw new Error(`operation ${kind} is not one on a word`)
  }
}

function addWait(places: Places, place: Place, add: AddRow): void {
  const { program, words } = places
  const word = program.word[place.node]!
  const expected = program.a[place.node]!
  add(Move.Run, 0, word, at => {
    if (words.value(word, at) === expected) {
      return { value: at, place: places.asleep(place), result: null }
    }
    const to = advance(places, place, Woke.NotEqual)
    return to && { value: at, place: to, result: Woke.NotEqual }
  })
}

function addStorePlain(places: Places, place: Place, add: AddRow): void {
  if (place.pending.length === 2 * BUFFER_MAX) return
  const { word, a } = places.program
  const value = a[place.node]!
  const pending = [...place.pending, word[place.node]!, value]
  add(Move.Run, 0, -1, () => moved(advance(places, place, value, pending), value))
}

function addLoad(places: Places, place: Place, add: AddRow): void {
  const { program, words } = places
  const word = program.word[place.node]!
  const own = newestStore(place, word)
  if (own !== null) {
    add(Move.Run, 0, -1, () => moved(advance(places, place, own, place.pending), own))
    return
  }
  const loaded = (at: number, result: number) => {
    const to = advance(places, place, result, place.pending)
    return to && { value: at, place: to, result }
  }
  add(Move.Run, 0, word, at => loaded(at, words.value(word, at)))
  if (program.kind[place.node] === Kind.LoadPlain) addMachineLoads(places, place, add)
}

/** What the compiler and the machine may make of a plain load. */
function addMachineLoads(places: Places, place: Place, add: AddRow): void {
  const { program, words } = places
  const word = program.word[place.node]!
  const reads = program.reads(place.node)
  for (let i = reads.length - 2; i >= 0; i -= 2) {
    if (reads[i] !== word) continue
    const last = reads[i + 1]!
    add(Move.Stale, Act.Choice, word, at => {
      if (words.value(word, at) === last) return null
      const to = advance(places, place, last, place.pending)
      return to && { value: at, place: to, result: last }
    })
    break
  }
  const early = places.spec.memory === 'arm' && !place.dirty ? storeBehind(places, place) : null
  if (early !== null) {
    add(Move.Early, Act.Choice, early.word, () => ({
      value: words.intern(early.word, early.value),
      place: places.early(place, early),
      result: null,
    }))
  }
}

/** The value of the newest store to `word` that the place holds back; null if none. */
function newestStore({ pending }: Place, word: number): number | null {
  for (let i = pending.length - 2; i >= 0; i -= 2) {
    if (pending[i] === word) return pending[i + 1]!
  }
  return null
}

function moved(place: Place | null, result: number | null = null): Outcome | null {
  return place && { value: 0, place, result }
}

/**
 * Where the thread is after its operation resulted in `result`. A store that was made early is
 * passed over. Null if the thread does not come to that store: the path is not real.
 */
function advance(
  places: Places,
  place: Place,
  result: number,
  pending: readonly number[] = [],
): Place | null {
  const { program, automata } = places
  const { threadClass, told, early } = place
  const node = automata.next(place.node, result)
  if (early === null) return places.live(threadClass, node, { pending, told })
  if (program.kind[node] === Kind.LoadPlain && program.word[node] !== early.word) {
    return places.live(threadClass, node, { pending, told, early })
  }
  if (!isStore(places, node, early)) return null
  return places.live(threadClass, automata.next(node, early.value), { pending, told })
}

function isStore(places: Places, node: number, { word, value }: Early): boolean {
  const { kind, word: words, a } = places.program
  return kind[node] === Kind.StorePlain && words[node] === word && a[node] === value
}

/** The one store that each known result of the plain loads from `place` on leads to, or null. */
function storeBehind(places: Places, place: Place): Early | null {
  const { program } = places
  const overtaken = new Set<number>()
  let nodes = [place.node]
  for (let loads = 0; loads < OVERTAKEN_MAX; loads++) {
    for (const node of nodes) overtaken.add(program.word[node]!)
    nodes = nodes.flatMap(node => knownNext(places, node))
    const first = nodes[0]
    if (first === undefined) return null
    if (program.kind[first] === Kind.StorePlain) {
      const early = { word: program.word[first]!, value: program.a[first]! }
      const same = nodes.every(node => isStore(places, node, early))
      return same && !overtaken.has(early.word) ? early : null
    }
    if (nodes.some(node => program.kind[node] !== Kind.LoadPlain)) return null
  }
  return null
}

/** The nodes that known results of a plain load lead to. */
function knownNext(places: Places, node: number): number[] {
  const { program, words } = places
  const values = words.values[program.word[node]!]!
  const nexts = values.map(value => program.known(node, value)).filter(next => next >= 0)
  return [...new Set(nexts)]
}
