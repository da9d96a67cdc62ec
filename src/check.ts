/*
 * `hotplug/check`: a model checker for code whose threads share only words of shared memory.
 * See docs/checking.md.
 */

export type { ModelOptions, Search, ThreadFace, ThreadOptions } from './check/describe.ts'
export { CheckFailure, type Figures, type Found } from './check/failure.ts'
export type { Declare, Place, Places, View, ViewOptions, Views, WordsOf } from './check/layout.ts'
export {
  type Checkable,
  type CheckOptions,
  type Expectation,
  model,
  mustFail,
  type Report,
} from './check/model.ts'
export { type FailureKind, Move, Refusal, type Site, type Step } from './check/program.ts'
export type { State, WordsIn } from './check/state.ts'
export { HotplugError } from './lib/errors.ts'
