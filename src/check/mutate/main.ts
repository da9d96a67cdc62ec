/*
 * `npm run mutate`: is every line of the protocols that touches shared memory needed?
 *
 * Each source beside a `.check` file is broken in one place (`mutants.ts`) in a copy of the
 * compiled tree, and its models are run: first its own, and if they do not notice, those of every
 * source that imports it. Two copies, two processes at a time. A mutant that survives is either a
 * hole in the models or argued to change nothing, in `docs/mutants.md`.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Argued, readArgued } from './argued.ts'
import { type Mutant, mutantsOf } from './mutants.ts'
import type { Outcome } from './one.ts'
import { checksOf, protocols, rootOf } from './tree.ts'

const PROCESSES = 2
const LIMIT_MS = 30_000
const PASSING = 0.95

/** A mutant and what became of it. */
interface Result {
  readonly mutant: Mutant
  readonly place: string
  readonly outcome: Outcome
}

/** A source with all that is needed to check it. */
interface Target {
  /** Path in the compiled tree, from its root. */
  readonly file: string
  readonly text: string
  readonly mutants: readonly Mutant[]
  readonly own: readonly string[]
  readonly wider: readonly string[]
}

const HELP = `npm run mutate -- [--only TEXT] [--json]

  --only TEXT   only mutants whose id contains TEXT, as 'mutex.ts' or 'notify#1 drop'
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
  const targets = protocols(root).map(file => targetOf(file, values.only))
  const argued = readArgued(join(root, 'docs/mutants.md'), values.only)
  const results = await runAll(targets.filter(({ mutants }) => mutants.length > 0))
  if (values.json) process.stdout.write(`${JSON.stringify(results.map(plain), null, 2)}\n`)
  return judge(results, argued)
}

function targetOf(file: string, only: string): Target {
  const text = readFileSync(join(root, file), 'utf8')
  const name = basename(file).replace(/\.js$/, '.ts')
  const mutants = mutantsOf(name, text).filter(({ id }) => id.includes(only))
  return { file, text, mutants, ...checksOf(root, file) }
}

async function runAll(targets: readonly Target[]): Promise<Result[]> {
  const jobs = targets.flatMap(target => target.mutants.map(mutant => ({ target, mutant })))
  const results: Result[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    const tree = copyTree()
    try {
      for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
        const { target, mutant } = job
        const outcome = await runOne(tree, target, mutant)
        const result = { mutant, place: placeOf(target.file, mutant), outcome }
        results.push(result)
        progress(`[${results.length}/${jobs.length}] ${describe(result)}`)
      }
    } finally {
      rmSync(tree, { recursive: true, force: true })
    }
  }
  await Promise.all(Array.from({ length: PROCESSES }, worker))
  return results
}

function copyTree(): string {
  const tree = mkdtempSync(join(tmpdir(), 'hotplug-mutate-'))
  cpSync(join(root, 'package.json'), join(tree, 'package.json'))
  cpSync(join(root, 'dist/src'), join(tree, 'dist/src'), {
    recursive: true,
    filter: path => !path.endsWith('.d.ts'),
  })
  symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
  return tree
}

async function runOne(tree: string, target: Target, mutant: Mutant): Promise<Outcome> {
  writeFileSync(join(tree, target.file), mutant.text)
  try {
    const own = await runChecks(tree, target.own)
    if (own.killed || target.wider.length === 0) return own
    return await runChecks(tree, target.wider)
  } finally {
    writeFileSync(join(tree, target.file), target.text)
  }
}

function runChecks(tree: string, files: readonly string[]): Promise<Outcome> {
  const flags = ['--conditions=check', '--import', join(tree, 'dist/src/check/register.js')]
  const script = join(tree, 'dist/src/check/mutate/one.js')
  const paths = files.map(file => join(tree, file))
  const child = spawn(process.execPath, [...flags, script, ...paths], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk))
  const started = performance.now()
  let late = false
  const timer = setTimeout(() => (late = child.kill('SIGKILL')), LIMIT_MS)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => {
      clearTimeout(timer)
      const ms = performance.now() - started
      if (late) resolve({ killed: true, by: `time limit of ${LIMIT_MS / 1000} s`, steps: 0, ms })
      else if (code === 0) resolve({ ...(JSON.parse(out) as Outcome), ms })
      else resolve({ killed: true, by: lastLine(err), steps: 0, ms }) // does not even load
    })
  })
}

function lastLine(text: string): string {
  return text.split('\n').find(line => /Error/.test(line)) ?? text.slice(-200)
}

/** Where the mutant stands in the TypeScript source. */
function placeOf(file: string, { line, column }: Mutant): string {
  const map = new SourceMap(JSON.parse(readFileSync(join(root, `${file}.map`), 'utf8')))
  const entry = map.findEntry(line - 1, column)
  const source = file.replace(/^dist\//, '').replace(/\.js$/, '.ts')
  return 'originalLine' in entry ? `${source}:${entry.originalLine + 1}` : source
}

function judge(results: readonly Result[], argued: readonly Argued[]): number {
  const reasons = new Map(argued.map(({ id, reason }) => [id, reason]))
  const survivors = results.filter(({ outcome }) => !outcome.killed)
  const open = survivors.filter(({ mutant }) => !reasons.has(mutant.id))
  const alive = new Set(survivors.map(({ mutant }) => mutant.id))
  const stale = argued.filter(({ id }) => !alive.has(id))
  for (const result of open) print(`SURVIVES ${describe(result)}\n`)
  for (const { id } of stale) print(`ARGUED in docs/mutants.md, but killed or gone: ${id}`)
  const nrArgued = survivors.length - open.length
  const nrKilled = results.length - survivors.length
  const score = nrKilled / Math.max(1, results.length - nrArgued)
  print(
    `${results.length} mutants: ${nrKilled} killed, ${nrArgued} argued equivalent, ` +
      `${open.length} survive: score ${(100 * score).toFixed(1)} %`,
  )
  return score >= PASSING && stale.length === 0 ? 0 : 1
}

function describe({ mutant, place, outcome }: Result): string {
  const { killed, by, steps } = outcome
  const fate = killed ? `killed by ${by}${steps > 0 ? `, ${steps} steps` : ''}` : 'survives'
  const short = (text: string): string => text.replace(/\s+/g, ' ').slice(0, 100)
  const change = killed ? '' : `\n    ${short(mutant.before)}\n -> ${short(mutant.after)}`
  return `${mutant.id} (${place}): ${fate}${change}`
}

function plain({ mutant, place, outcome }: Result): object {
  const { id, before, after } = mutant
  return { id, place, before, after, ...outcome }
}

function progress(text: string): void {
  process.stderr.write(`${text}\n`)
}

function print(text: string): void {
  process.stderr.write(`${text}\n`)
}

process.exitCode = await main()
