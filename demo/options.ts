/*
 * What `npm start` can be asked for. All of it is checked before anything runs: what act two cannot
 * do is said before act one has begun.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { HotplugError } from '../src/lib/errors.ts'
import { bytesOf, type Size } from '../src/lib/units.ts'
import { MEMORY_MAX, memoryOf, type ShipOptions } from './ship.ts'
import { EXIT } from './verdict.ts'

/** The acts, in order. */
export const ACTS = ['shrink', 'ship'] as const
/** One of `ACTS`. */
export type Act = (typeof ACTS)[number]

/** What was asked for. */
export interface Options {
  readonly acts: readonly Act[]
  /** Of act one. */
  readonly nrThreads: number
  /** Of act two. */
  readonly ship: ShipOptions
  readonly watchdogSeconds: number
  readonly isJson: boolean
  readonly isHelp: boolean
}

const MIB = 2 ** 20
const SIZE_MIN = MIB
const BLOCK_MIN = 4 * MIB
const BLOCK_MAX = 1024 * MIB
const VALUE_MIN = 8
const VALUE_MAX = MIB
/** A machine has 64 slots; main, the service thread, operators and the watcher have the others. */
const THREADS_MAX = 48
const COUNT_MAX = 1_000_000

/** What `--help` prints. */
export const HELP = `npm start -- [options]

Shared memory that shrinks, on real threads: WordNet is deleted to a tenth, and every block of a
machine is replaced while threads read and update what is on it.

  --act A         shrink or ship; both if left out
  --threads N     that share the data in act one (4)
  --sailors N     that read and update in act two (2 to 4, as there are CPUs)
  --size SIZE     of live data in act two (512MiB)
  --value N       bytes of each of its records (2000)
  --block SIZE    of each block: a power of two from 4MiB to 1GiB (16MiB)
  --voyages N     how often every block is replaced in act two (1)
  --seconds S     at most for the voyages of act two (45)
  --watchdog S    at most for everything; then it is stopped, as something hangs (88)
  --seed N        decides what is read and updated (a random one)
  --json          one object on stdout instead of text
  --help          this text

Ends with
  ${EXIT.good}  all went back that was to go, in all voyages; nothing failed, was wrong or lost
  ${EXIT.bad}  something was not as it must be, threw, or hung and was stopped by the watchdog
  ${EXIT.refused}  the options make no sense; nothing was run
  ${EXIT.unfinished}  --seconds were over before all voyages were done; what was done was right`

/**
 * Reads and checks the options.
 *
 * @throws {HotplugError} `EINVAL`: one of them makes no sense.
 */
export function optionsOf(args: readonly string[]): Options {
  const values = valuesOf(args)
  const acts = values.act === undefined ? ACTS : ACTS.filter(act => act === values.act)
  if (acts.length === 0) refuse('--act', values.act!, `one of ${ACTS.join(', ')}`)
  const watchdogSeconds = secondsOf('--watchdog', values.watchdog)
  const ship: ShipOptions = {
    totalBytes: sizeOf('--size', values.size),
    valueBytes: countOf('--value', values.value, VALUE_MIN, VALUE_MAX),
    blockBytes: sizeOf('--block', values.block),
    nrSailors: countOf('--sailors', values.sailors, 1, THREADS_MAX),
    voyages: countOf('--voyages', values.voyages),
    seconds: secondsOf('--seconds', values.seconds),
    seed: countOf('--seed', values.seed, 0, 2 ** 32 - 1),
  }
  requireShip(ship, values.size, values.block)
  if (acts.includes('ship') && ship.seconds >= watchdogSeconds) {
    refuse('--seconds', values.seconds, `less than those of --watchdog, ${watchdogSeconds}`)
  }
  const nrThreads = countOf('--threads', values.threads, 1, THREADS_MAX)
  return { acts, nrThreads, ship, watchdogSeconds, isJson: values.json, isHelp: values.help }
}

function valuesOf(args: readonly string[]) {
  const nrSailors = Math.min(4, Math.max(2, availableParallelism()))
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        act: { type: 'string' },
        threads: { type: 'string', default: '4' },
        sailors: { type: 'string', default: String(nrSailors) },
        size: { type: 'string', default: '512MiB' },
        value: { type: 'string', default: '2000' },
        block: { type: 'string', default: '16MiB' },
        voyages: { type: 'string', default: '1' },
        seconds: { type: 'string', default: '45' },
        watchdog: { type: 'string', default: '88' },
        seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    return values
  } catch (error) {
    const [line] = (error as Error).message.split('\n') // the others say how to quote
    throw new HotplugError('EINVAL', 'npm start', line!)
  }
}

function requireShip(ship: ShipOptions, size: string, block: string): void {
  const { totalBytes, blockBytes } = ship
  const isPower = Number.isInteger(Math.log2(blockBytes))
  if (!isPower || blockBytes < BLOCK_MIN || blockBytes > BLOCK_MAX) {
    refuse('--block', block, 'a power of two from 4MiB to 1GiB')
  }
  if (totalBytes < SIZE_MIN) refuse('--size', size, 'at least 1MiB')
  if (memoryOf(ship) > MEMORY_MAX)
    refuse('--size', size, `what fits in 4GiB, in blocks of ${block}`)
}

function countOf(name: string, text: string, min = 1, max = COUNT_MAX): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : -1
  if (count < min || count > max) refuse(name, text, `a whole number from ${min} to ${max}`)
  return count
}

function secondsOf(name: string, text: string): number {
  const seconds = /^\d{1,5}(\.\d{1,9})?$/.test(text) ? Number(text) : 0
  if (seconds <= 0) refuse(name, text, 'a number of seconds, more than 0 and less than 100000')
  return seconds
}

function sizeOf(name: string, text: string): number {
  return bytesOf(/^\d+$/.test(text) ? Number(text) : (text as Size), 'npm start', name)
}

function refuse(name: string, text: string, what: string): never {
  throw new HotplugError('EINVAL', 'npm start', `${name} is ${text}, not ${what}`)
}
