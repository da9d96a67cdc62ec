import { equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf, type Size, sizeText } from './units.ts'

test('sizes are numbers of bytes, or strings with a binary unit', () => {
  equal(bytesOf(0, 'boot', 'memory'), 0)
  equal(bytesOf(4096, 'boot', 'memory'), 4096)
  equal(bytesOf('64MiB', 'boot', 'memory'), 64 * 2 ** 20)
  equal(bytesOf('1.5GiB', 'boot', 'memory'), 1.5 * 2 ** 30)
  equal(bytesOf('1TiB', 'boot', 'memory'), 2 ** 40)
})

test('what is no size is refused by name', () => {
  const bad = [-1, 0.5, Number.NaN, '64MB', '64 MiB', '-1MiB', '0.3KiB', ''] as unknown as Size[]
  for (const size of bad) {
    throws(() => bytesOf(size, 'boot', 'memory'), {
      code: 'EINVAL',
      message: `boot: memory is ${size}, not a number of bytes or a size as 64MiB (EINVAL)`,
    })
  }
})

test('sizes read well', () => {
  equal(sizeText(12), '12 B')
  equal(sizeText(64 * 2 ** 20), '64 MiB')
  equal(sizeText(1.5 * 2 ** 30), '1.5 GiB')
})
