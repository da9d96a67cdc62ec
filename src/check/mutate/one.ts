/*
 * Runs models one after another until one fails. A process of its own for each mutant.
 *
 *     node one.js '{"files": [...], "models": [{"name": ..., "maxStates": ...}]}'
 */
import { CheckFailure } from '../failure.ts'
import { loadChecks } from '../load.ts'
import type { Checkable } from '../model.ts'

/** Models with more states are not run for every mutant. */
const LARGEST = 800_000

/** What to run: these models of these files; all of their models that are to be proved if none. */
export interface Task {
  readonly files: readonly string[]
  readonly models: readonly { readonly name: string; readonly maxStates: number }[]
}

/** What became of one model. */
export interface Ran {
  readonly name: string
  readonly states: number
  readonly ms: number
  /** How it failed, or null. */
  readonly failure: string | null
  /** Length of the schedule that shows it; 0 if there is none. */
  readonly steps: number
  /** Given up: it has more states than were allowed. */
  readonly tooBig: boolean
}

function runModel({ name, check }: Checkable, maxStates: number): Ran {
  const none = { name, states: 0, ms: 0, steps: 0, tooBig: false }
  try {
    const { states, ms } = check({ maxStates, audit: false })
    return { ...none, states, ms, failure: null }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    if ('code' in error && error.code === 'ETOOBIG') return { ...none, failure: null, tooBig: true }
    const found = error instanceof CheckFailure ? error.found : null
    return { ...none, failure: found?.kind ?? error.message, steps: found?.steps.length ?? 0 }
  }
}

async function main({ files, models }: Task): Promise<Ran[]> {
  const checks = (await loadChecks(files)).map(({ check }) => check)
  const proofs = checks.filter(({ mustFail }) => !mustFail)
  if (models.length === 0) return proofs.map(check => runModel(check, LARGEST))
  const results: Ran[] = []
  for (const { name, maxStates } of models) {
    const check = proofs.find(proof => proof.name === name)
    if (check === undefined) continue
    const result = runModel(check, maxStates)
    results.push(result)
    if (result.failure !== null) break
  }
  return results
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2] as string))))
