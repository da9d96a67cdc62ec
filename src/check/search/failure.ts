/*
 * What is wrong, for people.
 */
import { type FailureKind, Kind, Move } from '../program.ts'
import type { Machine } from './machine.ts'
import type { Place } from './place.ts'
import type { Places } from './places.ts'
import { Random } from './random.ts'
import { Act } from './rows.ts'

/** Steps in which a trapped machine is watched. */
const LOOP_STEPS = 2000

/** What is wrong with the state that the machine is in. Words are given by number. */
export function messageOf(kind: FailureKind, machine: Machine): string {
  switch (kind) {
    case 'deadlock':
      return deadlock(machine)
    case 'livelock':
      return `${list(loopers(machine))} can go on for ever, and all that must end never can`
    case 'exception':
      return exception(machine)
    case 'never':
      return 'a state that must never be reached'
    case 'atEnd':
      return 'all have ended, and the end state is wrong'
    case 'overflow':
      return 'a word takes too many values'
  }
}

function deadlock({ places, at }: Machine): string {
  const { threads } = places.spec
  return threads
    .flatMap(({ name, daemon }, t) => {
      const place = at[t]!
      return daemon || place.finished ? [] : [`${name} ${idleness(place, places)}`]
    })
    .join(', ')
}

/** What a thread that cannot go on does. */
function idleness(place: Place, places: Places): string {
  if (place.queue >= 0) return `sleeps on word ${place.queue}`
  const waits = places.program.kind[place.node] === Kind.AwaitDeath
  return waits ? 'waits for a death' : 'cannot go on'
}

function exception({ places, at }: Machine): string {
  const t = at.findIndex(({ failed }) => failed)
  return `${places.spec.threads[t]!.name} throws: ${places.program.error(at[t]!.node)}`
}

/** Names of the threads that go round where no end can be reached. */
function loopers(machine: Machine): string[] {
  const random = new Random(1)
  const seen = new Set<number>()
  for (let i = 0; i < LOOP_STEPS; i++) {
    const options = machine.options().filter(({ row }) => (row.act & Act.Choice) === 0)
    if (options.length === 0) break
    const option = random.pick(options)
    machine.step(option)
    if (i > LOOP_STEPS / 2 && option.row.move === Move.Run) seen.add(option.thread)
  }
  const { threads } = machine.places.spec
  return threads.filter((_, t) => seen.has(t)).map(({ name }) => name)
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}
