import { equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { geometryOf } from './geometry.ts'

const MiB = 2 ** 20

test('a block holds the records of its own pages', () => {
  const geometry = geometryOf({ pageSize: 16384, blockSize: 64 * MiB, maxMemory: 1024 * MiB })

  equal(geometry.pagesPerBlock, 4096)
  equal(geometry.memmapPages, 3)
  equal(geometry.nrBlocks, 16)
  equal(geometry.nrVirtual, geometry.nrFrames)
})

test('heap addresses have 32 bits, however much is reserved', () => {
  const geometry = geometryOf({ pageSize: 16384, blockSize: 1024 * MiB, maxMemory: 2 ** 40 })

  equal(geometry.nrVirtual * 2 ** geometry.unitsPerPageShift, 2 ** 32)
})

test('sizes that do not fit are refused', () => {
  const good = { pageSize: 16384, blockSize: 64 * MiB, maxMemory: 1024 * MiB }
  const bad = [
    { pageSize: 10_000 },
    { pageSize: 2048 },
    { blockSize: 2 * MiB },
    { blockSize: 65 * MiB },
    { blockSize: 1024 * MiB, pageSize: 4096 },
    { maxMemory: 1000 * MiB },
    { maxMemory: 0 },
    { maxMemory: 2 ** 41 },
  ]
  for (const sizes of bad) throws(() => geometryOf({ ...good, ...sizes }), { code: 'EINVAL' })
})
