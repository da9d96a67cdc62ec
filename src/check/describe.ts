/*
 * What a model says: threads over shared words, and what must hold whatever order they run in.
 */
import { HotplugError } from '../lib/errors.ts'
import { type Declare, declare, type Layout, layOut, type Views, type WordsOf } from './layout.ts'
import type { ThreadSpec } from './program.ts'
import { THREADS_MAX } from './schedule.ts'
import type { State } from './state.ts'

/** What a body is given beside the views, which it finds under their names. */
export interface ThreadFace {
  /** The thread's number, from 0 over all threads of the model. */
  readonly id: number
  /** Says where the thread is, for `never` and the trace; '' is nowhere in particular. No step. */
  cs(label: string): void
  /** Blocks until a thread is dead that this one was not told of; returns its number. */
  awaitDeath(): number
}

/** Threads that run one body. */
export interface ThreadOptions<S extends Views> {
  readonly name: string
  /** How many; 1 if left out. With more they are called `name1`, `name2`, ... */
  readonly count?: number | undefined
  /** They are interchangeable: no body looks at `id`, no word depends on it. */
  readonly symmetric?: boolean | undefined
  /** Need not finish, and does not die: a recovery that waits for deaths. */
  readonly daemon?: boolean | undefined
  /** Whether they are among those that may die; true if left out, and never of a daemon. */
  readonly mortal?: boolean | undefined
  /** Synchronous; builds its own objects; shares nothing but the declared words. */
  body(face: WordsOf<S> & ThreadFace): void
}

/** How to search. */
export type Search =
  /** Every state, exactly. */
  | 'all'
  /** Every state, told apart by 64 bits: n of them may hide another with a chance of n^2 / 2^65. */
  | 'fingerprints'
  /** Schedules with so many preemptions at most. */
  | { readonly preemptions: number }
  /** So many random runs, each with `pct` changes of priority. */
  | { readonly pct: number; readonly runs: number; readonly seed: number }

/** A model. */
export interface ModelOptions<S extends Views> {
  readonly name: string
  /** Declares every shared word. */
  shared(declare: Declare): S
  readonly threads: readonly ThreadOptions<NoInfer<S>>[]
  /** True in a state that must not be reached. */
  never?(state: State<S>): boolean
  /** False in an end (all but daemons done or dead, nobody can move) that is wrong. */
  atEnd?(state: State<S>): boolean
  /** How many threads may die, each before any of its operations; 0 if left out. */
  readonly deaths?: number | undefined
  /** Whether waits with a timeout may time out; else they last. */
  readonly timeouts?: boolean | undefined
  /** Whether sleepers may wake without a reason. */
  readonly spurious?: boolean | undefined
  /** How plain stores travel: x86-64's store buffers, or arm64's. `tso` if left out. */
  readonly memory?: 'tso' | 'arm' | undefined
  /** Whether every state must be able to reach an end; true if left out. */
  readonly livelock?: boolean | undefined
  /** Whether states are left out in which a thread is about to do what nobody notices. True. */
  readonly reduce?: boolean | undefined
  readonly search?: Search | undefined
  /** How two moments of a thread are known to be one; see docs/checking.md. */
  readonly identity?: 'frames' | 'history' | undefined
  /** Whether merged moments are run again, to be sure. True if left out. */
  readonly audit?: boolean | undefined
  /** Gives up beyond so many states. */
  readonly maxStates?: number | undefined
}

/** A thread of a model: one of an entry's `count`. */
export interface ModelThread extends ThreadSpec {
  readonly body: (face: Record<string, unknown> & ThreadFace) => void
}

/** A model, read and found sound. */
export interface Description {
  readonly name: string
  readonly options: ModelOptions<Views>
  readonly layout: Layout
  readonly threads: readonly ModelThread[]
  /** What a verdict is about: threads, deaths, memory, bound. */
  readonly scope: string
}

/**
 * Reads a model.
 *
 * @throws {HotplugError} `EINVAL`: no threads, overlapping names, values that do not fit, ...
 */
export function describe(options: ModelOptions<Views>): Description {
  const { name } = options
  const shared = options.shared(declare)
  refuseReserved(name, shared)
  const threads = options.threads.flatMap((entry, index) => threadsOf(name, entry, index))
  validate(options, threads)
  return { name, options, layout: layOut(name, shared), threads, scope: scopeOf(options) }
}

function threadsOf(model: string, entry: ThreadOptions<Views>, index: number): ModelThread[] {
  const { name, count = 1, symmetric = false, daemon = false, mortal = !daemon, body } = entry
  if (!(Number.isInteger(count) && count > 0)) refuse(model, `${count} threads ${name}`)
  if (typeof body !== 'function') refuse(model, `thread ${name} has no body`)
  if (daemon && mortal) refuse(model, `daemon ${name} is to be mortal`)
  return Array.from({ length: count }, (_, i) => ({
    name: count === 1 ? name : `${name}${i + 1}`,
    group: symmetric && count > 1 ? index : -1,
    daemon,
    mortal,
    body: body as ModelThread['body'],
  }))
}

function validate(options: ModelOptions<Views>, threads: readonly ModelThread[]): void {
  const { name, deaths = 0, memory = 'tso' } = options
  if (threads.length === 0) refuse(name, 'it has no threads')
  if (threads.length > THREADS_MAX)
    refuse(name, `${threads.length} threads, not 1 to ${THREADS_MAX}`)
  if (threads.every(thread => thread.daemon)) refuse(name, 'all its threads are daemons')
  const mortal = threads.filter(thread => thread.mortal).length
  if (!(Number.isInteger(deaths) && deaths >= 0 && deaths <= mortal)) {
    refuse(name, `${deaths} deaths, with ${mortal} threads that can die`)
  }
  if (memory !== 'tso' && memory !== 'arm') refuse(name, `memory is ${memory}, not tso or arm`)
}

const RESERVED: readonly string[] = ['id', 'cs', 'awaitDeath', 'in', 'dead']

function refuseReserved(model: string, shared: Views): void {
  for (const name of RESERVED) {
    if (name in shared) refuse(model, `a view cannot be called ${name}`)
  }
}

function refuse(model: string, reason: string): never {
  throw new HotplugError('EINVAL', `model ${model}`, reason)
}

function scopeOf({ threads, deaths = 0, timeouts, spurious, memory, search }: ModelOptions<Views>) {
  const parts = [threads.map(({ name, count = 1 }) => `${count} ${name}`).join(' + ')]
  if (deaths > 0) {
    const spared = threads.some(({ daemon, mortal }) => daemon !== true && mortal === false)
    const names = threads.filter(({ daemon, mortal = !daemon }) => mortal).map(({ name }) => name)
    const whose = spared ? ` of ${names.join(' or ')}` : ''
    parts.push(`${deaths === 1 ? '1 death' : `${deaths} deaths`}${whose}`)
  }
  if (timeouts) parts.push('timeouts')
  if (spurious) parts.push('spurious')
  if (memory !== undefined) parts.push(memory)
  if (search !== undefined && search !== 'all') {
    parts.push(typeof search === 'string' ? search : JSON.stringify(search).replace(/["{}]/g, ''))
  }
  return parts.join(', ')
}
