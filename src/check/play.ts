/*
 * Plays a schedule on the automata, one state at a time, and keeps what each step did.
 *
 * Moves and their outcomes are the search's own (`search/rows.ts`); sleepers wait in one list.
 */
import { HotplugError } from '../lib/errors.ts'
import {
  Kind,
  Move,
  type Program,
  type SearchSpec,
  type StateView,
  type Step,
  Woke,
} from './program.ts'
import type { Left, Told } from './report.ts'
import { formatSchedule } from './schedule.ts'
import { Automata } from './search/automata.ts'
import { type Place, Places } from './search/places.ts'
import { Act, outcome, type Row } from './search/rows.ts'
import { Words } from './search/words.ts'

/** A schedule as it went. */
export interface Play {
  readonly told: readonly Told[]
  readonly left: readonly Left[]
  /** The shared words at the end. */
  readonly words: Int32Array
  /** The end, as `never` and `atEnd` see it. */
  readonly state: StateView
}

/**
 * Plays `steps` from the initial state.
 *
 * @throws {HotplugError} `EINVAL`: a thread cannot move as the schedule says.
 */
export function play(program: Program, spec: SearchSpec, steps: readonly Step[]): Play {
  const player = new Player(program, spec)
  const told = steps.map((step, i) => {
    const done = player.step(step)
    if (typeof done === 'object') return done
    const name = spec.threads[step.thread]!.name
    const operation = `replay ${formatSchedule(steps)}`
    throw new HotplugError('EINVAL', operation, `step ${i + 1}: ${name} ${done}`)
  })
  const { words, state } = player
  return { told, left: player.left(), words, state }
}

class Player {
  readonly words: Int32Array
  readonly state: StateView
  private readonly program: Program
  private readonly spec: SearchSpec
  private readonly table: Words
  private readonly all: Places
  private readonly places: Place[]
  /** Sleepers on all words, first come first. */
  private sleepers: readonly number[] = []
  /** Where each thread stood last; of a dead one, before it died. */
  private readonly nodes: number[]

  constructor(program: Program, spec: SearchSpec) {
    const single = { ...spec, threads: spec.threads.map(thread => ({ ...thread, group: -1 })) }
    this.program = program
    this.spec = single
    this.words = Int32Array.from(spec.initial)
    this.table = new Words(spec.initial)
    this.all = new Places(new Automata(program, single.threads), this.table, single)
    this.places = single.threads.map((_, thread) => this.all.root(thread))
    this.nodes = [...program.roots]
    this.state = {
      word: index => this.words[index]!,
      label: thread => this.places[thread]!.label,
      isDead: thread => this.places[thread]!.dead,
    }
  }

  /** Moves one thread; says what is in the way if it cannot. */
  step({ thread, move }: Step): Told | string {
    const place = this.places[thread]!
    const node = this.nodes[thread]!
    const row = this.all.rows(place).find(row => row.move === move)
    if (row === undefined) return this.obstacle(place)
    const woken = (row.act & Act.Notify) === 0 ? [] : this.toWake(node)
    const at = this.outcomeAt(thread, row, woken)
    const moved = at < 0 ? null : outcome(row, at)
    if (moved === null) return 'cannot do that now'
    const result = this.resultOf(place, row, at)
    const word = row.word >= 0 ? row.word : this.wordOf(node)
    const before = word < 0 ? 0 : this.words[word]!
    if (row.word >= 0) this.words[word] = this.table.value(word, moved.value)
    this.put(thread, moved.place)
    for (const other of woken) this.put(other, this.all.woken(this.places[other]!))
    const after = word < 0 ? 0 : this.words[word]!
    return { thread, move, node, word, before, after, result, woken }
  }

  left(): Left[] {
    return this.places.map((place, thread) => ({
      thread,
      node: this.nodes[thread]!,
      state: this.stateOf(place),
    }))
  }

  private stateOf(place: Place): Left['state'] {
    if (place.dead) return 'dead'
    if (place.queue >= 0) return 'sleeps'
    if (place.failed) return 'failed'
    return place.finished ? 'done' : 'runs'
  }

  private put(thread: number, to: Place): void {
    const from = this.places[thread]!
    this.places[thread] = to
    if (to.node >= 0) this.nodes[thread] = to.node
    if (from.queue >= 0 && to.queue < 0) {
      this.sleepers = this.sleepers.filter(sleeper => sleeper !== thread)
    } else if (from.queue < 0 && to.queue >= 0) {
      this.sleepers = [...this.sleepers, thread]
    }
  }

  private toWake(node: number): number[] {
    const word = this.program.word[node]
    const most = this.program.a[node]!
    const sleepers = this.sleepers.filter(thread => this.places[thread]!.queue === word)
    return most < 0 ? sleepers : sleepers.slice(0, most)
  }

  /** By what the row's outcomes are told apart; -1 if it is not possible. */
  private outcomeAt(thread: number, { act, word }: Row, woken: readonly number[]): number {
    if ((act & Act.Death) !== 0) {
      return this.places.filter(({ dead }) => dead).length < this.spec.deaths ? 0 : -1
    }
    if ((act & Act.Barrier) !== 0) return this.places.some(({ dirty }) => dirty) ? -1 : 0
    if ((act & Act.Await) !== 0) {
      const { told } = this.places[thread]!
      return this.places.findIndex(({ dead }, other) => dead && (told & (1 << other)) === 0)
    }
    if ((act & Act.Notify) !== 0) return woken.length
    return word < 0 ? 0 : this.table.intern(word, this.words[word]!)
  }

  private resultOf(place: Place, row: Row, at: number): number | undefined {
    const { program, words } = this
    const kind = program.kind[place.node] as Kind
    if (row.move === Move.TimeOut) return Woke.TimedOut
    if (row.move === Move.Spurious) return Woke.Ok
    if (row.move !== Move.Run && row.move !== Move.Stale) return undefined
    if (kind === Kind.Wait) {
      return words[row.word] === program.a[place.node] ? undefined : Woke.NotEqual
    }
    if (kind === Kind.Notify || kind === Kind.AwaitDeath) return at
    if (kind !== Kind.LoadPlain) return row.word < 0 ? 0 : words[row.word]
    const word = program.word[place.node]!
    if (row.move === Move.Stale) return lastOf(program.reads(place.node), word)
    return row.word >= 0 ? words[word] : lastOf(program.stores(place.node), word)
  }

  private wordOf(node: number): number {
    const kind = this.program.kind[node] as Kind
    const without = kind === Kind.BarrierAll || kind === Kind.AwaitDeath || kind >= Kind.Done
    return without ? -1 : this.program.word[node]!
  }

  private obstacle({ dead, queue, finished, pending }: Place): string {
    if (dead) return 'is dead'
    if (queue >= 0) return 'sleeps'
    if (finished) return 'is done'
    return pending > 0 ? 'waits for its stores to reach memory' : 'cannot do that'
  }
}

/** The last value for `word` in pairs of word and value. */
function lastOf(pairs: readonly number[], word: number): number | undefined {
  for (let i = pairs.length - 2; i >= 0; i -= 2) if (pairs[i] === word) return pairs[i + 1]
  return undefined
}
