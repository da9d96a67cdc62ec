/*
 * Act one, shrink: a real data set that four threads share, of which nine tenths are deleted. What
 * is left in memory, kept as a Map per thread, in lmdb, and in a SharedMap?
 *
 * Each way runs in a process of its own (shrink-process.ts), so that resident memory is its own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { mebibytes, tableText, type Voice } from './say.ts'

/** Ways to keep the records. */
export const WAYS = ['a Map per thread', 'lmdb', 'hotplug'] as const
/** One of `WAYS`. */
export type Way = (typeof WAYS)[number]

/** What a process measured; bytes resident beyond those before anything was loaded. */
export interface Shrunk {
  readonly way: Way
  readonly records: number
  readonly loadedBytes: number
  readonly leftBytes: number
  /** Records that were wrong or missing at the end, over all threads. */
  readonly wrong: number
}

/** Runs all ways, one after the other. */
export async function shrink(voice: Voice, nrThreads: number): Promise<Shrunk[]> {
  voice.say(`Act one: ${nrThreads} threads share WordNet, and nine tenths of it are deleted.`)
  const results: Shrunk[] = []
  for (const [i, way] of WAYS.entries()) {
    voice.progress(`loading into ${way}`, i / WAYS.length)
    results.push(await measure(way, nrThreads))
  }
  voice.say(shrunkText(results))
  return results
}

/** Whether each way kept its records, and hotplug gave back the most. */
export function hasShrunk(results: readonly Shrunk[]): boolean {
  const left = (way: Way): number => results.find(one => one.way === way)?.leftBytes ?? 0
  const isLeast = WAYS.every(way => left(way) >= left('hotplug'))
  return results.every(({ wrong }) => wrong === 0) && isLeast
}

function shrunkText(results: readonly Shrunk[]): string {
  const rows = results.map(({ way, loadedBytes, leftBytes }) => {
    const part = `${Math.round((100 * (loadedBytes - leftBytes)) / loadedBytes)} %`
    return [way, mebibytes(loadedBytes), mebibytes(leftBytes), part]
  })
  const wrong = results.reduce((sum, one) => sum + one.wrong, 0)
  const heads = ['', 'all records', 'a tenth of them', 'gone']
  return `${tableText([heads, ...rows])}\n  ${wrong} records are wrong.\n`
}

async function measure(way: Way, nrThreads: number): Promise<Shrunk> {
  const file = fileURLToPath(new URL('./shrink-process.js', import.meta.url))
  const args = ['--expose-gc', ...process.execArgv, file, way, String(nrThreads)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (text: Buffer) => (said += text.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`${way}: its process ended with ${status}`)
  return JSON.parse(said) as Shrunk
}
