/*
 * Locks at two and two threads, one of which may die at any operation: too large for
 * `npm run check`, which finds files called *.check.js. Named, this one is checked too, in minutes:
 *
 *     npm run check -- dist/test/litmus/long-checks.js
 *
 * What it took when it was last run is in docs/benchmarks.md.
 */
import { oneOfFourDies as counterRwsem } from '../../src/locking/counter-rwsem.check.ts'
import { oneOfFourDies as lockdep } from '../../src/locking/lockdep-graph.check.ts'
import { eachOfFourDies as percpuRwsem } from '../../src/locking/percpu-rwsem.check.ts'

/** What the command runs. */
export const models = [counterRwsem(), lockdep(), ...percpuRwsem()]
