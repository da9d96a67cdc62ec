/*
 * Several check files at once: a process each, as many at a time as there are cores, the largest
 * files first. What each prints appears when it has ended, so that tables stay whole.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { relative } from 'node:path'
import { grouped } from './table.ts'

const SUMMARY = /\n\n([\d,]+) models?, (?:all|([\d,]+) not) as they must be: ([\d,]+) states .*\n$/

/** What one process came to. */
interface Ended {
  readonly status: number
  readonly models: number
  readonly failed: number
  readonly states: number
}

/**
 * Checks files in processes of their own.
 *
 * @param argv What node is given before the file: flags, the command and its options.
 * @returns The exit status: 0 if all is as it must be.
 */
export async function checkInParallel(
  files: readonly string[],
  argv: readonly string[],
  nrProcesses: number,
): Promise<number> {
  const started = performance.now()
  const waiting = files.toSorted((a, b) => statSync(b).size - statSync(a).size)
  const ends: Ended[] = []
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      ends.push(await checkOne(file, argv))
    }
  }
  await Promise.all(Array.from({ length: nrProcesses }, lane))
  const sum = (of: (ended: Ended) => number): number => ends.reduce((all, one) => all + of(one), 0)
  const [models, failed, states] = [
    sum(one => one.models),
    sum(one => one.failed),
    sum(one => one.states),
  ]
  const verdict = failed === 0 ? 'all as they must be' : `${failed} not as they must be`
  const ms = grouped(performance.now() - started)
  const where = `${files.length} files, ${nrProcesses} at a time`
  process.stdout.write(
    `${models} models, ${verdict}: ${grouped(states)} states in ${ms} ms; ${where}\n`,
  )
  return ends.every(({ status }) => status === 0) ? 0 : 1
}

async function checkOne(file: string, argv: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [...argv, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (text: Buffer) => (said += text.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  const match = SUMMARY.exec(said)
  const table = match === null ? said : said.slice(0, match.index)
  process.stdout.write(`${relative('.', file)}\n${table}\n\n`)
  const number = (text: string | undefined): number => Number((text ?? '0').replaceAll(',', ''))
  const [, models, failed, states] = match ?? []
  return {
    status: code ?? 1,
    models: number(models),
    failed: number(failed),
    states: number(states),
  }
}
