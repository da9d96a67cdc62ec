import type { FailureKind, Step } from './program.ts'

/** A failing schedule, told for people. */
export interface Found {
  readonly kind: FailureKind
  readonly steps: readonly Step[]
  /** The steps as `--replay` takes them. */
  readonly schedule: string
  /** One line for each step: who, what, where in the source. */
  readonly trace: string
}

/** A model does not behave as it must. The message ends with the shortest schedule. */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
  readonly code = 'ECHECK'
  readonly model: string
  /** Null if the model must fail and was proved. */
  readonly found: Found | null
  /** The message without the model's name. */
  readonly text: string

  constructor(model: string, text: string, found: Found | null) {
    super(`${model}: ${text}`)
    this.model = model
    this.text = text
    this.found = found
  }
}
