import { ok } from 'node:assert/strict'
import { test } from 'node:test'
import { runSweep, sweepsOf } from './locks.ts'

for (const kind of ['percpu-rwsem']) {
  for (const sweep of sweepsOf(kind)) {
    const { way, half, company } = sweep
    test(`${kind}: ${way}, its ${half}, ${company}: killed at every operation`, async t => {
      const nrKilled = await runSweep(sweep)

      ok(nrKilled > 0)
      t.diagnostic(`${nrKilled} threads killed`)
    })
  }
}
