/*
 * `npm run torture`: every form of lock, one after the other.
 */
import { parseArgs } from 'node:util'
import { FORMS } from './forms.ts'
import { tortureText } from './report.ts'
import { hasPassed, torture } from './torture.ts'

const HELP = `npm run torture -- [options] [form]...

Threads go in and out of a lock at random and are killed at random; none may meet another inside.
Forms: ${Object.keys(FORMS).join(', ')}

  --seconds S   of each form (5)
  --seed N      decides holds, pauses and kills (a random one)
  --writers N   threads (3)
  --readers N   threads (3)
  --no-kills    lets everybody live
  --json        results as JSON, one line a form
  --help        this text

Ends with 0 if every form passed, 1 if one failed, 2 if the options make no sense.`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    writers: { type: 'string', default: '3' },
    readers: { type: 'string', default: '3' },
    'no-kills': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else process.exitCode = await main()

async function main(): Promise<number> {
  const forms = positionals.length > 0 ? positionals : Object.keys(FORMS)
  const [seconds, seed, nrWriters, nrReaders] = [
    Number(values.seconds),
    Number(values.seed),
    Number(values.writers),
    Number(values.readers),
  ]
  const areWhole = [seed, nrWriters, nrReaders].every(Number.isInteger)
  if (!(seconds > 0 && areWhole && nrWriters > 0 && forms.every(form => FORMS[form]))) {
    console.error(HELP)
    return 2
  }
  if (!values.json) console.log(`seed ${seed}, ${nrWriters} writers, ${nrReaders} readers`)
  let havePassed = true
  for (const form of forms) {
    const kills = !values['no-kills']
    const result = await torture({ form, seconds, seed, nrWriters, nrReaders, kills })
    console.log(values.json ? JSON.stringify({ seed, ...result }) : tortureText(result))
    havePassed &&= hasPassed(result)
  }
  return havePassed ? 0 : 1
}
