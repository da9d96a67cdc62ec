/*
 * Finds out what a body does next, by running it.
 *
 * The body runs from its start; its first operations result in what they are said to have resulted
 * in. At each one beyond that the listener says what it results in, or that the run ends: by a
 * throw. From then on the run is poisoned: if a `catch` or `finally` of the body goes on, the next
 * thing it calls throws again.
 *
 * On the way every operation is compared with the one that was met there before. What is known of
 * a moment is taken while the stack still stands.
 */
import { BUFFER_MAX, Kind, Refusal, type Site } from '../program.ts'
import { Canon, Opaque } from './canon.ts'
import { type Driver, setDriver } from './driver.ts'
import { frames, type Watch } from './frames.ts'
import { type LearnView, SharedMemory } from './shared.ts'
import { callSites, currentSite, sitesOfError, verifyFrames, visibleSites } from './stack.ts'

const TICKS_MAX = 1_000_000
const NAMES = Object.keys(Kind)

/** Ends a run; nobody but the capture may catch it. */
const STOP = new Error('hotplug: the run of a checked body ends here')

const NONE: readonly number[] = Object.freeze([])

/** What a body is given beside its views. The same two functions in every run of a thread. */
export interface LearnFace {
  /** Says where the thread is from now on. No step. */
  readonly cs: (label: string) => void
  /** A step of `Kind.AwaitDeath`. */
  readonly awaitDeath: () => number
}

/** Runs a body once, from its start. */
export type Body = (views: readonly Int32Array[], face: LearnFace) => void

/** When two moments of a thread are taken for one. */
export type Identity = 'frames' | 'history'

/** An operation that must be met, and what it is to result in. */
export interface Step {
  readonly kind: number
  readonly word: number
  readonly a: number
  readonly b: number
  readonly result: number
}

/** A moment that a run comes to. */
export interface Moment {
  kind: Kind
  word: number
  a: number
  b: number
  label: string
  stores: readonly number[]
  reads: readonly number[]
  sites: readonly Site[]
  /** Message of `Kind.Fail`. */
  error: string
  /** The thread's own state, piece by piece, each after its name; empty for `history`. */
  state: string[]
}

/** Who is told of the moments of a run: of all beyond its path, and on it of those asked for. */
export interface Listener {
  /** Whether the engine's stack is compared with the frames; not if the moments are known. */
  readonly verifies?: boolean
  /** Whether to be told of the moment before operation `at` of the path, from 0. */
  looksAt?(at: number): boolean
  /**
   * @param at How many operations came before.
   * @returns What the moment's operation results in, to go on beyond the path; null ends the run.
   */
  met(moment: Moment, at: number): number | null
}

/** Runs bodies over pretended memory. */
export class Capture implements Driver, Watch {
  private readonly memory: SharedMemory
  private readonly identity: Identity
  private readonly face: LearnFace
  private path: readonly Step[] = []
  private at = 0
  private ticks = 0
  private label = ''
  private stores: number[] = []
  private reads: number[] = []
  private poisoned = false
  /** What the run ends with: a refusal, or what the listener threw. */
  private thrown: unknown = null
  private listener!: Listener

  constructor(nrWords: number, views: readonly LearnView[], identity: Identity) {
    this.memory = new SharedMemory(nrWords, views, what => this.refuse(what))
    this.identity = identity
    this.face = {
      cs: label => {
        this.label = String(label)
      },
      awaitDeath: () => this.step(Kind.AwaitDeath, 0, 0, 0),
    }
  }

  /**
   * Runs a body along `path`, and on from there as long as `listener` says how.
   *
   * @throws {Refusal} it did something that cannot be captured, or other operations than these.
   */
  run(body: Body, path: readonly Step[], listener: Listener): void {
    this.begin(path, listener)
    const before = setDriver(this)
    frames.watch = this
    frames.n = 0
    let end: Moment | null = null
    try {
      const returned: unknown = body(this.memory.views, this.face)
      if (returned instanceof Promise) this.refuseAsync(returned)
      if (!this.poisoned) end = this.momentOf(Kind.Done, 0, 0, 0)
    } catch (error) {
      if (!this.poisoned) end = this.failure(error)
    } finally {
      frames.watch = null
      setDriver(before)
    }
    if (this.thrown !== null) throw this.thrown
    if (this.at < path.length) throw new Refusal(notRepeated(path[this.at] as Step, null), null)
    if (end !== null) listener.met(end, this.at)
  }

  operate(kind: Kind, words: Int32Array, index: number, a: number, b: number): number {
    if (this.poisoned) throw STOP
    if (kind === Kind.BarrierAll) return this.step(kind, 0, 0, 0)
    const word = this.memory.wordOf(words, index)
    if (word < 0) this.refuse('an operation on shared memory that the model does not declare')
    return this.step(kind, word, a, b)
  }

  refuse(what: string, site: Site | null = currentSite()): never {
    if (this.poisoned) throw this.thrown ?? STOP // only a catch or finally can have come here
    return this.endWith(new Refusal(what, site))
  }

  tick(): void {
    if (this.poisoned) throw STOP
    if (++this.ticks > TICKS_MAX) {
      const what = `the body never ends: ${TICKS_MAX} calls and rounds of loops without`
      this.refuse(`${what} an operation on shared memory`)
    }
  }

  private refuseAsync(returned: Promise<unknown>): void {
    returned.catch(() => {}) // how the run ended, in its own words
    if (!this.poisoned) this.refuse('a body must not be async: use the blocking forms')
  }

  private begin(path: readonly Step[], listener: Listener): void {
    this.path = path
    this.listener = listener
    this.at = 0
    this.ticks = 0
    this.label = ''
    this.stores = []
    this.reads = []
    this.poisoned = false
    this.thrown = null
  }

  private endWith(error: unknown): never {
    this.thrown ??= error
    this.poisoned = true
    throw this.thrown
  }

  private step(kind: Kind, word: number, a: number, b: number): number {
    if (this.poisoned) throw STOP
    this.ticks = 0
    const known = this.path[this.at]
    if (known === undefined) return this.goOn(kind, word, a, b)
    if (known.kind !== kind || known.word !== word || known.a !== a || known.b !== b) {
      this.refuse(notRepeated(known, { kind, word, a, b, result: 0 }))
    }
    if (this.listener.looksAt?.(this.at) === true) this.meet(kind, word, a, b)
    return this.passed(kind, word, a, known.result)
  }

  /** Beyond the path. */
  private goOn(kind: Kind, word: number, a: number, b: number): number {
    const result = this.meet(kind, word, a, b)
    if (result !== null) return this.passed(kind, word, a, result)
    this.poisoned = true
    throw STOP
  }

  private passed(kind: Kind, word: number, a: number, result: number): number {
    this.at++
    this.track(kind, word, kind === Kind.StorePlain ? a : result)
    return result
  }

  /** What may be on its way to memory, and what the compiler may remember. */
  private track(kind: Kind, word: number, value: number): void {
    if (kind === Kind.LoadPlain) {
      const known = this.reads.findIndex((at, i) => i % 2 === 0 && at >= word)
      const at = known < 0 ? this.reads.length : known
      this.reads.splice(at, this.reads[at] === word ? 2 : 0, word, value)
      return
    }
    this.reads = []
    if (kind === Kind.Load) return
    if (kind !== Kind.StorePlain) this.stores = []
    else this.stores = [...this.stores, word, value].slice(-2 * BUFFER_MAX)
  }

  private meet(kind: Kind, word: number, a: number, b: number): number | null {
    const moment = this.momentOf(kind, word, a, b)
    const isFrames = this.identity === 'frames'
    moment.state = isFrames ? this.frameState() : []
    moment.sites = isFrames ? frameSites() : visibleSites(callSites())
    try {
      return this.listener.met(moment, this.at)
    } catch (error) {
      return this.endWith(error)
    }
  }

  /** The moment of a body that threw. Sets `thrown` if the checker was passed by. */
  private failure(error: unknown): Moment {
    const sites = sitesOfError(error)
    if (isPassedBy(error)) this.thrown = new Refusal(PASSED_BY, sites[0] ?? null)
    return Object.assign(this.momentOf(Kind.Fail, 0, 0, 0), { error: errorText(error), sites })
  }

  private momentOf(kind: Kind, word: number, a: number, b: number): Moment {
    const { label, stores, reads } = this
    return {
      ...{ kind, word, a, b, label, error: '', sites: [], state: [] },
      stores: stores.length === 0 ? NONE : stores,
      reads: reads.length === 0 ? NONE : [...reads],
    }
  }

  /** The published frames as text, outermost first. */
  private frameState(): string[] {
    try {
      if (this.listener.verifies === true) verifyFrames(frames, this.step)
    } catch (error) {
      this.endWith(error)
    }
    const canon = new Canon(object => this.memory.describe(object))
    const state: string[] = []
    for (let depth = 0; depth < frames.n; depth++) {
      const module = frames.tableOf(frames.modules[depth]!)
      const call = frames.calls[depth] as number
      state.push('', `${module.id}.${call}`)
      for (const [i, value] of (frames.values[depth] ?? []).entries()) {
        const name = module.table.sites[call]?.[4][i] as string
        state.push(name, this.textOf(canon, name, value, module.site(call)))
      }
    }
    return state
  }

  private textOf(canon: Canon, name: string, value: unknown, site: Site): string {
    try {
      return canon.text(value)
    } catch (error) {
      if (!(error instanceof Opaque)) throw error
      const holder = name.startsWith('$') ? 'an expression around it' : `\`${name}\``
      const what = `${holder} holds ${error.message} the checker cannot see, across this call`
      return this.refuse(what, site)
    }
  }
}

/** The calls that the frames stand at, innermost first. */
function frameSites(): Site[] {
  const sites: Site[] = []
  for (let depth = frames.n - 1; depth >= 0; depth--) {
    sites.push(frames.tableOf(frames.modules[depth]!).site(frames.calls[depth] as number))
  }
  return sites
}

/** An operation for people. */
export function stepText({ kind, word, a, b }: Omit<Step, 'result'>): string {
  return `${NAMES[kind]} of word ${word} (${a}, ${b})`
}

function notRepeated(known: Step, met: Step | null): string {
  const found = met === null ? 'it ended' : `it came to ${stepText(met)}`
  const what = 'the body is not the same in every run: after the same results'
  return `${what}, it came to ${stepText(known)} once, then ${found}`
}

const PASSED_BY =
  'an operation went past the checker: it took its functions from Atomics before ' +
  'hotplug/check/register was loaded'

/** Whether real operations were tried on the pretended memory. */
function isPassedBy(error: unknown): boolean {
  return error instanceof TypeError && / typed array/.test(error.message)
}

function errorText(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
