/*
 * Room on the stack, asked for before it is needed: so that who must not be interrupted by a
 * RangeError is not.
 *
 * There is no way to ask how much is left. But a function that has many registers is refused by the
 * engine when its frame does not fit, as it is entered: in the interpreter because it makes the
 * frame, in optimised code because it may have to go back to the interpreter. There, all that is
 * left of the function below is that comparison.
 *
 * Its registers are variables that are mentioned where nothing is run, which takes no code. The
 * call that is never made is too long for the function to become a part of others.
 */
import { compileFunction } from 'node:vm'

/** Calls on a map take 4 KiB; V8 compiles a function, for the first time or better, with 40. */
const ROOM_BYTES = 48 * 1024
const REGISTER_BYTES = 8
const NR_ARGUMENTS = 200

/** So that it is optimized soon: in the interpreter, the frame takes microseconds. */
const WARM_UP_CALLS = 5
const WARM_UP_TURNS = 20_000

type Enter = (turns: number, never: null) => void

let enter: Enter | null = null

/**
 * Makes sure that there are `ROOM_BYTES` on the stack for what the caller calls next.
 *
 * @throws {RangeError} There are not.
 */
export function requireStack(): void {
  if (enter === null) enter = make()
  enter(0, null)
}

function make(): Enter {
  const names = Array.from({ length: ROOM_BYTES / REGISTER_BYTES }, (_, i) => `r${i}`).join()
  const body = `
    var ${names}
    if (false) [${names}]
    for (var i = 0; i < turns; i++);
    if (never) never(${'0,'.repeat(NR_ARGUMENTS)})
  `
  const made = compileFunction(body, ['turns', 'never']) as Enter
  for (let i = 0; i < WARM_UP_CALLS; i++) made(WARM_UP_TURNS, null)
  return made
}
