import { throws } from 'node:assert/strict'
import { test } from 'node:test'
import { sharedWords } from '../../test/thread.ts'
import { requireWords } from './words.ts'

test('memory that a lock fits in is accepted', () => {
  requireWords('lock', sharedWords(4), 2, 2)
})

test('memory that is not an Int32Array is refused', () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(16)) as unknown as Int32Array

  throws(() => requireWords('lock', bytes, 0, 1), {
    code: 'EINVAL',
    message: 'make lock: its memory is not an Int32Array (EINVAL)',
  })
})

test('memory that is not shared is refused', () => {
  throws(() => requireWords('lock', new Int32Array(4), 0, 1), {
    code: 'EINVAL',
    message: 'make lock: its memory is not shared (EINVAL)',
  })
})

test('words out of bounds, or between two words, are refused', () => {
  for (const index of [-1, 0.5, 3, 4, Number.NaN]) {
    throws(() => requireWords('lock', sharedWords(4), index, 2), { code: 'EINVAL' })
  }
})
