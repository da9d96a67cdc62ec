import type { FailureKind, SearchResult, Step } from './program.ts'

/** A failing schedule, told for people. */
export interface Found {
  readonly kind: FailureKind
  readonly steps: readonly Step[]
  /** The steps as `--replay` takes them. */
  readonly schedule: string
  /** One line for each step: who, what, where in the source. */
  readonly trace: string
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

/** A model does not behave as it must. The message ends with the shortest schedule. */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
  readonly code = 'ECHECK'
  readonly model: string
  /** Null if the model must fail and was proved. */
  readonly found: Found | null
  readonly figures: Figures
  /** The message without the model's name. */
  readonly text: string

  constructor(model: string, text: string, { found, figures }: Ran) {
    super(`${model}: ${text}`)
    this.model = model
    this.text = text
    this.found = found
    this.figures = figures
  }
}
