import { deepEqual, equal, match } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hasPassed, type TortureResult } from '../test/torture/torture.ts'
import type { Searched } from './checked.ts'
import type { Steered } from './steer.ts'

const DEMO = fileURLToPath(new URL('./the-thread.js', import.meta.url))

function demo(...args: string[]) {
  return spawnSync(process.execPath, [DEMO, ...args], { encoding: 'utf8' })
}

interface Shown {
  readonly ok: boolean
  readonly before: Searched
  readonly race: Steered
  readonly fixed: Searched
  readonly cure: Steered
  readonly tortured: readonly TortureResult[]
}

test('real threads hang where the checker says, and not with the private mutex', () => {
  const { stdout, stderr, status } = demo('--json', '--seconds', '1', '--seed', '2017')

  equal(stderr, '')
  equal(status, 0)
  const { ok, before, race, fixed, cure, tortured }: Shown = JSON.parse(stdout)
  equal(ok, true)
  const asleep = race.sleepers.map(({ thread }) => before.threads[thread])
  match(before.found?.trace ?? '', new RegExp(`deadlock: ${asleep.join(', ')} sleeps? for ever`))
  equal(fixed.found, null)
  deepEqual(cure.sleepers, [])
  equal(tortured.every(hasPassed), true)
})

test('what makes no sense is answered with the help and status 2', () => {
  equal(demo('--help').status, 0)
  match(demo('--help').stdout, /npm run demo:2017 -- \[options\]/)
  equal(demo('--seconds', 'many').status, 2)
})
