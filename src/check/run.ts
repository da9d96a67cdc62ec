/*
 * From a model to its automata and its search, and from what was found back to its words.
 */

import type { Description, ModelThread, Search, ThreadFace } from './describe.ts'
import type { Found } from './failure.ts'
import { type Automaton, learn } from './learn/automaton.ts'
import { type Play, play } from './play.ts'
import type { Failure, Program, SearchResult, SearchSpec, StateView, Step } from './program.ts'
import { type Names, tellEnd, tellSteps } from './report.ts'
import { formatSchedule } from './schedule.ts'
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

/** How much a run did. */
export interface Figures {
  readonly states: number
  readonly transitions: number
  /** Moments of single threads that were told apart. */
  readonly localStates: number
  /** How often a body was run to learn them. */
  readonly codeRuns: number
  /** Memory that the states took. */
  readonly bytes: number
  readonly ms: number
}

/** What one run found. */
export interface Ran {
  readonly verdict: SearchResult['verdict']
  readonly figures: Figures
  readonly found: Found | null
}

const AUDIT = { rounds: 4, seed: 1 }

/** Learns and searches a model. */
export function run(model: Description, options: RunOptions): Ran {
  const started = performance.now()
  const automaton = learnModel(model, options.identity)
  const spec = specOf(model, automaton, options)
  const { verdict, failure, states, transitions, bytes } = search(automaton, spec)
  if (options.audit) automaton.audit(AUDIT)
  const ms = performance.now() - started
  const { nrNodes: localStates, codeRuns } = automaton
  const figures = { states, transitions, localStates, codeRuns, bytes, ms }
  return { verdict, figures, found: failure && foundOf(model, automaton, spec, failure) }
}

/** Learns the automata of a model's threads, as far as their first operations. */
export function learnModel(model: Description, identity: 'frames' | 'history'): Automaton {
  const { layout, threads } = model
  return learn({
    nrWords: layout.nrWords,
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
  const never = options.never && bind(options.never, layout, automaton)
  const narrow = narrowWords(model)
  if (narrow.length === 0) return never
  return state => overflows(model, state, narrow) >= 0 || never?.(state) === true
}

function narrowWords({ layout }: Description): number[] {
  return [...layout.limits.keys()].filter(index => layout.limits[index] !== Infinity)
}

/** The first word that is wider than declared, or -1. */
function overflows({ layout }: Description, state: StateView, narrow: readonly number[]): number {
  for (let i = 0; i < narrow.length; i++) {
    const index = narrow[i] as number
    const value = state.word(index)
    if (value < 0 || value > (layout.limits[index] as number)) return index
  }
  return -1
}

/** A schedule that was played on a model. */
export interface Played extends Play {
  readonly program: Program
  readonly names: Names
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
  return { program, names: namesOf(model), ...play(program, specOf(model, program, REPLAY), steps) }
}

/** The lines of a schedule that was played. */
export function tellPlayed({ program, names, told, left, words }: Played): string {
  return `${tellSteps(program, names, told)}\n${tellEnd(program, names, left, words)}`
}

function foundOf(
  model: Description,
  program: Automaton,
  spec: SearchSpec,
  { kind, message, steps }: Failure,
): Found {
  const played = { program, names: namesOf(model), ...play(program, spec, steps) }
  const outgrown = overflows(model, played.state, narrowWords(model))
  const what =
    outgrown < 0
      ? { kind, message: kind === 'deadlock' ? headline(model, played, message) : message }
      : { kind: 'overflow' as const, message: overflowText(model, played, outgrown) }
  const schedule = formatSchedule(steps)
  const shortest = spec.mode.kind === 'pct' ? 'a schedule' : 'shortest schedule'
  const head = `${what.kind}: ${what.message}: ${shortest}, ${steps.length} steps`
  const trace = `${head}; replay: ${schedule}\n${tellPlayed(played)}`
  return { kind: what.kind, steps, schedule, trace }
}

function headline({ threads }: Description, { left }: Play, message: string): string {
  const asleep = left
    .filter(({ state, thread }) => state === 'sleeps' && !threads[thread]!.daemon)
    .map(({ thread }) => threads[thread]!.name)
  if (asleep.length === 0) return message
  return `${asleep.join(', ')} ${asleep.length === 1 ? 'sleeps' : 'sleep'} for ever`
}

function overflowText({ layout }: Description, { words }: Played, index: number): string {
  return `${layout.names[index]} is ${words[index]}, and holds 0 to ${layout.limits[index]}`
}

function namesOf({ threads, layout }: Description): Names {
  return { threads: threads.map(({ name }) => name), words: layout.names }
}
