/*
 * Finds out what a body does next, by running it.
 *
 * The body runs from its start; its first operations result in what they are said to have resulted
 * in, and at the first one beyond that a throw ends the run. From then on the run is poisoned: if
 * a `catch` or `finally` of the body goes on, the next thing it calls throws again.
 *
 * On the way every operation is compared with the one that was met there before. What is known of
 * the moment of capture is taken before the throw, while the stack still stands.
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

/** The moment that a run came to. */
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
  private again = false
  private poisoned = false
  private refusal: Refusal | null = null
  private moment: Moment | null = null

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
   * Runs a body along `path`, and to the operation after it.
   *
   * @param again Whether it has come to such a moment before: then the engine's stack need not be
   *   compared with the frames once more.
   * @throws {Refusal} it did something that cannot be captured, or other operations than these.
   */
  run(body: Body, path: readonly Step[], again = false): Moment {
    this.begin(path)
    this.again = again
    const before = setDriver(this)
    frames.watch = this
    frames.n = 0
    try {
      const returned: unknown = body(this.memory.views, this.face)
      if (returned instanceof Promise) this.refuseAsync(returned)
      this.moment ??= this.momentOf(Kind.Done, 0, 0, 0)
    } catch (error) {
      if (!this.poisoned) this.fail(error)
    } finally {
      frames.watch = null
      setDriver(before)
    }
    if (this.refusal !== null) throw this.refusal
    if (this.at < path.length) throw new Refusal(notRepeated(path[this.at] as Step, null), null)
    return this.moment as unknown as Moment
  }

  operate(kind: Kind, words: Int32Array, index: number, a: number, b: number): number {
    if (this.poisoned) throw STOP
    if (kind === Kind.BarrierAll) return this.step(kind, 0, 0, 0)
    const word = this.memory.wordOf(words, index)
    if (word < 0) this.refuse('an operation on shared memory that the model does not declare')
    return this.step(kind, word, a, b)
  }

  refuse(what: string, site: Site | null = currentSite()): never {
    this.refusal ??= new Refusal(what, site)
    this.poisoned = true
    throw this.refusal
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

  private begin(path: readonly Step[]): void {
    this.path = path
    this.at = 0
    this.ticks = 0
    this.label = ''
    this.stores = []
    this.reads = []
    this.poisoned = false
    this.refusal = null
    this.moment = null
  }

  private step(kind: Kind, word: number, a: number, b: number): number {
    if (this.poisoned) throw STOP
    this.ticks = 0
    const known = this.path[this.at]
    if (known === undefined) return this.stop(kind, word, a, b)
    if (known.kind !== kind || known.word !== word || known.a !== a || known.b !== b) {
      this.refuse(notRepeated(known, { kind, word, a, b, result: 0 }))
    }
    this.at++
    this.track(kind, word, kind === Kind.StorePlain ? a : known.result)
    return known.result
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

  private stop(kind: Kind, word: number, a: number, b: number): never {
    const state = this.identity === 'frames' ? this.frameState() : []
    const sites = this.identity === 'frames' ? frameSites() : visibleSites(callSites())
    this.moment = this.momentOf(kind, word, a, b)
    Object.assign(this.moment, { sites, state })
    this.poisoned = true
    throw STOP
  }

  private fail(error: unknown): void {
    const sites = sitesOfError(error)
    if (isPassedBy(error)) this.refusal = new Refusal(PASSED_BY, sites[0] ?? null)
    this.moment = this.momentOf(Kind.Fail, 0, 0, 0)
    Object.assign(this.moment, { error: errorText(error), sites })
  }

  private momentOf(kind: Kind, word: number, a: number, b: number): Moment {
    const { label, stores, reads } = this
    return {
      ...{ kind, word, a, b, label, error: '', sites: [], state: [] },
      stores: stores.length === 0 ? NONE : stores,
      reads: reads.length === 0 ? NONE : reads,
    }
  }

  /** The published frames as text, outermost first. */
  private frameState(): string[] {
    try {
      if (!this.again) verifyFrames(frames)
    } catch (error) {
      this.refusal ??= error as Refusal
      this.poisoned = true
      throw error
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
