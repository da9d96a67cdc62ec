/*
 * Models: a few threads over a few shared words, and what must hold whatever order they run in.
 *
 *     model({ name, shared, threads, never, atEnd, ... })      a description, to be proved
 *     mustFail(model({ ... }), { kind: 'deadlock' })           one that must be found broken
 *
 * `.check()` learns the threads (`learn/`), searches their product (`search/`) and either returns
 * figures or throws the shortest schedule that breaks it.
 */
import { type Description, describe, type ModelOptions, type Search } from './describe.ts'
import { CheckFailure, type Figures, type Found } from './failure.ts'
import type { Views } from './layout.ts'
import type { FailureKind } from './program.ts'
import { type RunOptions, run } from './run.ts'

/** What one run may say differently from the model. */
export interface CheckOptions {
  readonly search?: Search | undefined
  readonly identity?: 'frames' | 'history' | undefined
  readonly audit?: boolean | undefined
  readonly maxStates?: number | undefined
  /** Called now and then with the number of states so far. */
  readonly onProgress?: ((states: number) => void) | undefined
}

/** Figures of a run that ended as it should. */
export interface Report extends Figures {
  readonly model: string
  /** `bounded`: nothing was found within the search's bound. `found`: it fails, as it must. */
  readonly verdict: 'proved' | 'bounded' | 'found'
  /** What the verdict is about: threads, deaths, memory, bound. */
  readonly scope: string
  /** How it fails, if it must. */
  readonly found: Found | null
}

/** What `npm run check` runs: a model, or one that must fail. */
export interface Checkable {
  readonly name: string
  /** Whether it must be found broken. */
  readonly mustFail: boolean
  readonly description: Description
  /**
   * @throws {CheckFailure} it does not behave as it must.
   * @throws {Refusal} the source did something that cannot be captured.
   */
  check(options?: CheckOptions): Report
}

/**
 * Describes a model; nothing runs before its `check()`. (`S` comes from `shared` alone: bodies may
 * name the type of what they are given.)
 *
 * @throws {HotplugError} `EINVAL`: no threads, overlapping names, values that do not fit, ...
 */
export function model<S extends Views = never>(options: ModelOptions<S>): Checkable {
  const description = describe(options as unknown as ModelOptions<Views>)
  const { name, scope } = description
  return {
    name,
    mustFail: false,
    description,
    check(options: CheckOptions = {}): Report {
      const ran = run(description, runOptions(description, options))
      const { verdict, figures, found } = ran
      if (verdict === 'failed') throw new CheckFailure(name, found!.trace, ran)
      return { model: name, verdict, scope, ...figures, found: null }
    },
  }
}

/** How a model must fail. What is left out may be anything. */
export interface Expectation {
  readonly kind?: FailureKind
  /** What its trace must show. */
  readonly message?: RegExp
  /** Length of the shortest schedule. */
  readonly steps?: number
}

/** A model that must be found broken: the proof that a check can fail. */
export function mustFail({ description }: Checkable, expectation: Expectation = {}): Checkable {
  const { name, scope } = description
  return {
    name,
    mustFail: true,
    description,
    check(options: CheckOptions = {}): Report {
      const ran = run(description, runOptions(description, options))
      const wrong = mismatch(ran.found, expectation)
      if (wrong !== null) throw new CheckFailure(name, `it must fail${wrong}`, ran)
      return { model: name, verdict: 'found', scope, ...ran.figures, found: ran.found }
    },
  }
}

function mismatch(found: Found | null, { kind, message, steps }: Expectation): string | null {
  if (found === null) return ', and was proved'
  const { trace } = found
  if (kind !== undefined && found.kind !== kind) return ` with ${kind}, not so:\n${trace}`
  if (message !== undefined && !message.test(trace)) return ` with ${message}, not so:\n${trace}`
  if (steps === undefined || found.steps.length === steps) return null
  return ` in ${steps} steps, not so:\n${trace}`
}

const MAX_STATES = 50_000_000

function runOptions({ options }: Description, check: CheckOptions): RunOptions {
  return {
    search: check.search ?? options.search ?? 'all',
    identity: check.identity ?? options.identity ?? 'frames',
    audit: check.audit ?? options.audit ?? true,
    maxStates: check.maxStates ?? options.maxStates ?? MAX_STATES,
    onProgress: check.onProgress,
  }
}
