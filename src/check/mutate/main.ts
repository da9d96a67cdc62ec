/*
 * `npm run mutate`: is every place where the protocols touch shared memory needed?
 *
 * Each source is broken in one place (`mutants.ts`) in a copy of the compiled tree, and models are
 * run until one notices: first its own, then those of the sources that import it, small ones before
 * large ones, as many as the budget allows. Two copies, two processes at a time. A mutant that
 * survives is a hole in the models, or argued to change nothing in `docs/mutants.md`. One that only
 * grows too large or takes too long counts as a survivor. Whole classes that are argued there are
 * not run; single ones are, by the small models only, and must survive.
 */
import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Argued, isAbout, isClass, readArgued } from './argued.ts'
import { Copy } from './copy.ts'
import { type Mutant, mutantsOf } from './mutants.ts'
import type { Ran, Task } from './one.ts'
import { checksOf, protocols, rootOf } from './tree.ts'

const PROCESSES = 2
const PASSING = 0.95
/** States of all models that are run for a mutant, and as many again for those of importers. */
const BUDGET_STATES = 3_000_000
/** The same for those that are argued to survive, which would each run to the end of it. */
const ARGUED_BUDGET_STATES = 300_000
const LIMIT_MS = 90_000
const BASELINE_LIMIT_MS = 300_000
/** How much larger than the original a mutant's search may be. */
const GROWTH = 4
const SLACK_STATES = 50_000

/** What became of a mutant. */
interface Outcome {
  readonly killed: boolean
  /** The model that noticed and how, or what was tried. */
  readonly by: string
  /** Length of the schedule that shows it; 0 if there is none. */
  readonly steps: number
}

interface Result {
  readonly mutant: Mutant
  /** Line of the TypeScript source. */
  readonly place: string
  readonly outcome: Outcome
}

interface Target {
  /** Path from the root. */
  readonly file: string
  readonly text: string
  readonly mutants: readonly Mutant[]
  /** Own models; then those of importers. */
  readonly checks: readonly (readonly string[])[]
}

const HELP = `npm run mutate -- [--only TEXT] [--json]

  --only TEXT   only mutants whose folder and id contain TEXT, as 'src/locking/', 'mutex.ts' or
                'notify#1 drop'
  --json        the results as JSON on stdout
`

const root = rootOf(import.meta.dirname)

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const argued = readArgued(join(root, 'docs/mutants.md'))
  const targets = protocols(root).map(file => targetOf(file, values.only))
  const results = await runAll(targets, argued)
  if (values.json) process.stdout.write(`${JSON.stringify(results.map(plain), null, 2)}\n`)
  return judge(results, argued, values.only)
}

function targetOf(file: string, only: string): Target {
  const text = readFileSync(join(root, file), 'utf8')
  const name = basename(file).replace(/\.js$/, '.ts')
  const folder = dirname(file).replace(/^dist\//, '')
  const mutants = mutantsOf(name, text).filter(({ id }) => `${folder}/${id}`.includes(only))
  const { own, wider } = checksOf(root, file)
  return { file, text, mutants, checks: [own, wider].filter(files => files.length > 0) }
}

async function runAll(targets: readonly Target[], argued: readonly Argued[]): Promise<Result[]> {
  const classes = argued.filter(isClass)
  const all = targets.flatMap(target => target.mutants.map(mutant => ({ target, mutant })))
  const isOf = (list: readonly Argued[], { id }: Mutant): boolean =>
    list.some(one => isAbout(one, id))
  const results: Result[] = all
    .filter(({ mutant }) => isOf(classes, mutant))
    .map(({ target, mutant }) => resultOf(target, mutant, NOT_RUN))
  const jobs = all.filter(({ mutant }) => !isOf(classes, mutant))
  const copies = Array.from({ length: PROCESSES }, () => new Copy(root))
  try {
    const baseline = new Map<string, Promise<readonly Ran[]>>()
    await inParallel(copies, jobs, async (copy, { target, mutant }) => {
      const budget = isOf(argued, mutant) ? ARGUED_BUDGET_STATES : BUDGET_STATES
      const outcome = await runMutant(copy, target, mutant, { baseline, budget })
      const result = resultOf(target, mutant, outcome)
      results.push(result)
      say(`[${results.length}/${all.length}] ${describe(result)}`)
    })
    return results
  } finally {
    for (const copy of copies) copy.remove()
  }
}

const NOT_RUN: Outcome = { killed: false, by: 'not run', steps: 0 }

function resultOf(target: Target, mutant: Mutant, outcome: Outcome): Result {
  return { mutant, place: placeOf(target.file, mutant), outcome }
}

/** By check file, its models with their sizes; measured when they are first needed. */
type Baseline = Map<string, Promise<readonly Ran[]>>

interface Means {
  readonly baseline: Baseline
  /** States that the models of one task may have together. */
  readonly budget: number
}

/** Runs a check unbroken. */
async function measure(copy: Copy, file: string): Promise<readonly Ran[]> {
  const left = await copy.run({ files: [file], models: [] }, BASELINE_LIMIT_MS)
  if (left === 'late' || 'died' in left) {
    say(`left out, does not end unbroken: ${file}: ${JSON.stringify(left)}`)
    return []
  }
  for (const { name, failure } of left) {
    if (failure !== null) say(`left out, fails unbroken: ${name}: ${failure}`)
  }
  return left.filter(({ failure, tooBig }) => failure === null && !tooBig)
}

/** The models of some files that fit the budget. */
async function taskOf(
  copy: Copy,
  files: readonly string[],
  { baseline, budget }: Means,
): Promise<Task> {
  const all: Ran[] = []
  for (const file of files) {
    const measured = baseline.get(file) ?? measure(copy, file)
    baseline.set(file, measured)
    all.push(...(await measured))
  }
  all.sort((a, b) => a.states - b.states)
  let spent = 0
  const models = all
    .filter(({ states }) => (spent += states) <= budget)
    .map(({ name, states }) => ({ name, maxStates: GROWTH * states + SLACK_STATES }))
  return { files, models }
}

async function runMutant(
  copy: Copy,
  { file, text, checks }: Target,
  mutant: Mutant,
  means: Means,
): Promise<Outcome> {
  const doubts: string[] = []
  for (const files of checks) {
    const task = await taskOf(copy, files, means)
    if (task.models.length === 0) continue
    copy.write(file, mutant.text)
    const left = await copy.run(task, LIMIT_MS)
    copy.write(file, text)
    if (left === 'late') {
      doubts.push(`no end after ${LIMIT_MS / 1000} s`)
      continue
    }
    if ('died' in left) return { killed: true, by: left.died, steps: 0 }
    const noticed = left.find(({ failure }) => failure !== null)
    if (noticed !== undefined) {
      const { name, failure, steps } = noticed
      return { killed: true, by: `${name}: ${failure}`, steps }
    }
    const large = left.filter(({ tooBig }) => tooBig).map(({ name }) => name)
    if (large.length > 0) doubts.push(`grows: ${large.join(', ')}`)
  }
  return { killed: false, by: doubts.join('; '), steps: 0 }
}

async function inParallel<T>(
  copies: readonly Copy[],
  jobs: readonly T[],
  run: (copy: Copy, job: T) => Promise<void>,
): Promise<void> {
  let next = 0
  const work = async (copy: Copy): Promise<void> => {
    while (next < jobs.length) await run(copy, jobs[next++] as T)
  }
  await Promise.all(copies.map(work))
}

/** Where the mutant stands in the TypeScript source. */
function placeOf(file: string, { line, column }: Mutant): string {
  const map = new SourceMap(JSON.parse(readFileSync(join(root, `${file}.map`), 'utf8')))
  const entry = map.findEntry(line - 1, column)
  const source = file.replace(/^dist\//, '').replace(/\.js$/, '.ts')
  return 'originalLine' in entry ? `${source}:${entry.originalLine + 1}` : source
}

function judge(results: readonly Result[], argued: readonly Argued[], only: string): number {
  const survivors = results.filter(({ outcome }) => !outcome.killed)
  const open = survivors.filter(({ mutant }) => !argued.some(one => isAbout(one, mutant.id)))
  const stale = argued
    .filter(({ id }) => id.includes(only))
    .filter(one => !survivors.some(({ mutant }) => isAbout(one, mutant.id)))
  for (const result of open) say(describe(result))
  for (const { id } of stale) say(`argued in docs/mutants.md, but killed or gone: ${id}`)
  const nrArgued = survivors.length - open.length
  const nrKilled = results.length - survivors.length
  const score = nrKilled / Math.max(1, results.length - nrArgued)
  say(
    `${results.length} mutants: ${nrKilled} killed, ${nrArgued} argued equivalent, ` +
      `${open.length} survive: score ${(100 * score).toFixed(1)} %`,
  )
  return score >= PASSING && stale.length === 0 ? 0 : 1
}

function describe({ mutant, place, outcome }: Result): string {
  const { killed, by, steps } = outcome
  const { id, before, after } = mutant
  if (killed) return `${id} (${place}): killed by ${by}${steps > 0 ? `, ${steps} steps` : ''}`
  const short = (text: string): string => text.replace(/\s+/g, ' ').slice(0, 100)
  const doubt = by === '' ? '' : ` (${by})`
  return `SURVIVES ${id} (${place})${doubt}\n    ${short(before)}\n -> ${short(after)}`
}

function plain({ mutant, place, outcome }: Result): object {
  const { id, before, after } = mutant
  return { id, place, before, after, ...outcome }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

process.exitCode = await main()
