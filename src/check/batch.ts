/*
 * Checks models one after the other, and prints what became of each.
 */
import { CheckFailure } from './failure.ts'
import type { Loaded } from './load.ts'
import type { CheckOptions, Report } from './model.ts'
import { Progress } from './progress.ts'
import { Table } from './table.ts'
import { isSteerable, replayOnWorkers } from './workers.ts'

/** How models are checked; see the command's help. */
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

/** A result as the command prints it with --json. */
export function plain({ name, report, error, asleep }: Result): object {
  const failure =
    error instanceof CheckFailure
      ? { ...error.found, message: error.text }
      : error && { code: 'code' in error ? error.code : error.name, message: error.message }
  return { name, ok: error === null, ...report, failure, asleep }
}
