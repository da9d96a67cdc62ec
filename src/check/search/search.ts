/*
 * The search half of the checker: explores the product of the learned automata.
 */
import { type Failure, Kind, type Program, type SearchResult, type SearchSpec } from '../program.ts'
import { Automata } from './automata.ts'
import { type Exploration, explore } from './explore.ts'
import type { Place } from './places.ts'
import { Places } from './places.ts'
import { stepOf } from './tables.ts'
import { Words } from './words.ts'

/**
 * Explores what `program`'s threads can do together.
 *
 * @throws {Refusal} the source cannot be checked, or threads declared symmetric differ.
 * @throws {TooBig} (`ETOOBIG`) there are more than `spec.maxStates` states.
 */
export function search(program: Program, spec: SearchSpec): SearchResult {
  const automata = new Automata(program, spec.threads)
  const words = new Words(spec.initial)
  const places = new Places(automata, words, spec)
  const found = explore(places, spec)
  const failure = failureOf(found, spec)
  const { store } = found
  return {
    verdict: failure === null ? 'proved' : 'failed',
    failure,
    states: store.count,
    transitions: store.transitions,
    bytes: store.bytes,
  }
}

function failureOf({ finding, store, tables }: Exploration, spec: SearchSpec): Failure | null {
  if (finding === null) return null
  const { kind, index } = finding
  const steps = []
  for (let i = index; store.parent(i) >= 0; i = store.parent(i)) steps.push(stepOf(store.via(i)))
  steps.reverse()
  const chunk = store.chunk(index)
  const offset = store.offset(index)
  const ends = spec.threads.map((_, t) => tables.place(t, chunk, offset))
  return { kind, message: messageOf(kind, ends, tables.places.program, spec), steps }
}

function messageOf(
  kind: Failure['kind'],
  ends: readonly Place[],
  program: Program,
  spec: SearchSpec,
): string {
  switch (kind) {
    case 'deadlock':
      return ends
        .map((place, t) => ({ place, name: spec.threads[t]!.name }))
        .filter(({ place }, t) => !spec.threads[t]!.daemon && !place.finished)
        .map(({ place, name }) => `${name} ${doing(place, program)}`)
        .join(', ')
    case 'exception': {
      const t = ends.findIndex(place => place.failed)
      return `${spec.threads[t]!.name} throws: ${program.error(ends[t]!.node)}`
    }
    case 'never':
      return 'a state that must never be reached'
    case 'atEnd':
      return 'all have ended, and the end state is wrong'
    default:
      return kind
  }
}

function doing(place: Place, program: Program): string {
  if (place.queue >= 0) return `sleeps on word ${place.queue}`
  return program.kind[place.node] === Kind.AwaitDeath ? 'waits for a death' : 'cannot move'
}
