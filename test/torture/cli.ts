/*
 * `npm run torture`: every form of lock, one after the other, then memory.
 */
import { parseArgs } from 'node:util'
import { FORMS } from './forms.ts'
import { memoryTortureText, tortureMemory } from './memory.ts'
import { tortureText } from './report.ts'
import { hasPassed, torture } from './torture.ts'

const MEMORY = 'memory'
const ALL = [...Object.keys(FORMS), MEMORY]

const HELP = `npm run torture -- [options] [form]...

Threads go in and out of a lock at random and are killed at random; none may meet another inside.
Memory: threads use maps while others move the memory under them, all killed at random; nothing
may be wrong or lost.
Forms: ${ALL.join(', ')}

  --form F      as [form]; may be given more than once (all)
  --seconds S   of each form (5)
  --seed N      decides holds, pauses, operations and kills (a random one)
  --writers N   threads (3)
  --readers N   threads (3)
  --operators N threads that move memory (3)
  --no-kills    lets everybody live
  --json        results as JSON, one line a form
  --help        this text

Ends with 0 if every form passed, 1 if one failed, 2 if the options make no sense.`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    form: { type: 'string', multiple: true, default: [] },
    seconds: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    writers: { type: 'string', default: '3' },
    readers: { type: 'string', default: '3' },
    operators: { type: 'string', default: '3' },
    'no-kills': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else process.exitCode = await main()

async function main(): Promise<number> {
  const asked = [...values.form, ...positionals]
  const forms = asked.length > 0 ? asked : ALL
  const [seconds, seed, nrWriters, nrReaders, nrOperators] = [
    Number(values.seconds),
    Number(values.seed),
    Number(values.writers),
    Number(values.readers),
    Number(values.operators),
  ]
  const areWhole = [seed, nrWriters, nrReaders, nrOperators].every(Number.isInteger)
  const areNamed = forms.every(form => ALL.includes(form))
  const areThere = nrWriters > 0 && nrReaders >= 0 && nrOperators >= 0
  if (!(seconds > 0 && areWhole && areThere && areNamed)) {
    console.error(HELP)
    return 2
  }
  if (!values.json) {
    console.log(
      `seed ${seed}, ${nrWriters} writers, ${nrReaders} readers, ${nrOperators} operators`,
    )
  }
  const kills = !values['no-kills']
  let havePassed = true
  for (const form of forms) {
    const options = { seconds, seed, nrWriters, nrReaders, kills }
    if (form === MEMORY) {
      const result = await tortureMemory({ ...options, nrOperators, nrKilledInside: 0 })
      console.log(values.json ? JSON.stringify({ seed, ...result }) : memoryTortureText(result))
      havePassed &&= result.wrong.length === 0
    } else {
      const result = await torture({ ...options, form })
      console.log(values.json ? JSON.stringify({ seed, ...result }) : tortureText(result))
      havePassed &&= hasPassed(result)
    }
  }
  return havePassed ? 0 : 1
}
