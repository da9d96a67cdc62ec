/*
 * Act one, shrink: a real data set that four threads share, of which nine tenths are deleted. What
 * is left in memory, kept as a Map per thread, in lmdb, and in a SharedMap?
 *
 * Each way runs in a process of its own (shrink-process.ts), so that resident memory is its own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
  /** What left the machine, as it says; 0 of the others. */
  readonly returnedBytes: number
  /** Whether the machine can give memory back to the system. */
  readonly discards: boolean
  /** Records that were wrong or missing when all were read, or at the end, over all threads. */
  readonly wrong: number
}

/** More than this part of what loading took the machine must give back. */
const MOST = 0.5
/** For all ways alike: what glibc keeps for each thread is noise, as large as what is measured. */
const MALLOC_ARENA_MAX = '1'
/** And what V8 keeps for main's young objects. */
const YOUNG = '--max-semi-space-size=1'

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

/**
 * Whether each way kept its records, and with hotplug most of what was loaded went back and the
 * least is left. RSS has fallen; by how much depends on what the engines of five threads took
 * meanwhile. Where memory can only be zeroed, it says nothing.
 */
export function hasShrunk(results: readonly Shrunk[]): boolean {
  if (results.some(({ wrong }) => wrong > 0)) return false
  const hotplug = results.find(({ way }) => way === 'hotplug')
  if (hotplug === undefined) return false
  const { discards, leftBytes, loadedBytes, returnedBytes } = hotplug
  const isLeast = results.every(one => one.leftBytes >= leftBytes)
  const isMost = returnedBytes > MOST * loadedBytes && leftBytes < loadedBytes
  return !discards || (isLeast && isMost)
}

function shrunkText(results: readonly Shrunk[]): string {
  const rows = results.map(({ way, loadedBytes, leftBytes }) => {
    const part = `${Math.round((100 * (loadedBytes - leftBytes)) / loadedBytes)} %`
    return [way, mebibytes(loadedBytes), mebibytes(leftBytes), part]
  })
  const wrong = results.reduce((sum, one) => sum + one.wrong, 0)
  const heads = ['', 'all records', 'a tenth of them', 'gone']
  const back = results.map(({ way, returnedBytes, discards }) => {
    if (way !== 'hotplug') return ''
    if (!discards) return '  Memory can only be zeroed here; none of it goes back.\n'
    return `  hotplug gave back ${mebibytes(returnedBytes)}.\n`
  })
  return `${tableText([heads, ...rows])}\n${back.join('')}  ${wrong} records are wrong.\n`
}

/** Runs a way in its own process, which is gone, with its folder, when this one is. */
async function measure(way: Way, nrThreads: number): Promise<Shrunk> {
  const file = fileURLToPath(new URL('./shrink-process.js', import.meta.url))
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-shrink-'))
  const args = ['--expose-gc', YOUNG, ...process.execArgv, file, way, String(nrThreads), folder]
  const env = { ...process.env, MALLOC_ARENA_MAX }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const clear = (): void => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  process.once('exit', clear)
  try {
    let said = ''
    child.stdout.on('data', (text: Buffer) => (said += text.toString()))
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`${way}: its process ended with ${status}`)
    return JSON.parse(said) as Shrunk
  } finally {
    process.off('exit', clear)
    clear()
  }
}
