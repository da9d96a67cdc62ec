/*
 * Kills a real thread at every one of the shared operations of a call, and looks at what is left.
 *
 * For n = 1, 2, ... a fresh worker prepares itself, then makes the call, counted by the seam's
 * twin (atomics/fault.ts), which stops it for ever just before its n-th operation. There the
 * worker is terminated. The sweep ends with the n that is more than the call has.
 *
 * Each kill takes a worker, about a tenth of a second of a processor. Calls with hundreds of
 * operations are killed at every `stride`th only, and where that begins moves on with each commit
 * (run.ts): `stride` commits one after the other are killed at each. HOTPLUG_SWEEP=n begins where a
 * run began that says so, HOTPLUG_STRIDE=1 kills at each in one run: `npm run kills`.
 */
import { FAULT_WORDS, Fault } from '../src/atomics/fault.ts'
import { sharedWords, TestThread, until } from './thread.ts'

const OPERATIONS_MAX = 20_000
const STRIDE = Number(process.env.HOTPLUG_STRIDE ?? 0)
const SWEEP = Number(process.env.HOTPLUG_SWEEP ?? 0)

/** How many operations of a call a sweep passes over before it kills. */
export function offsetOf(stride: number): number {
  return SWEEP % stride
}

/** For the output of a sweep. */
export function sweepText(): string {
  return `HOTPLUG_SWEEP=${SWEEP}`
}

/** What the thread that is to die is told: the body calls `faultAt(n, control)` by `countFrom`. */
export interface VictimData<D> {
  readonly n: number
  readonly control: Int32Array
  readonly data: D
}

/** How far a victim has got. */
export interface Progress {
  /** Whether it is about to die, or has ended its call. */
  isOver(): boolean
  /** Whether it sleeps in its call. */
  isAsleep(): boolean
}

/** One call, to be killed at each of its operations. */
export interface Sweep<S extends { readonly data: D }, D> {
  /** URL of the compiled module that exports the victim, and its name there. */
  readonly module: URL
  readonly name: string
  /** Kills at every so manyth operation; 1 if left out. See `offsetOf`. */
  readonly stride?: number
  /** Victims that live at a time; 2 if left out. */
  readonly atOnce?: number
  /** Fresh memory, and what other threads do before the call. `data` goes to the victim. */
  begin(): S
  /** Runs beside the call: releases what the victim waits for, and the like. */
  meanwhile?(state: S, victim: Progress): Promise<void>
  /** The victim is dead (or has ended, if `died` is false): what must be true now. */
  check(state: S, died: boolean, n: number): void | Promise<void>
}

/**
 * Runs a sweep.
 *
 * @returns How many operations the call has: so many threads were killed.
 */
export async function killAtEach<S extends { readonly data: D }, D>(
  sweep: Sweep<S, D>,
): Promise<number> {
  const stride = STRIDE || (sweep.stride ?? 1)
  let n = 1 + offsetOf(stride)
  let nrKilled = 0
  let isDone = false
  const lane = async (): Promise<void> => {
    while (!isDone) {
      const mine = n
      n += stride
      if (mine > OPERATIONS_MAX) throw new Error(`${sweep.name}: no end of operations`)
      const died = await killAt(sweep, mine).catch(error => {
        const where = `${sweep.name}: killed before operation ${mine}, ${sweepText()}`
        throw new Error(`${where}: ${error}`, { cause: error })
      })
      if (died) nrKilled++
      else isDone = true
    }
  }
  await Promise.all(Array.from({ length: sweep.atOnce ?? 2 }, lane))
  return nrKilled
}

async function killAt<S extends { readonly data: D }, D>(
  sweep: Sweep<S, D>,
  n: number,
): Promise<boolean> {
  const state = sweep.begin()
  const control = sharedWords(FAULT_WORDS)
  const data: VictimData<D> = { n, control, data: state.data }
  const victim = new TestThread(sweep.module, sweep.name, data, {
    execArgv: ['--conditions=fault', '--enable-source-maps'],
  })
  let isEnded = false
  const ended = victim.result.finally(() => (isEnded = true))
  ended.catch(() => {})
  const isOver = (): boolean => isEnded || Atomics.load(control, Fault.Stopped) === 1
  const isAsleep = (): boolean => Atomics.load(control, Fault.Asleep) === 1
  await sweep.meanwhile?.(state, { isOver, isAsleep })
  await until(`${sweep.name}: operation ${n}, or its end`, isOver)
  const died = !isEnded
  if (died) await victim.kill()
  else await ended
  await sweep.check(state, died, n)
  return died
}
