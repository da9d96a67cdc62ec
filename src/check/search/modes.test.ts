import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import type { SearchSpec } from '../program.ts'
import {
  at,
  awaitDeath,
  type Body,
  counterLock,
  GeneratedProgram,
  load,
  specOf,
  store,
  thread,
} from './generators.test.fixture.ts'
import { searchTwice } from './naive.test.fixture.ts'
import { search } from './search.ts'

test('fingerprints see the same states in less memory', () => {
  const writer = (first: number): Body =>
    function* () {
      for (let value = 1; ; value = 1 - value) {
        for (let word = first; word < first + 13; word++) {
          yield at(`${value}`, store(word, value))
        }
      }
    }
  const program = new GeneratedProgram(52, [writer(0), writer(13), writer(26), writer(39)])
  const spec = specOf(program)

  const exact = search(program, spec)
  const prints = search(program, { ...spec, mode: { kind: 'fingerprints' } })

  equal(exact.states, 26 ** 4)
  equal(prints.states, exact.states)
  equal(prints.transitions, exact.transitions)
  ok(prints.bytes < exact.bytes, `${prints.bytes} bytes instead of ${exact.bytes}`)
})

test('few preemptions are enough to lose an update, and none is too few', () => {
  const counter: Body = function* () {
    const count = yield load(0)
    yield store(0, count + 1)
  }
  const program = new GeneratedProgram(1, [counter, counter])
  const atEnd: SearchSpec['atEnd'] = state => state.word(0) === 2
  const bounded = (bound: number) =>
    searchTwice(program, specOf(program, { atEnd, mode: { kind: 'preemptions', bound } }))

  equal(bounded(0).verdict, 'bounded')
  equal(bounded(1).failure?.kind, 'atEnd')
})

test('schedules at random find the lost wake-up, the same ones for the same seed', () => {
  const program = counterLock(2, 2, false)
  const pct = (seed: number) =>
    search(program, specOf(program, { mode: { kind: 'pct', depth: 3, runs: 2000, seed } }))

  equal(pct(1).failure?.kind, 'deadlock')
  equal(JSON.stringify(pct(1)), JSON.stringify(pct(1)))
})

test('schedules at random prove nothing', () => {
  const program = counterLock(1, 1)

  const result = search(
    program,
    specOf(program, { mode: { kind: 'pct', depth: 2, runs: 50, seed: 7 } }),
  )

  equal(result.verdict, 'bounded')
  equal(result.failure, null)
})

test('a death before an operation that nobody notices is not left out', () => {
  const program = new GeneratedProgram(3, [
    function* () {
      yield store(0, 1)
      yield load(1)
    },
    function* () {
      yield awaitDeath()
      if ((yield load(0)) === 1) yield store(2, 1)
    },
  ])
  const threads = [thread('dier'), thread('reaper', { daemon: true })]
  const never: SearchSpec['never'] = state => state.word(2) === 1

  const result = search(program, specOf(program, { threads, never, deaths: 1, reduce: true }))

  equal(result.failure?.kind, 'never')
})
