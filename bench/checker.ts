/*
 * The checker beside SPIN on one protocol, one transition for each shared operation in both, and
 * what `npm run check` takes. Each run is a process of its own, on one core.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Spin, type SpinFigure } from './spin.ts'

const CLI = fileURLToPath(new URL('../src/check/cli.js', import.meta.url))
const MODELS = fileURLToPath(new URL('./models.js', import.meta.url))
const DIST = fileURLToPath(new URL('../', import.meta.url))
const SIZES = [
  [2, 2],
  [3, 2],
] as const

/** What the checker said of one model. */
export interface CheckedModel {
  readonly name: string
  readonly ok: boolean
  readonly verdict: string
  readonly scope: string
  readonly states: number
  readonly transitions: number
  readonly ms: number
}

/** The checker and SPIN on the counter form. */
export interface Comparison {
  readonly nrReaders: number
  readonly nrWriters: number
  readonly ours: CheckedModel
  /** Null where there is no spin. */
  readonly spin: SpinFigure | null
}

/** All of `npm run check`. */
export interface WholeCheck {
  readonly models: readonly CheckedModel[]
  /** From the command's start to its end. */
  readonly ms: number
}

/** Runs both on each size. @param sizes How many of the sizes, smallest first. */
export function compareWithSpin(sizes: number): Comparison[] {
  return SIZES.slice(0, sizes).map(([nrReaders, nrWriters]) => {
    const only = `${nrReaders} readers + ${nrWriters} writers`
    const [ours] = check([MODELS, '--only', only])
    const spin = Spin.build('counter-rwsem', [`READERS=${nrReaders}`, `WRITERS=${nrWriters}`])
    try {
      return { nrReaders, nrWriters, ours: ours!, spin: spin?.run() ?? null }
    } finally {
      spin?.remove()
    }
  })
}

/** Runs every check of the tree. */
export function checkAll(): WholeCheck {
  const begin = performance.now()
  const models = check([`${DIST}src`, `${DIST}test`])
  return { models, ms: performance.now() - begin }
}

function check(args: readonly string[]): CheckedModel[] {
  const options = { encoding: 'utf8', maxBuffer: 1 << 28 } as const
  const { stdout, stderr } = spawnSync(process.execPath, [CLI, ...args, '--json'], options)
  if (stdout === '') throw new Error(`hotplug-check ${args.join(' ')}: ${stderr}`)
  const models = JSON.parse(stdout) as CheckedModel[]
  const failed = models.filter(({ ok }) => !ok).map(({ name }) => name)
  if (failed.length > 0) throw new Error(`not as they must be: ${failed.join(', ')}`)
  return models
}
