/*
 * `npm start`: memory that shrinks, and memory that is replaced under load, in two acts.
 *
 * A watchdog ends it, with a failure, should anything hang.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { bytesOf, type Size } from '../src/lib/units.ts'
import { Voice } from './say.ts'
import { type Ship, sail, shipVerdict } from './ship.ts'
import { hasShrunk, type Shrunk, shrink } from './shrink.ts'
import { EXIT, type Verdict } from './verdict.ts'

const WATCHDOG_MS = 88_000

const ENDINGS: Readonly<Record<Verdict, string>> = {
  good: 'All as it must be.',
  unfinished: 'NOT ALL WAS DONE, as time was over: see above. What was done is as it must be.',
  bad: 'NOT AS IT MUST BE: see above.',
}

const HELP = `npm start -- [options]

Shared memory that shrinks, on real threads: WordNet is deleted to a tenth, and every block of a
machine is replaced while threads read and update what is on it.

  --act A         shrink or ship; both if left out
  --threads N     that share the data in act one (4)
  --sailors N     that read and update in act two (2)
  --size SIZE     of live data in act two (512MiB)
  --value N       bytes of each of its records (2000)
  --block SIZE    of each block (16MiB)
  --voyages N     how often every block is replaced in act two (1)
  --seconds S     at most for act two (45)
  --seed N        decides what is read and updated (a random one)
  --json          one object on stdout instead of text
  --help          this text

Ends with
  ${EXIT.good}  all went back that was to go, in all voyages; nothing failed, was wrong or lost
  ${EXIT.bad}  something was not as it must be, threw, or hung and was stopped by the watchdog
  ${EXIT.refused}  the options make no sense; nothing was run
  ${EXIT.unfinished}  --seconds were over before all voyages were done; what was done was right`

const { values } = parseArgs({
  options: {
    act: { type: 'string' },
    threads: { type: 'string', default: '4' },
    sailors: { type: 'string', default: String(Math.min(4, Math.max(2, availableParallelism()))) },
    size: { type: 'string', default: '512MiB' },
    value: { type: 'string', default: '2000' },
    block: { type: 'string', default: '16MiB' },
    voyages: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '45' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const numbers = {
  threads: Number(values.threads),
  sailors: Number(values.sailors),
  value: Number(values.value),
  voyages: Number(values.voyages),
  seconds: Number(values.seconds),
  seed: Number(values.seed),
}

if (values.help) console.log(HELP)
else process.exitCode = await main()

async function main(): Promise<number> {
  const { act } = values
  const { threads, sailors, value, voyages, seconds, seed } = numbers
  const areCounts = [threads, sailors, value, voyages].every(n => Number.isInteger(n) && n > 0)
  const isAct = act === undefined || act === 'shrink' || act === 'ship'
  if (!areCounts || !isAct || !(seconds > 0) || value < 8 || !Number.isInteger(seed)) {
    console.error(HELP)
    return EXIT.refused
  }
  const watchdog = setTimeout(() => {
    console.error(`\nwatchdog: it has not ended after ${WATCHDOG_MS / 1000} s`)
    process.exit(EXIT.bad)
  }, WATCHDOG_MS)
  const voice = new Voice(values.json)
  const shrunk = act === 'ship' ? null : await shrink(voice, threads)
  const options = {
    totalBytes: bytesOf(values.size as Size, 'start', '--size'),
    blockBytes: bytesOf(values.block as Size, 'start', '--block'),
    ...{ valueBytes: value, nrSailors: sailors, voyages, seconds, seed },
  }
  const ship = act === 'shrink' ? null : await sail(voice, options)
  clearTimeout(watchdog)
  const verdict = verdictOf(shrunk, ship)
  const ok = verdict === 'good'
  if (values.json) console.log(JSON.stringify({ ok, verdict, shrunk, ship }))
  voice.say(ENDINGS[verdict])
  return EXIT[verdict]
}

function verdictOf(shrunk: readonly Shrunk[] | null, ship: Ship | null): Verdict {
  if (shrunk !== null && !hasShrunk(shrunk)) return 'bad'
  return ship === null ? 'good' : shipVerdict(ship)
}
