import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import type { Batch, Leftover } from './migration.ts'
import { sliceOf, sliceWords } from './slice.ts'

const batch: Batch = { moved: 3, stopped: 'no', inside: -1 }
const nothing: Leftover = { pages: 0, isUnmovable: false }

test('what was done comes out of the words as it went in', () => {
  const leftover = { pages: 7, isUnmovable: true }

  const slice = sliceOf(sliceWords(41, { ...batch, stopped: 'inside', inside: 5 }, leftover, 1.25))

  deepEqual(slice, {
    moved: 41,
    left: 7,
    isUnmovable: true,
    stopped: 'inside',
    inside: 5,
    longestBatchMs: 1.25,
  })
})

test('every reason to stop has a word of its own', () => {
  const reasons = ['no', 'empty', 'noRoom', 'inside'] as const

  const found = reasons.map(
    stopped => sliceOf(sliceWords(0, { ...batch, stopped }, nothing, 0)).stopped,
  )

  deepEqual(found, reasons)
})

test('a batch that took some nanoseconds took a microsecond, and words after these say nothing', () => {
  const words = [...sliceWords(1, batch, nothing, 0.0001), 99, 99]

  deepEqual(sliceOf(words).longestBatchMs, 0.001)
  deepEqual(sliceOf(words).isUnmovable, false)
})
