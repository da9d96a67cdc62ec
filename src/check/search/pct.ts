/*
 * Schedules at random, with priorities (PCT: "A Randomized Scheduler with Probabilistic
 * Guarantees of Finding Bugs", Burckhardt et al., ASPLOS 2010).
 *
 * In each run threads get random priorities, and the one with the highest that can run does, but
 * for `depth` - 1 steps chosen at random at which it falls below all others. What the machine
 * does by itself (stores reaching memory, deaths) comes in between at random. A thread that goes
 * round waiting for another also falls, from time to time.
 */
import {
  type FailureKind,
  Move,
  type SearchResult,
  type SearchSpec,
  type Step,
} from '../program.ts'
import { messageOf } from './failure.ts'
import { Machine, type Option } from './machine.ts'
import { after } from './path.ts'
import type { Places } from './places.ts'
import { Random } from './random.ts'
import { Act } from './rows.ts'

type Mode = Extract<SearchSpec['mode'], { kind: 'pct' }>

/** Of how many steps one, about, is the machine's own if there is one. */
const OWN_RARITY = 8

/** A run is given up after so many steps. */
const STEPS_MAX = 5000

/** After so many steps that were not expected, the running thread falls. */
const PATIENCE = 100

/** Runs `mode.runs` schedules. */
export function searchAtRandom(places: Places, mode: Mode): SearchResult {
  const machine = new Machine(places)
  const random = new Random(mode.seed)
  let transitions = 0
  let longest = PATIENCE
  for (let run = 0; run < mode.runs; run++) {
    const schedule = new Schedule(machine, random, mode.depth, longest)
    const kind = schedule.run()
    const { steps } = schedule
    transitions += steps.length
    longest = Math.max(longest, steps.length)
    if (kind !== null) {
      const message = messageOf(kind, after(steps, places))
      const failure = { kind, message, steps }
      return { verdict: 'failed', failure, states: transitions, transitions, bytes: 0 }
    }
  }
  return { verdict: 'bounded', failure: null, states: transitions, transitions, bytes: 0 }
}

class Schedule {
  readonly steps: Step[] = []
  private readonly machine: Machine
  private readonly random: Random
  private readonly priorities: number[]
  /** Steps at which the running thread falls. */
  private readonly falls: Set<number>
  private readonly expected: number
  private lowest = 0

  constructor(machine: Machine, random: Random, depth: number, expected: number) {
    this.machine = machine
    this.random = random
    this.expected = expected
    this.priorities = Array.from({ length: machine.nrThreads }, () => 1 + random.below(1 << 30))
    this.falls = new Set(Array.from({ length: depth - 1 }, () => random.below(expected)))
  }

  /** Runs to the end; what went wrong, or null. */
  run(): FailureKind | null {
    const { machine, steps } = this
    machine.reset()
    for (;;) {
      const wrong = this.wrong()
      if (wrong !== null || steps.length === STEPS_MAX) return wrong
      const options = machine.options()
      if (!options.some(isWayOut)) return this.wrongAtEnd()
      const option = this.choose(options)
      steps.push({ thread: option.thread, move: option.row.move })
      machine.step(option)
    }
  }

  private wrong(): FailureKind | null {
    const { machine } = this
    if (machine.at.some(({ failed }) => failed)) return 'exception'
    return machine.places.spec.never?.(machine) === true ? 'never' : null
  }

  private wrongAtEnd(): FailureKind | null {
    if (!this.machine.ended) return 'deadlock'
    return this.machine.places.spec.atEnd?.(this.machine) === false ? 'atEnd' : null
  }

  private choose(options: readonly Option[]): Option {
    const { random, priorities, steps } = this
    const runs = options.filter(({ row }) => row.move === Move.Run)
    const own = options.filter(({ row }) => row.move !== Move.Run)
    if (own.length > 0 && (runs.length === 0 || random.below(OWN_RARITY) === 0)) {
      return random.pick(runs.length === 0 ? own.filter(isWayOut) : own)
    }
    const late = steps.length - this.expected
    const falls = this.falls.has(steps.length) || (late > 0 && late % PATIENCE === 0)
    if (falls) priorities[this.highest(runs).thread] = --this.lowest
    return this.highest(runs)
  }

  private highest(options: readonly Option[]): Option {
    const { priorities } = this
    return options.reduce((a, b) => (priorities[b.thread]! > priorities[a.thread]! ? b : a))
  }
}

function isWayOut({ row }: Option): boolean {
  return (row.act & Act.Choice) === 0
}
