/*
 * `npm run break -- [KIND]... [--runs N] [--least N]`: leaves out one protection, and sees that
 * `npm start` notices.
 *
 * Each run is act two on a small machine, again and again (`--voyages`), with a test build's twin
 * of lib/protections.ts. As a control, the very same with nothing left out must end well each time:
 * so it is neither the size nor the time that makes a run fail.
 */
import { parseArgs } from 'node:util'
import { runBroken } from './run.ts'

const NONE = 'none'
const KINDS = [NONE, 'memHotplugLock', 'memAddRemoveLock', 'guard', 'writeProtect'] as const
/** A voyage takes 2 to 7 s. What hangs is told to end long before the watchdog comes. */
const SHIP = ['--size', '48MiB', '--block', '4MiB', '--value', '8000', '--sailors', '4']
const VOYAGES = ['--voyages', '5', '--seconds', '45', '--watchdog', '80']

const HELP = `npm run break -- [options] [kind]...

Leaves out one protection of memory, and sees that act two of npm start notices: by records that
failed, are wrong or lost, by an exception, or by its watchdog, within 90 s.
Kinds: ${KINDS.join(', ')}; all if left out. With none left out each run must end well.

  --runs N    at most so many of each kind (1)
  --least N   of which so many must notice (all of them)
  --help      this text

Ends with 0 if all was noticed that was to be, 1 if not, 2 if the options make no sense.`

process.exitCode = main(process.argv.slice(2))

function main(args: string[]): number {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '1' },
      least: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const [runs, least] = [Number(values.runs), Number(values.least ?? values.runs)]
  const kinds = positionals.length === 0 ? KINDS : positionals
  const areKinds = kinds.every(kind => (KINDS as readonly string[]).includes(kind))
  const areCounts = Number.isInteger(runs) && Number.isInteger(least) && least > 0 && runs >= least
  if (values.help || !areKinds || !areCounts) {
    console[values.help ? 'log' : 'error'](HELP)
    return values.help ? 0 : 2
  }
  const ends = kinds.map(kind => (kind === NONE ? isWell(runs) : isNoticed(kind, runs, least)))
  return ends.every(Boolean) ? 0 : 1
}

/** Whether all of so many whole runs end well. */
function isWell(runs: number): boolean {
  let well = 0
  while (well < runs && run(NONE, well).isGood) well++
  return verdict(`with nothing left out: ${well} of ${runs} runs ended well`, well === runs)
}

/** Whether at least so many of so many runs notice; no more of them than it takes to say. */
function isNoticed(kind: string, runs: number, least: number): boolean {
  let [noticed, done] = [0, 0]
  while (noticed < least && done - noticed <= runs - least) {
    if (run(kind, done++).isNoticed) noticed++
  }
  return verdict(`without ${kind}: ${noticed} of ${done} runs noticed`, noticed >= least)
}

function run(kind: string, nth: number) {
  const startedAt = performance.now()
  const ending = runBroken(kind, [...SHIP, ...VOYAGES])
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  console.log(`  ${kind}, run ${nth + 1}, ${seconds} s: ${ending.text}`)
  return ending
}

function verdict(text: string, isAsItMust: boolean): boolean {
  console.log(`${text}, ${isAsItMust ? 'as it must be' : 'NOT AS IT MUST BE'}`)
  return isAsItMust
}
