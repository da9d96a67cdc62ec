import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Latencies } from './latency.ts'

test('no percentile is above the longest', () => {
  const latencies = new Latencies()
  latencies.record(110_545_097)

  const { count, p50, p99, p9999, longest } = latencies.percentiles()

  deepEqual([count, longest], [1, 110_545.097])
  deepEqual([p50, p99, p9999], [longest, longest, longest])
})

test('percentiles are at most a sixteenth too long, also of what was merged', () => {
  const [all, half] = [new Latencies(), new Latencies()]
  for (let us = 1; us <= 10_000; us++) (us % 2 === 0 ? all : half).record(us * 1000)
  all.merge(half.counts, half.longestNs)

  const { p50, p99, p9999 } = all.percentiles()

  for (const [is, exact] of [
    [p50, 5000],
    [p99, 9900],
    [p9999, 9999],
  ] as const) {
    ok(is >= exact && is <= exact * (1 + 1 / 16), `${is}, not ${exact}`)
  }
})
