import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { FORMS } from './forms.ts'
import { Random } from './random.ts'
import { tortureText } from './report.ts'
import { Stopwatch } from './times.ts'
import { hasPassed, torture } from './torture.ts'

const SHORT = { seconds: 0.5, seed: 2017, nrWriters: 2, nrReaders: 2, kills: true }

for (const form of Object.keys(FORMS)) {
  test(`nobody meets anybody inside ${form} while threads are killed`, async () => {
    const result = await torture({ ...SHORT, form })

    ok(hasPassed(result), tortureText(result))
    ok(result.nrKilled > 0)
    ok(result.writes.every(count => count > 0))
    equal(result.kills.nr, result.nrKilled)
    match(tortureText(result), /told {2}off \d.* to \d.* ms \(\d.* in all\) {2}on \d/)
  })
}

test('without a lock, threads meet', async () => {
  const result = await torture({ ...SHORT, form: 'nothing', kills: false })

  ok(result.overlaps > 0)
  equal(hasPassed(result), false)
  match(tortureText(result), /FAILED: \d+ overlaps/)
})

test('a half-made change that nobody was told of is found', async () => {
  let untold = 0
  for (let seed = 1; untold === 0 && seed < 20; seed++) {
    untold = (await torture({ ...SHORT, form: 'untold', seed })).untold
  }

  ok(untold > 0)
})

test('times are the least, the most and the sum', () => {
  const watch = new Stopwatch()

  deepEqual(watch.times(), { nr: 0, minMs: 0, maxMs: 0, totalMs: 0 })
  for (const ms of [3, 1, 2]) watch.add(ms)
  deepEqual(watch.times(), { nr: 3, minMs: 1, maxMs: 3, totalMs: 6 })
})

test('random numbers are the same for the same seed, and within their bound', () => {
  const [one, same, other] = [new Random(1), new Random(1), new Random(2)]
  const draws = (random: Random): number[] => Array.from({ length: 1000 }, () => random.below(7))

  const drawn = draws(one)

  equal(drawn.join(), draws(same).join())
  ok(drawn.join() !== draws(other).join())
  ok(drawn.every(value => value >= 0 && value < 7) && new Set(drawn).size === 7)
})
