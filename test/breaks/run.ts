/*
 * One run of the ship with one protection left out, or with none, and what came of it. A run that
 * did not do all in its time has not noticed anything, nor has one that this file had to end, or
 * whose watchdog found it at work: only threads that were told to end, and do not, hang.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { COMPARING, ENDING, type Ship } from '../../demo/ship.ts'
import { EXIT } from '../../demo/verdict.ts'

const DEMO = fileURLToPath(new URL('../../demo/main.js', import.meta.url))
const LIMIT_MS = 90_000
const OUTPUT_MAX = 64 * 2 ** 20
/** A watchdog says what was done last, and for how long; less is no hang, the run was slow. */
const HANG_SECONDS = 10
/** By which others end a process, not it itself. */
const FROM_OUTSIDE: readonly string[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']

/** How a run ended. */
export interface Ending {
  /** Whether all was done, and well. */
  readonly isGood: boolean
  /** Whether something was found that must not be: a record, an exception, or the watchdog. */
  readonly isNoticed: boolean
  /** What there is to say. */
  readonly text: string
}

/** What a process left behind. */
export interface Output {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly isTooLate: boolean
  readonly stdout: string
  readonly stderr: string
}

/** Runs the ship, `kind` left out, with `args` for the demonstration. */
export function runBroken(kind: string, args: readonly string[]): Ending {
  const env = { ...process.env, HOTPLUG_BREAK: kind }
  const argv = ['--conditions=broken', DEMO, '--act', 'ship', '--json', ...args]
  const { status, signal, stdout, stderr, error } = spawnSync(process.execPath, argv, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: OUTPUT_MAX,
  })
  const isTooLate = (error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT'
  if (error !== undefined && !isTooLate) throw error
  return endingOf({ status, signal, isTooLate, stdout, stderr })
}

/** What a process's output says of it. */
export function endingOf({ status, signal, isTooLate, stdout, stderr }: Output): Ending {
  const unnoticed = (text: string): Ending => ({ isGood: false, isNoticed: false, text })
  const noticed = (text: string): Ending => ({ isGood: false, isNoticed: true, text })
  if (isTooLate) return unnoticed(`neither it nor its watchdog ended it in ${LIMIT_MS / 1000} s`)
  if (signal !== null && FROM_OUTSIDE.includes(signal)) return unnoticed(`ended by ${signal}`)
  if (status === EXIT.good) return { isGood: true, isNoticed: false, text: 'all well' }
  const error = /^\w*Error\b.*$/m.exec(stderr)
  if (error !== null) return noticed(error[0])
  const watchdog = /^watchdog: .*; (.*), for (\d+) s$/m.exec(stderr)
  if (watchdog !== null) return isHang(watchdog) ? noticed(watchdog[0]) : unnoticed(watchdog[0])
  if (signal !== null) return noticed(`it crashed, ${signal}`)
  if (status === EXIT.unfinished) return unnoticed(`time was over, nothing wrong: ${done(stdout)}`)
  if (status !== EXIT.bad) return unnoticed(`it ended with ${status}: ${firstLine(stderr)}`)
  if (stdout === '') return unnoticed(`for no reason: ${firstLine(stderr)}`)
  return ofRecords(stdout) ? noticed(done(stdout)) : unnoticed(done(stdout))
}

/** Whether what a watchdog said was last done takes that long only if something hangs. */
function isHang([, doing, seconds]: RegExpExecArray): boolean {
  return [ENDING, COMPARING].includes(doing!) && Number(seconds) >= HANG_SECONDS
}

/** Whether records are the reason. */
function ofRecords(stdout: string): boolean {
  const { failed, wrong, lost } = shipOf(stdout)
  return failed + wrong + lost > 0
}

function done(stdout: string): string {
  const { failed, wrong, lost, lastError, readWaits, voyagesDone, voyages } = shipOf(stdout)
  const waits = readWaits === 0 ? '' : `, ${readWaits} reads waited`
  const error = lastError === '' ? '' : ` (${lastError})`
  const records = `failed ${failed}, wrong ${wrong}, lost ${lost}${waits}${error}`
  return `${records}; ${voyagesDone} of ${voyages} voyages`
}

function shipOf(stdout: string): Ship {
  return (JSON.parse(stdout) as { ship: Ship }).ship
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0]!
}
