#!/usr/bin/env node
/*
 * `hotplug-check`: runs the models of check files and prints what was proved.
 *
 * The twin of the seam and the transform are chosen when a process starts, so the command runs
 * itself once more with them.
 */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { HotplugError } from '../lib/errors.ts'
import { CheckFailure } from './failure.ts'
import { findChecks, type Loaded, loadChecks } from './load.ts'
import type { CheckOptions, Report } from './model.ts'
import { checkInParallel } from './parallel.ts'
import { playModel, tellPlayed } from './run.ts'
import { parseSchedule } from './schedule.ts'
import { grouped, Table } from './table.ts'
import { isSteerable, replayOnWorkers } from './workers.ts'

const HELP = `hotplug-check [files or folders]

  Runs the models that *.check.js files export; without arguments those below this folder.

  --only TEXT          only models whose name contains TEXT
  --replay SCHEDULE    show this schedule instead of searching; needs one model
  --workers            run the schedule on real threads, and compare where it ends: the one of
                       --replay, or the one found for each model that must fail
  --identity history   merge no moments of threads: always sound, seldom ends
  --jobs N             check files at a time, each in a process of its own (one per core)
  --json               figures as JSON on stdout
  --help               this text

Exit status: 0 if all is as it must be, 1 if not.
`

const CONDITION = '--conditions=check'

interface Arguments {
  readonly paths: readonly string[]
  readonly only: string
  readonly replay: string | undefined
  readonly workers: boolean
  readonly identity: 'frames' | 'history' | undefined
  /** Check files at a time. */
  readonly jobs: number
  readonly json: boolean
  readonly help: boolean
}

const ARGUMENTS = {
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    replay: { type: 'string' },
    workers: { type: 'boolean', default: false },
    identity: { type: 'string' },
    jobs: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
} as const

function readArguments(): Arguments {
  const { values, positionals } = parseArgs(ARGUMENTS)
  const { identity } = values
  const jobs = Number(values.jobs ?? availableParallelism())
  if (!Number.isInteger(jobs) || jobs < 1) {
    throw new HotplugError('EINVAL', `--jobs ${values.jobs}`, 'it is a number from 1 on')
  }
  if (identity !== undefined && identity !== 'frames' && identity !== 'history') {
    throw new HotplugError('EINVAL', `--identity ${identity}`, 'it is frames or history')
  }
  const paths = positionals.length === 0 ? ['.'] : positionals
  return { ...values, replay: values.replay, identity, jobs, paths }
}

async function main(): Promise<number> {
  const args = readArguments()
  if (args.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (!process.execArgv.includes(CONDITION)) {
    const files = findChecks(args.paths)
    const isMany = files.length > 1 && args.replay === undefined && !args.json && args.only === ''
    const nrProcesses = Math.min(args.jobs, files.length)
    if (!isMany || nrProcesses === 1) return again()
    return await checkInParallel(files, [...flags(), ...ownOptions()], nrProcesses)
  }
  const all = await loadChecks(findChecks(args.paths))
  const chosen = all.filter(({ check }) => check.name.includes(args.only))
  if (chosen.length === 0) throw noModels(all, args)
  if (args.replay !== undefined) return await replayOne(chosen, args, args.replay)
  return await checkAll(chosen, args)
}

/** What node is given to run this command under the conditions that checking needs. */
function flags(): string[] {
  const register = new URL('./register.js', import.meta.url).href
  return [...process.execArgv, CONDITION, '--import', register, fileURLToPath(import.meta.url)]
}

/** The options of this call, without its files. */
function ownOptions(): string[] {
  const { tokens } = parseArgs({ ...ARGUMENTS, tokens: true })
  return tokens.flatMap(token => {
    if (token.kind !== 'option') return []
    return token.value === undefined ? [token.rawName] : [token.rawName, token.value]
  })
}

function again(): number {
  const argv = [...flags(), ...process.argv.slice(2)]
  const { status, error } = spawnSync(process.execPath, argv, { stdio: 'inherit' })
  if (error !== undefined) throw error
  return status ?? 1
}

function noModels(all: readonly Loaded[], { only, paths }: Arguments): HotplugError {
  const reason = all.length === 0 ? 'no file exports a model' : `no model is called so:${list(all)}`
  return new HotplugError('ENOENT', `check ${only === '' ? paths.join(' ') : only}`, reason)
}

function list(loaded: readonly Loaded[]): string {
  return loaded.map(({ check }) => `\n  ${check.name}`).join('')
}

async function replayOne(
  chosen: readonly Loaded[],
  { workers }: Arguments,
  schedule: string,
): Promise<number> {
  const [only] = chosen
  if (only === undefined || chosen.length > 1) {
    const reason = `choose one model by --only:${list(chosen)}`
    throw new HotplugError('EINVAL', `replay ${schedule}`, reason)
  }
  const { name, description } = only.check
  const steps = parseSchedule(schedule, description.threads.length)
  const told = tellPlayed(playModel(description, steps))
  process.stdout.write(`${name}: ${steps.length} steps\n${told}\n`)
  if (!workers) return 0
  const { asleep } = await replayOnWorkers(only.file, description, steps)
  process.stdout.write(`\non real threads: the same end${asleepText(asleep)}\n`)
  return 0
}

function asleepText(asleep: readonly string[]): string {
  return asleep.length === 0 ? '' : `; ${asleep.join(', ')} asleep, until terminated`
}

async function checkAll(chosen: readonly Loaded[], args: Arguments): Promise<number> {
  const table = new Table(
    chosen.map(({ check }) => check.name),
    chosen.map(({ check }) => check.description.scope),
  )
  const print = (text: string): void => {
    if (!args.json) process.stdout.write(`${text}\n`)
  }
  print(table.header())
  const results: Result[] = []
  for (const loaded of chosen) {
    const result = await checkOne(loaded, args)
    results.push(result)
    const { name, description } = loaded.check
    const figures = result.error instanceof CheckFailure ? result.error.figures : result.report
    print(table.row({ name, scope: description.scope, figures, verdict: verdictOf(result) }))
    if (result.error !== null) print(`\n${textOf(result.error)}\n`)
  }
  const failed = results.filter(({ error }) => error !== null).length
  if (args.json) process.stdout.write(`${JSON.stringify(results.map(plain), null, 2)}\n`)
  else print(summary(results, failed))
  return failed === 0 ? 0 : 1
}

interface Result {
  readonly name: string
  readonly report: Report | null
  readonly error: Error | null
  /** After a replay on real threads: those that were left asleep. */
  readonly asleep: readonly string[] | null
}

async function checkOne({ file, check }: Loaded, args: Arguments): Promise<Result> {
  const { name } = check
  const progress = new Progress(name)
  const { identity } = args
  const options: CheckOptions = { identity, onProgress: states => progress.show(states) }
  try {
    const report = check.check(options)
    const { found } = report
    if (!args.workers || found === null || !isSteerable(found.steps))
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

function textOf(error: Error): string {
  if (error instanceof CheckFailure) return error.text
  return 'code' in error ? `${error.name}: ${error.message}` : (error.stack ?? error.message)
}

function plain({ name, report, error, asleep }: Result): object {
  const failure =
    error instanceof CheckFailure
      ? { ...error.found, message: error.text }
      : error && { code: 'code' in error ? error.code : error.name, message: error.message }
  return { name, ok: error === null, ...report, failure, asleep }
}

function summary(results: readonly Result[], failed: number): string {
  const reports = results.flatMap(({ report }) => report ?? [])
  const states = reports.reduce((sum, report) => sum + report.states, 0)
  const ms = reports.reduce((sum, report) => sum + report.ms, 0)
  const verdict = failed === 0 ? 'all as they must be' : `${failed} not as they must be`
  const models = results.length === 1 ? '1 model' : `${results.length} models`
  return `\n${models}, ${verdict}: ${grouped(states)} states in ${grouped(ms)} ms`
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

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit() // whoever reads it has seen enough: `hotplug-check | head`
})
try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof Error && 'code' in error)) throw error
  process.stderr.write(`hotplug-check: ${error.message}\n`)
  process.exitCode = 1
}
