import { equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { hotplugCheck, type Said } from './stranger.test.fixture.ts'

/** Two threads that add to a word, by a load and a store. */
function checkAdders(form: string, ...args: string[]): Said {
  const text = `import { CheckFailure, model, mustFail } from 'hotplug/check'
const adders = options => model({
  name: 'adders',
  shared: t => ({ m: t.int32({ SUM: 0 }) }),
  threads: [{
    name: 'adder',
    count: 2,
    body({ m, cs }) {
      cs('adds')
      const sum = Atomics.load(m, 0)
      Atomics.store(m, 0, sum + 1)
      cs('')
    },
  }],
  ...options,
})
export const one = ${form}
`
  return hotplugCheck({ 'adders.check.js': text }, ...args)
}

test('an end that is wrong is found by a shortest schedule', () => {
  const { status, stdout } = checkAdders('adders({ atEnd: s => s.m.SUM === 2 })')

  equal(status, 1)
  match(stdout, /atEnd: .*: shortest schedule, 4 steps; replay: 0101|0110/)
})

test('a state that must not be is found by labels and by words', () => {
  match(checkAdders(`adders({ never: s => s.in('adds') > 1 })`).stdout, /never: .*0 steps/)
  match(checkAdders('adders({ never: s => s.m[0] > 1 })').stdout, /never: .*4 steps.*0011/)
})

test('what must fail and does is as it must be', () => {
  const atEnd = 'adders({ atEnd: s => s.m.SUM === 2 })'
  const { status, stdout } = checkAdders(`mustFail(${atEnd}, { kind: 'atEnd', steps: 4 })`)

  equal(status, 0)
  match(stdout, /fails, as it must: atEnd in 4 steps/)
})

test('what must fail and is proved, or fails otherwise, is not as it must be', () => {
  const atEnd = 'adders({ atEnd: s => s.m.SUM === 2 })'
  const proved = checkAdders('mustFail(adders({}))')
  const kind = checkAdders(`mustFail(${atEnd}, { kind: 'deadlock' })`)
  const steps = checkAdders(`mustFail(${atEnd}, { steps: 5 })`)
  const message = checkAdders(`mustFail(${atEnd}, { message: /sleeps/ })`)

  match(proved.stdout, /it must fail, and was proved/)
  match(kind.stdout, /it must fail with deadlock, not so:\natEnd/)
  match(steps.stdout, /it must fail in 5 steps, not so:\natEnd/)
  match(message.stdout, /it must fail with \/sleeps\/, not so:\natEnd/)
  for (const { status } of [proved, kind, steps, message]) equal(status, 1)
})

test('the same is found without merging, by fingerprints and within a bound', () => {
  const atEnd = 'adders({ atEnd: s => s.m.SUM === 2 })'
  const { stdout } = checkAdders(`mustFail(${atEnd}, { steps: 4 })`, '--identity', 'history')
  match(stdout, /fails, as it must: atEnd in 4 steps/)

  for (const search of [`'fingerprints'`, '{ preemptions: 1 }', '{ pct: 2, runs: 100, seed: 1 }']) {
    const model = `adders({ atEnd: s => s.m.SUM === 2, search: ${search} })`
    match(checkAdders(`mustFail(${model}, { kind: 'atEnd' })`).stdout, /fails, as it must: atEnd/)
  }
})

test('a bounded search that finds nothing does not say proved', () => {
  const { status, stdout } = checkAdders('adders({ search: { preemptions: 0 } })')

  equal(status, 0)
  match(stdout, /2 adder, preemptions:0 .* bounded/)
})

test('more states than allowed are an error with a code', () => {
  const { status, stdout } = checkAdders('adders({ maxStates: 3 })', '--json')

  equal(status, 1)
  equal(JSON.parse(stdout)[0].failure.code, 'ETOOBIG')
})

test('figures are printed as JSON', () => {
  const [result] = JSON.parse(checkAdders('adders({})', '--json').stdout)

  equal(result.ok, true)
  equal(result.verdict, 'proved')
  equal(result.states > 5 && result.transitions >= result.states - 1, true)
  equal(result.localStates > 0 && result.codeRuns > 0, true)
})

test('a thread that does not exist is not dead', () => {
  const { status, stdout } = checkAdders(
    'adders({ atEnd: s => !s.dead(1024) && !s.dead(-1) && !s.dead(0) })',
  )

  equal(status, 0)
  match(stdout, /proved/)
})

test('random schedules of arm64: a store that a load decides about does not overtake it', () => {
  const check = `import { loadPlain, storePlain } from './node_modules/hotplug/dist/src/check/atomics.js'
    import { model } from 'hotplug/check'
    export const one = model({
      name: 'decides',
      shared: t => ({ m: t.int32(4) }),
      threads: [
        { name: 'reader', body: ({ m }) => { Atomics.load(m, 2); if (loadPlain(m, 0) === 0) storePlain(m, 1, 5) } },
        { name: 'writer', body: ({ m }) => { Atomics.load(m, 3); Atomics.store(m, 0, 1) } },
      ],
      memory: 'arm',
      search: { pct: 3, runs: 300, seed: 1 },
    })`

  const { status, stdout } = hotplugCheck({ 'decides.check.js': check })

  equal(status, 0, stdout)
  match(stdout, /bounded/)
})

test('a failure that only the first run could have is refused, not found', () => {
  const check = `import { model, mustFail } from 'hotplug/check'
    const state = { n: 0 }
    export const one = mustFail(model({
      name: 'once',
      shared: t => ({ m: t.int32(4) }),
      threads: [{ name: 'a', body: ({ m }) => {
        Atomics.load(m, 0)
        Atomics.store(m, 1, 1)
        if (state.n++ === 0) Atomics.store(m, 3, 7)
        Atomics.store(m, 2, 2)
      } }],
      never: s => s.m[3] === 7,
    }))`

  const { status, stdout } = hotplugCheck({ 'once.check.js': check })

  equal(status, 1)
  match(stdout, /the body is not the same in every run/)
})
