#!/usr/bin/env node
/*
 * `hotplug-check`: runs the models of check files and prints what was proved.
 *
 * The twin of the seam and the transform are chosen when a process starts, so the command runs
 * itself once more with them, or, for several files, processes that have them (parallel.ts).
 */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { HotplugError } from '../lib/errors.ts'
import { checkBatch, plain } from './batch.ts'
import { findChecks, type Loaded, loadChecks } from './load.ts'
import { checkInParallel } from './parallel.ts'
import { playModel, tellPlayed } from './run.ts'
import { parseSchedule } from './schedule.ts'
import { summary, tallyOf } from './tally.ts'
import { replayOnWorkers } from './workers.ts'

const HELP = `hotplug-check [files or folders]

  Runs the models that *.check.js files export; without arguments those below this folder.

  --only TEXT          only models whose name contains TEXT
  --replay SCHEDULE    show this schedule instead of searching; needs one model
  --workers            run the schedule on real threads, and compare where it ends: the one of
                       --replay, or the one found for each model that must fail
  --identity history   merge no moments of threads: always sound, seldom ends
  --jobs N             processes that check files, one file after the other (one per core)
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
    if (!isMany || args.jobs === 1) return again()
    return await checkInParallel(files, execArgv(), args)
  }
  const all = await loadChecks(findChecks(args.paths))
  const chosen = all.filter(({ check }) => check.name.includes(args.only))
  if (chosen.length === 0) throw noModels(all, args)
  if (args.replay !== undefined) return await replayOne(chosen, args, args.replay)
  return await checkAll(chosen, args)
}

/** What node is given so that a process can check. */
function execArgv(): string[] {
  const register = new URL('./register.js', import.meta.url).href
  return [...process.execArgv, CONDITION, '--import', register]
}

function again(): number {
  const argv = [...execArgv(), fileURLToPath(import.meta.url), ...process.argv.slice(2)]
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
  const { json } = args
  const print = (text: string): void => {
    if (!json) process.stdout.write(`${text}\n`)
  }
  const results = await checkBatch(chosen, args, print)
  const tally = tallyOf(results)
  if (json) process.stdout.write(`${JSON.stringify(results.map(plain), null, 2)}\n`)
  else print(`\n${summary(tally)}`)
  return tally.failed === 0 ? 0 : 1
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
