/*
 * Goes through a schedule step by step, and tells what happens.
 */
import { HotplugError } from '../../lib/errors.ts'
import { Kind, Move, type Program, type SearchSpec, type Step } from '../program.ts'
import { Automata } from './automata.ts'
import { Machine, type Option } from './machine.ts'
import type { Place } from './place.ts'
import { Places } from './places.ts'
import { learn } from './walk.ts'
import { Words } from './words.ts'

/** What one step did. */
export interface Happening {
  readonly step: Step
  /** Where the thread stood; -1 if it was dead, and a store of its reached memory. */
  readonly node: number
  /** The operation there; for a move other than `Run` it has not been done, or ends now. */
  readonly kind: Kind
  /** The word that the step is about; -1 if none. */
  readonly word: number
  /** The word's value in memory, before and after; 0 without a word. */
  readonly before: number
  readonly after: number
  /** What the operation resulted in; null if it did not end with this step. */
  readonly result: number | null
  /** Threads that the step woke, first come first. */
  readonly woke: readonly number[]
  /** The thread went to sleep. */
  readonly sleeps: boolean
  /** Where the thread stands now; -1 if it is dead. */
  readonly next: number
}

/** How it ended. */
export interface Outcome {
  /** Values of the shared words in memory. */
  readonly words: Int32Array
  /** By thread. */
  readonly threads: readonly {
    /** Where it stands; -1 if it is dead. */
    readonly node: number
    /** The word that it sleeps on, or died asleep on; -1 if none. */
    readonly queue: number
    readonly dead: boolean
  }[]
}

/**
 * Goes through a schedule; yields what each step did, and returns how it ended.
 *
 * @throws {HotplugError} `EINVAL`: a step is not possible where it comes; the schedule is of
 *   another model, or of other sources.
 */
export function* replay(
  program: Program,
  spec: SearchSpec,
  steps: readonly Step[],
): Generator<Happening, Outcome> {
  const threads = spec.threads.map(thread => ({ ...thread, group: -1 }))
  const places = new Places(new Automata(program, threads), new Words(spec.initial), spec)
  if (steps.some(({ move }) => move === Move.Early)) learn(places, 1)
  const machine = new Machine(places)
  for (const [i, step] of steps.entries()) {
    const option = step.thread in threads ? machine.option(step.thread, step.move) : null
    if (option === null) throw unfit(i, step, machine)
    yield happen(machine, option)
  }
  return {
    words: Int32Array.from(machine.words, (_, word) => machine.word(word)),
    threads: machine.at.map(({ node, queue, dead }) => ({ node, queue, dead })),
  }
}

function happen(machine: Machine, option: Option): Happening {
  const { thread, row, outcome } = option
  const { program } = machine.places
  const { node, queue } = row.place
  const kind = (node < 0 ? Kind.Done : program.kind[node]!) as Kind
  const word = row.word >= 0 ? row.word : wordOf(row.move, kind, program.word[node] ?? -1)
  const before = word < 0 ? 0 : machine.word(word)
  machine.step(option)
  return {
    step: { thread, move: row.move },
    node,
    kind,
    word,
    before,
    after: word < 0 ? 0 : machine.word(word),
    result: outcome.result,
    woke: machine.woken,
    sleeps: queue < 0 && outcome.place.queue >= 0,
    next: outcome.place.node,
  }
}

/** The word of a step that does not look at memory. */
function wordOf(move: Move, kind: Kind, word: number): number {
  const dies = move === Move.Die || move === Move.DieQueued
  return dies || kind === Kind.BarrierAll || kind === Kind.AwaitDeath ? -1 : word
}

const MOVES = Object.keys(Move)

function unfit(i: number, { thread, move }: Step, machine: Machine): HotplugError {
  const place = machine.at[thread]
  const reason =
    place === undefined
      ? `there is no thread ${thread}`
      : `${machine.places.spec.threads[thread]!.name} ${stateOf(place)}`
  return new HotplugError('EINVAL', `replay step ${i + 1}, thread ${thread} ${MOVES[move]}`, reason)
}

function stateOf(place: Place): string {
  if (place.dead) return 'is dead'
  if (place.finished) return 'has ended'
  return place.queue < 0 ? 'cannot do that here' : `sleeps on word ${place.queue}`
}
