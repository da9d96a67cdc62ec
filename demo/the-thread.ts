/*
 * `npm run demo:2017`: the race in the memory hotplug lock of 2017 on real threads,
 * and its cure.
 *
 *     1  the checker finds the shortest schedule that leaves a writer asleep for ever
 *     2  real threads follow it, and a watchdog says who sleeps
 *     3  with the private mutex they follow it as far as it goes, and all end; and the checker
 *        proves that they always do
 *     4  torture of every form of lock, with threads that are killed
 */
import { parseArgs } from 'node:util'
import { FORMS } from '../test/torture/forms.ts'
import { tortureText } from '../test/torture/report.ts'
import { hasPassed, type TortureResult, torture } from '../test/torture/torture.ts'
import { type ModelPlace, type Searched, searchModel } from './checked.ts'
import { Voice, whole } from './say.ts'
import { type Steered, steer } from './steer.ts'

const CHECKS = new URL('../src/locking/counter-rwsem.check.js', import.meta.url).href
const BEFORE: ModelPlace = { file: CHECKS, name: 'T2, before: wakes one of two' }
const FIXED: ModelPlace = { file: CHECKS, name: 'T2, fixed' }

const HELP = `npm run demo:2017 -- [options]

The race in Linux's memory hotplug lock of 2014 to 2017 on real threads, its cure of March 2017, and
a torture of all locks. docs/the-thread.md tells the story.

  --seconds S   of torture, over all forms together (8)
  --seed N      decides the torture's holds, pauses and kills (a random one)
  --json        one object on stdout instead of text
  --help        this text

Ends with 0 if the race was shown, the cure held and nobody met in the torture; else with 1.`

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
const voice = new Voice(values.json)
const say = (text: string): void => voice.say(text)

if (values.help) console.log(HELP)
else if (seconds > 0 && Number.isInteger(seed)) process.exitCode = await main()
else {
  console.error(HELP)
  process.exitCode = 2
}

async function main(): Promise<number> {
  say('The memory hotplug lock of Linux 3.16 to 4.12 names its writer in one slot, active_writer,')
  say('before anything keeps a second writer away. One reader, two writers:\n')

  const before = await progress('searching', searchModel(BEFORE))
  say(`1. The checker: ${figures(before)}`)
  say(`   ${indented(traceText(before))}\n`)

  const order = before.found?.order ?? []
  const race = await progress('watching', steer({ place: BEFORE, ...before }, order))
  say(`2. The same schedule on ${before.threads.length} real threads, then each as it likes:`)
  say(`   ${indented(watchdogText(before, race))}\n`)

  const fixed = await progress('searching', searchModel(FIXED))
  const cure = await progress('watching', steer({ place: FIXED, ...fixed }, order))
  say('3. With a private mutex around a whole write, as patched in March 2017; the same schedule,')
  say(`   as far as it goes, on real threads: ${indented(watchdogText(fixed, cure))}`)
  say(`   the checker: ${fixed.found === null ? 'proved for every schedule' : fixed.found.trace}`)
  say(`   ${figures(fixed)}\n`)

  say(`4. Torture, seed ${seed}: 3 writers and 3 readers of each lock, killed at random:`)
  const tortured = await tortureAll()

  const ok =
    race.sleepers.length > 0 &&
    cure.sleepers.length === 0 &&
    fixed.found === null &&
    tortured.every(hasPassed)
  if (values.json) console.log(JSON.stringify({ ok, seed, before, race, fixed, cure, tortured }))
  say(ok ? '\nThe race was shown, the cure holds, nobody met.' : '\nNOT AS IT MUST BE: see above.')
  return ok ? 0 : 1
}

async function tortureAll(): Promise<TortureResult[]> {
  const results: TortureResult[] = []
  const forms = Object.keys(FORMS)
  for (const form of forms) {
    const options = { form, seed, seconds: seconds / forms.length, kills: true }
    const run = torture({ ...options, nrWriters: 3, nrReaders: 3 })
    const result = await progress(`torturing ${form}`, run)
    say(`   ${tortureText(result)}`)
    results.push(result)
  }
  return results
}

/** The schedule, each step with the place in the source and its caller. */
function traceText({ found }: Searched): string {
  if (found === null) return 'proved, which it must not be'
  return found.trace.replace(/^(.*? < \S+) < .*$/gm, '$1')
}

/** Who sleeps for ever, and on what; or that nobody does. */
function watchdogText(model: Searched, { sleepers, words, ms }: Steered): string {
  if (sleepers.length === 0) return `all ended, after ${Math.round(ms)} ms`
  const lines = sleepers.map(({ thread, word }) => {
    const name = model.threads[thread]
    return `watchdog: ${name} sleeps for ever on ${model.words[word]} = ${words[word]}`
  })
  const lock = model.words
    .map((name, i) => `${name} = ${words[i]}`)
    .filter(text => /^(ACTIVE_WRITER|REFCOUNT|LOCK) =/.test(text))
  return [...lines, `and nobody else is there: ${lock.join(', ')}`].join('\n')
}

function figures({ scope, states, transitions, ms }: Searched): string {
  return `${scope}: ${whole(states)} states, ${whole(transitions)} transitions, ${whole(ms)} ms`
}

function indented(text: string): string {
  return text.replaceAll('\n', '\n   ')
}

/** Waits for something, and says so on a terminal. */
async function progress<T>(what: string, promise: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY || values.json) return promise
  const begin = performance.now()
  const timer = setInterval(() => {
    process.stderr.write(`\r\x1b[K${what}, ${Math.round((performance.now() - begin) / 1000)} s`)
  }, 200)
  try {
    return await promise
  } finally {
    clearInterval(timer)
    process.stderr.write('\r\x1b[K')
  }
}
