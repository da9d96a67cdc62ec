/*
 * What models came to, together.
 */
import type { Result } from './batch.ts'
import { grouped } from './table.ts'

/** Counts over the models of one file, or of several. */
export interface Tally {
  readonly models: number
  readonly failed: number
  readonly states: number
  /** Of searching, over all of them. */
  readonly ms: number
}

/** Of the models of a file. */
export function tallyOf(results: readonly Result[]): Tally {
  const reports = results.flatMap(({ report }) => report ?? [])
  return {
    models: results.length,
    failed: results.filter(({ error }) => error !== null).length,
    states: reports.reduce((sum, report) => sum + report.states, 0),
    ms: reports.reduce((sum, report) => sum + report.ms, 0),
  }
}

/** Of all files. */
export function total(tallies: readonly Tally[]): Tally {
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((n, one) => n + of(one), 0)
  return {
    models: sum(({ models }) => models),
    failed: sum(({ failed }) => failed),
    states: sum(({ states }) => states),
    ms: sum(({ ms }) => ms),
  }
}

/** A tally in a line. */
export function summary({ models, failed, states, ms }: Tally): string {
  const verdict = failed === 0 ? 'all as they must be' : `${failed} not as they must be`
  const all = models === 1 ? '1 model' : `${models} models`
  return `${all}, ${verdict}: ${grouped(states)} states in ${grouped(ms)} ms`
}
