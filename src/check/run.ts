/*
 * From a model to its automata and its search, and from what was found back to its words.
 */

import type { Description, ModelThread, Search, ThreadFace } from './describe.ts'
import type { Found, Ran } from './failure.ts'
import { type Automaton, learn } from './learn/automaton.ts'
import {
  type Failure,
  Move,
  type Program,
  type SearchSpec,
  type StateView,
  type Step,
} from './program.ts'
import { type Names, tellEnd, tellSteps } from './report.ts'
import { formatSchedule } from './schedule.ts'
import { type Happening, type Outcome, replay } from './search/replay.ts'
import { search } from './search/search.ts'
import { bind } from './state.ts'

/** How one run searches. */
export interface RunOptions {
  readonly search: Search
  readonly identity: 'frames' | 'history'
  readonly audit: boolean
  readonly maxStates: number
  readonly onProgress: ((states: number) => void) | undefined
}

const AUDIT = { rounds: 2, seed: 1 }

/** Learns and searches a model. */
export function run(model: Description, options: RunOptions): Ran {
  const started = performance.now()
  const automaton = learnModel(model, options.identity)
  const spec = specOf(model, automaton, options)
  const { verdict, failure, states, transitions, bytes } = search(automaton, spec)
  if (options.audit) {
    if (failure === null) automaton.audit(AUDIT)
    else automaton.auditNodes()
  }
  const ms = performance.now() - started
  const { nrNodes: localStates, codeRuns } = automaton
  const figures = { states, transitions, localStates, codeRuns, bytes, ms }
  return { verdict, figures, found: failure && foundOf(model, automaton, spec, failure) }
}

/** Begins to learn the automata of a model's threads. */
function learnModel(model: Description, identity: 'frames' | 'history'): Automaton {
  const { layout, threads } = model
  return learn({
    initial: layout.initial,
    views: layout.regions.map(({ start, view }) => ({ start, length: view.length })),
    bodies: threads.map((thread, id) => bodyOf(model, thread, id)),
    identity,
  })
}

/** Runs a thread's body over its views. */
export function bodyOf({ layout }: Description, { body }: ModelThread, id: number) {
  return (views: readonly Int32Array[], { cs, awaitDeath }: Omit<ThreadFace, 'id'>): void => {
    const face: Record<string, unknown> & ThreadFace = { id, cs, awaitDeath }
    layout.regions.forEach(({ name }, i) => {
      face[name] = views[i]
    })
    body(face)
  }
}

function specOf(model: Description, automaton: Automaton, run: RunOptions): SearchSpec {
  const { options, threads, layout } = model
  return {
    threads,
    initial: layout.initial,
    never: neverOf(model, automaton),
    atEnd: options.atEnd && bind(options.atEnd, layout, automaton),
    deaths: options.deaths ?? 0,
    timeouts: options.timeouts ?? false,
    spurious: options.spurious ?? false,
    memory: options.memory ?? 'tso',
    livelock: options.livelock ?? true,
    reduce: options.reduce ?? true,
    mode: modeOf(run.search),
    maxStates: run.maxStates,
    onProgress: run.onProgress,
  }
}

function modeOf(search: Search): SearchSpec['mode'] {
  if (typeof search === 'string') return { kind: search }
  if ('preemptions' in search) return { kind: 'preemptions', bound: search.preemptions }
  return { kind: 'pct', depth: search.pct, runs: search.runs, seed: search.seed }
}

/** A word that outgrows its declared width counts as a state that must not be reached. */
function neverOf(model: Description, automaton: Automaton): SearchSpec['never'] {
  const { options, layout } = model
  const { limits } = layout
  const never = options.never && bind(options.never, layout, automaton)
  const narrow = [...limits.keys()].filter(index => limits[index] !== Infinity)
  if (narrow.length === 0) return never
  const overflows = (state: StateView): boolean =>
    narrow.some(index => state.word(index) < 0 || state.word(index) > limits[index]!)
  return state => overflows(state) || never?.(state) === true
}

/** A schedule that was played on a model. */
export interface Played {
  readonly program: Program
  readonly names: Names
  readonly steps: readonly Happening[]
  readonly end: Outcome
}

const REPLAY: RunOptions = {
  search: 'all',
  identity: 'history',
  audit: false,
  maxStates: 0,
  onProgress: undefined,
}

/**
 * Plays a schedule.
 *
 * @throws {HotplugError} `EINVAL`: it does not fit.
 */
export function playModel(model: Description, steps: readonly Step[]): Played {
  const program = learnModel(model, 'history')
  return play(model, program, specOf(model, program, REPLAY), steps)
}

function play(
  model: Description,
  program: Program,
  spec: SearchSpec,
  schedule: readonly Step[],
): Played {
  const steps: Happening[] = []
  const replayed = replay(program, spec, schedule)
  for (let next = replayed.next(); ; next = replayed.next()) {
    if (next.done) return { program, names: namesOf(model), steps, end: next.value }
    steps.push(next.value)
  }
}

/** The lines of a schedule that was played. */
export function tellPlayed({ program, names, steps, end }: Played): string {
  return `${tellSteps(program, names, steps)}\n${tellEnd(program, names, end)}`
}

/** Plays the schedule anew on what nothing was merged into, so that it is one of the source. */
function foundOf(
  model: Description,
  program: Program,
  spec: SearchSpec,
  { kind, message, steps }: Failure,
): Found {
  const learned = steps.some(({ move }) => move === Move.Early) // depends on what is known
  const played = learned ? play(model, program, spec, steps) : playModel(model, steps)
  const overflow = overflowText(model, played.end.words)
  const what = overflow !== null ? 'overflow' : kind
  const why = overflow ?? (kind === 'deadlock' ? sleepersText(model, played, message) : message)
  const schedule = formatSchedule(steps)
  const shortest = spec.mode.kind === 'pct' ? 'a schedule' : 'shortest schedule'
  const head = `${what}: ${why}: ${shortest}, ${steps.length} steps; replay: ${schedule}`
  return { kind: what, steps, schedule, trace: `${head}\n${tellPlayed(played)}` }
}

function sleepersText({ threads }: Description, { end }: Played, message: string): string {
  const asleep = threads
    .filter(({ daemon }, thread) => {
      const { dead, queue } = end.threads[thread]!
      return !daemon && !dead && queue >= 0
    })
    .map(({ name }) => name)
  if (asleep.length === 0) return message
  return `${asleep.join(', ')} ${asleep.length === 1 ? 'sleeps' : 'sleep'} for ever`
}

function overflowText({ layout }: Description, words: Int32Array): string | null {
  const { limits, names } = layout
  const index = words.findIndex((value, i) =>
    value < 0 ? limits[i] !== Infinity : value > limits[i]!,
  )
  return index < 0 ? null : `${names[index]} is ${words[index]}, and holds 0 to ${limits[index]}`
}

function namesOf({ threads, layout }: Description): Names {
  return { threads: threads.map(({ name }) => name), words: layout.names }
}
