/*
 * The search half of the checker: explores the product of the learned automata.
 *
 *     words, places, rows    what a thread may do at a place, and what comes of it
 *     layout, tables, loop   the same, packed into integers, for a loop that does nothing else
 *     store, explore         which states were seen, breadth first
 *     watch, livelock        what must not be reached, and what must not be left for ever
 *     machine, walk, pct     one state, unpacked, and schedules chosen at random
 *     path, replay, failure  the schedule found, and what is wrong with it
 *     quiet                  leaves out what nobody can notice
 *
 * `Move.Early` depends on the edges known, so with it the search is repeated until nothing was
 * learned: only then no store was made early that a load decides about.
 */
import { Kind, type Program, type SearchResult, type SearchSpec, type Step } from '../program.ts'
import { THREADS_MAX } from '../schedule.ts'
import { Automata } from './automata.ts'
import { type Exploration, explore } from './explore.ts'
import { messageOf } from './failure.ts'
import { after, pathTo } from './path.ts'
import { searchAtRandom } from './pct.ts'
import { Places } from './places.ts'
import { Noticed, QuietProgram } from './quiet.ts'
import { Words } from './words.ts'

/**
 * Explores what `program`'s threads can do together.
 *
 * With symmetric threads `never` and `atEnd` must not tell them apart.
 *
 * @throws {Refusal} the source cannot be checked, or threads declared symmetric differ.
 * @throws {TooBig} (`ETOOBIG`) there are more than `spec.maxStates` states.
 */
export function search(program: Program, spec: SearchSpec): SearchResult {
  const exhaustive = spec.mode.kind === 'all' || spec.mode.kind === 'fingerprints'
  if (!exhaustive || spec.memory === 'arm' || !spec.reduce) return searchProgram(program, spec)
  const result = searchQuietly(program, spec)
  return result.verdict === 'failed' ? searchProgram(program, spec) : result
}

/** Without the operations that nobody notices. */
function searchQuietly(program: Program, spec: SearchSpec): SearchResult {
  const words = new Words(spec.initial)
  for (;;) {
    try {
      return searchProgram(new QuietProgram(program, spec.initial), spec, words)
    } catch (error) {
      if (!(error instanceof Noticed)) throw error
    }
  }
}

/** @param words Values that shared words are known to take: fields are wide enough for them. */
function searchProgram(
  program: Program,
  spec: SearchSpec,
  words = new Words(spec.initial),
): SearchResult {
  const { mode } = spec
  if (program.nrThreads > THREADS_MAX) {
    throw new Error(`a model has at most ${THREADS_MAX} threads, not ${program.nrThreads}`)
  }
  if (mode.kind === 'pct') return searchAtRandom(placesOf(program, spec, false, words), mode)
  for (;;) {
    const places = placesOf(program, spec, mode.kind !== 'preemptions', words)
    const before = program.nrEdges
    const found = explore(places, spec)
    const final = spec.memory === 'tso' || program.nrEdges === before || !loadsPlain(program)
    if (final) return resultOf(found, places)
  }
}

/** @param symmetric Whether groups of threads are made use of. */
function placesOf(program: Program, spec: SearchSpec, symmetric: boolean, words: Words): Places {
  const threads = symmetric ? spec.threads : spec.threads.map(t => ({ ...t, group: -1 }))
  return new Places(new Automata(program, threads), words, spec)
}

function loadsPlain({ kind, nrNodes }: Program): boolean {
  return kind.subarray(0, nrNodes).includes(Kind.LoadPlain)
}

function resultOf({ finding, store, bytes }: Exploration, places: Places): SearchResult {
  const counts = { states: store.count, transitions: store.transitions, bytes }
  if (finding === null) {
    const bounded = places.spec.mode.kind === 'preemptions'
    return { verdict: bounded ? 'bounded' : 'proved', failure: null, ...counts }
  }
  const steps: Step[] = pathTo(finding.index, store, places)
  const message = messageOf(finding.kind, after(steps, places))
  if (finding.step !== null) steps.push(finding.step)
  return { verdict: 'failed', failure: { kind: finding.kind, message, steps }, ...counts }
}
