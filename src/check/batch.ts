/*
 * Checks models one after the other, and prints what became of each.
 */
import { CheckFailure } from './failure.ts'
import type { Loaded } from './load.ts'
import type { CheckOptions, Report } from './model.ts'
import { grouped, Table } from './table.ts'
import { isSteerable, replayOnWorkers } from './workers.ts'

/** How. See the command's help. */
export interface BatchOptions {
  readonly workers: boolean
  readonly identity: 'frames' | 'history' | undefined
}

/** What became of one model. */
export interface Result {
  readonly name: string
  readonly report: Report | null
  readonly error: Error | null
  /** After a replay on real threads: those that were left asleep. */
  readonly asleep: readonly string[] | null
}

/** Checks them all, and prints a table as it grows. */
export async function checkBatch(
  chosen: readonly Loaded[],
  options: BatchOptions,
  print: (text: string) => void,
): Promise<Result[]> {
  const table = new Table(
    chosen.map(({ check }) => check.name),
    chosen.map(({ check }) => check.description.scope),
  )
  print(table.header())
  const results: Result[] = []
  for (const loaded of chosen) {
    const result = await checkOne(loaded, options)
    results.push(result)
    const { name, description } = loaded.check
    const figures = result.error instanceof CheckFailure ? result.error.figures : result.report
    print(table.row({ name, scope: description.scope, figures, verdict: verdictOf(result) }))
    if (result.error !== null) print(`\n${textOf(result.error)}\n`)
  }
  return results
}

/** What models came to, together. */
export interface Tally {
  readonly models: number
  readonly failed: number
  readonly states: number
  readonly ms: number
}

/** Adds results up. */
export function tallyOf(results: readonly Result[]): Tally {
  const reports = results.flatMap(({ report }) => report ?? [])
  return {
    models: results.length,
    failed: results.filter(({ error }) => error !== null).length,
    states: reports.reduce((sum, report) => sum + report.states, 0),
    ms: reports.reduce((sum, report) => sum + report.ms, 0),
  }
}

/** For people. */
export function summary({ models, failed, states, ms }: Tally): string {
  const verdict = failed === 0 ? 'all as they must be' : `${failed} not as they must be`
  const all = models === 1 ? '1 model' : `${models} models`
  return `${all}, ${verdict}: ${grouped(states)} states in ${grouped(ms)} ms`
}

async function checkOne({ file, check }: Loaded, options: BatchOptions): Promise<Result> {
  const { name } = check
  const progress = new Progress(name)
  const { identity } = options
  const how: CheckOptions = { identity, onProgress: states => progress.show(states) }
  try {
    const report = check.check(how)
    const { found } = report
    if (!options.workers || found === null || !isSteerable(found.steps))
      return { name, report, error: null, asleep: null }
    const { asleep } = await replayOnWorkers(file, check.description, found.steps)
    return { name, report, error: null, asleep }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return { name, report: null, error, asleep: null }
  } finally {
    progress.clear()
  }
}

function verdictOf({ report, error, asleep }: Result): string {
  if (error !== null) return 'FAILS'
  if (report === null || report.found === null) return report?.verdict ?? ''
  const { kind, steps } = report.found
  const real = asleep === null ? '' : ', so do real threads'
  return `fails, as it must: ${kind} in ${steps.length} steps${real}`
}

/** What is said of an error. */
export function textOf(error: Error): string {
  if (error instanceof CheckFailure) return error.text
  return 'code' in error ? `${error.name}: ${error.message}` : (error.stack ?? error.message)
}

/** For JSON. */
export function plain({ name, report, error, asleep }: Result): object {
  const failure =
    error instanceof CheckFailure
      ? { ...error.found, message: error.text }
      : error && { code: 'code' in error ? error.code : error.name, message: error.message }
  return { name, ok: error === null, ...report, failure, asleep }
}

const PROGRESS_MS = 1000

/** A line on a terminal's stderr that says how far a long search is. */
class Progress {
  private readonly name: string
  private readonly started = performance.now()
  private shown = false

  constructor(name: string) {
    this.name = name
  }

  show(states: number): void {
    const ms = performance.now() - this.started
    if (!process.stderr.isTTY || ms < PROGRESS_MS) return
    this.shown = true
    const seconds = Math.round(ms / 1000)
    process.stderr.write(`\r\x1b[K${this.name}: ${grouped(states)} states, ${seconds} s`)
  }

  clear(): void {
    if (this.shown) process.stderr.write('\r\x1b[K')
  }
}
