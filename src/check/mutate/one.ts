/*
 * Runs the models of the given check files until one fails. A process of its own for each mutant.
 */
import { CheckFailure } from '../failure.ts'
import { loadChecks } from '../load.ts'

const MAX_STATES = 2_000_000

/** What became of a mutant. */
export interface Outcome {
  readonly killed: boolean
  /** The model that noticed, and how. */
  readonly by: string
  /** Length of the schedule that shows it; 0 if there is none. */
  readonly steps: number
  readonly ms: number
}

async function main(files: readonly string[]): Promise<Outcome> {
  const checks = (await loadChecks(files)).map(({ check }) => check)
  for (const { name, check } of checks.filter(({ mustFail }) => !mustFail)) {
    try {
      check({ maxStates: MAX_STATES })
    } catch (error) {
      if (!(error instanceof Error)) throw error
      const found = error instanceof CheckFailure ? error.found : null
      const how = found?.kind ?? error.message
      const steps = found?.steps.length ?? 0
      return { killed: true, by: `${name}: ${how}`, steps, ms: 0 }
    }
  }
  return { killed: false, by: '', steps: 0, ms: 0 }
}

process.stdout.write(JSON.stringify(await main(process.argv.slice(2))))
