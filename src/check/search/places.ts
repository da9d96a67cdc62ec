/*
 * Places: everything about a thread that is its own, numbered.
 *
 * A node of the automaton says what the thread's source does next. A place adds what the machine
 * knows of the thread: whether it sleeps or died, how many plain stores it has not yet written to
 * memory, which deaths it was told of. Two things are left out, as they depend on the others: its
 * rank among the sleepers, and memory.
 *
 * Threads of a class share places, so a state is turned into its canonical form by sorting.
 * A dead thread's node does not matter any more, nor does a finished one's knowledge; such places
 * are merged.
 */
import { Kind, type Program, type SearchSpec } from '../program.ts'
import type { Automata } from './automata.ts'
import { type Early, Mode, type Place, type PlaceKey } from './place.ts'
import { type Row, rowsOf } from './rows.ts'
import type { Words } from './words.ts'

/** The places of all threads. */
export class Places {
  readonly program: Program
  readonly automata: Automata
  readonly words: Words
  readonly spec: SearchSpec
  /** Places so far, of all classes. */
  count = 0
  /** Places so far, by class. */
  readonly classes: readonly Place[][]
  private readonly keys: readonly Map<string, Place>[]

  constructor(automata: Automata, words: Words, spec: SearchSpec) {
    this.program = automata.program
    this.automata = automata
    this.words = words
    this.spec = spec
    this.classes = spec.threads.map(() => [])
    this.keys = spec.threads.map(() => new Map())
  }

  root(thread: number): Place {
    const threadClass = this.automata.classOf[thread]!
    return this.live(threadClass, this.program.roots[threadClass]!, {})
  }

  live(
    threadClass: number,
    node: number,
    more: { pending?: readonly number[]; told?: number; early?: Early | null },
  ): Place {
    const done = this.program.kind[node]! >= Kind.Done
    const { pending = [], told = 0, early = null } = more
    const key = { node, mode: Mode.Live, pending, told: done ? 0 : told, early, queue: -1 }
    return this.intern(threadClass, key)
  }

  asleep(place: Place): Place {
    const queue = this.program.word[place.node]!
    return this.intern(place.threadClass, { ...keyOf(place), mode: Mode.Asleep, queue })
  }

  dead(place: Place): Place {
    const { pending } = place
    const key = { node: -1, mode: Mode.Dead, pending, told: 0, early: null, queue: -1 }
    return this.intern(place.threadClass, key)
  }

  zombie(place: Place): Place {
    const { queue } = place
    const key = { node: -1, mode: Mode.Zombie, pending: [], told: 0, early: null, queue }
    return this.intern(place.threadClass, key)
  }

  /** The place with its oldest plain store written. */
  flushed(place: Place): Place {
    return this.intern(place.threadClass, { ...keyOf(place), pending: place.pending.slice(2) })
  }

  /** The place before its operation with a store made early. */
  early(place: Place, early: Early): Place {
    return this.intern(place.threadClass, { ...keyOf(place), early })
  }

  /** Where a sleeper is once it was notified. */
  woken(place: Place): Place {
    if (place.woken === null) place.woken = this.wake(place, 0)
    return place.woken
  }

  /** Where a sleeper is once its wait resulted in `result`. */
  wake(place: Place, result: number): Place {
    if (place.mode === Mode.Zombie) return this.dead(place)
    const node = this.automata.next(place.node, result)
    return this.live(place.threadClass, node, { told: place.told })
  }

  /** What may happen at the place next. */
  rows(place: Place): readonly Row[] {
    place.rows ??= rowsOf(this, place)
    return place.rows
  }

  private intern(threadClass: number, key: PlaceKey): Place {
    const { node, mode, pending, told, early, queue } = key
    const text = `${node},${mode},${told},${early?.word},${early?.value},${queue}:${pending}`
    const keys = this.keys[threadClass]!
    const known = keys.get(text)
    if (known !== undefined) return known
    const dead = mode === Mode.Dead || mode === Mode.Zombie
    const kind = dead ? Kind.Done : this.program.kind[node]!
    const place: Place = {
      ...key,
      threadClass,
      index: this.classes[threadClass]!.length,
      dead,
      label: dead ? 0 : this.program.label[node]!,
      finished: kind >= Kind.Done,
      failed: kind === Kind.Fail,
      dirty: pending.length > 0 || early !== null,
      rows: null,
      woken: null,
    }
    keys.set(text, place)
    this.classes[threadClass]!.push(place)
    this.count++
    return place
  }
}

function keyOf(place: Place): PlaceKey {
  const { node, mode, pending, told, early, queue } = place
  return { node, mode, pending, told, early, queue }
}
