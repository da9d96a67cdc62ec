/*
 * `npm start`: memory that shrinks, and memory that is replaced under load, in two acts.
 *
 * A watchdog ends it, with a failure, should anything hang.
 */
import { HotplugError } from '../src/lib/errors.ts'
import { HELP, type Options, optionsOf } from './options.ts'
import { Voice } from './say.ts'
import { type Ship, sail, shipVerdict } from './ship.ts'
import { hasShrunk, type Shrunk, shrink } from './shrink.ts'
import { EXIT, type Verdict } from './verdict.ts'

const ENDINGS: Readonly<Record<Verdict, string>> = {
  good: 'All as it must be.',
  unfinished: 'NOT ALL WAS DONE, as time was over: see above. What was done is as it must be.',
  bad: 'NOT AS IT MUST BE: see above.',
}

const options = tryOptions()
if (options === null) process.exitCode = EXIT.refused
else if (options.isHelp) console.log(HELP)
else process.exitCode = await main(options)

function tryOptions(): Options | null {
  try {
    return optionsOf(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof HotplugError)) throw error
    console.error(`${error.message}; --help says what makes sense`)
    return null
  }
}

async function main({ acts, nrThreads, ship: asked, ...rest }: Options): Promise<number> {
  const voice = new Voice(rest.isJson)
  const watchdog = setTimeout(() => {
    const ended = `it has not ended after ${rest.watchdogSeconds} s`
    console.error(`\nwatchdog: ${ended}; ${voice.doingText()}`)
    process.exit(EXIT.bad)
  }, rest.watchdogSeconds * 1000)
  const shrunk = acts.includes('shrink') ? await shrink(voice, nrThreads) : null
  const ship = acts.includes('ship') ? await sail(voice, asked) : null
  clearTimeout(watchdog)
  const verdict = verdictOf(shrunk, ship)
  const ok = verdict === 'good'
  if (rest.isJson) console.log(JSON.stringify({ ok, verdict, shrunk, ship }))
  voice.say(ENDINGS[verdict])
  return EXIT[verdict]
}

function verdictOf(shrunk: readonly Shrunk[] | null, ship: Ship | null): Verdict {
  if (shrunk !== null && !hasShrunk(shrunk)) return 'bad'
  return ship === null ? 'good' : shipVerdict(ship)
}
