import { equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { AddressSpace } from '../arch/address-space.ts'
import { linuxMemory } from '../arch/linux-memory.ts'
import { logicalMemory, type RealMemory } from '../arch/real-memory.ts'
import { HotplugError } from '../lib/errors.ts'
import { geometryOf, makeMemoryControl } from '../mm/geometry.ts'
import { prepareBlock } from './prepare.ts'

const MiB = 2 ** 20
const BLOCK = 1

async function scene() {
  const sizes = { pageSize: 4096, blockSize: 16 * MiB, maxMemory: 32 * MiB }
  const control = makeMemoryControl(geometryOf(sizes), 1)
  const buffer = AddressSpace.reserve(sizes.maxMemory, sizes.maxMemory)
  const real = await linuxMemory(buffer).catch(() => logicalMemory(buffer))
  const frames = new AddressSpace(buffer, sizes.blockSize)
  const { blockSize, memmapPages, pageSize } = control.geometry
  return {
    geometry: control.geometry,
    frames,
    real,
    start: BLOCK * blockSize,
    blockSize,
    memmapPages,
    pageSize,
  }
}

function refuse(): never {
  throw new HotplugError('ENOMEM', 'populate', 'the system has no memory for it')
}

test('a block that is prepared has the records of its pages, and no more', async () => {
  const { geometry, frames, real, start, blockSize, memmapPages, pageSize } = await scene()

  prepareBlock(real, geometry, frames, BLOCK)

  if (real.discards) equal(real.resident(start, blockSize), memmapPages * pageSize)
  ok(frames.block(BLOCK).some(word => word !== 0))
})

test('where there is memory for half of the records only, that goes back', async () => {
  const { geometry, frames, real, start, blockSize, pageSize } = await scene()
  let nrPopulated = 0
  const scarce: RealMemory = {
    discards: real.discards,
    prepare: (at, bytes) => real.prepare(at, bytes),
    populate: (at, bytes) => {
      real.populate(at, bytes / 2)
      frames.block(BLOCK).fill(7, 0, bytes / 2 / 4)
      nrPopulated = bytes / 2 / pageSize
      refuse()
    },
    discard: (at, bytes) => real.discard(at, bytes),
    resident: (at, bytes) => real.resident(at, bytes),
  }

  throws(() => prepareBlock(scarce, geometry, frames, BLOCK), { code: 'ENOMEM' })

  ok(nrPopulated > 0)
  if (real.discards) equal(real.resident(start, blockSize), 0)
  equal(
    frames.block(BLOCK).every(word => word === 0),
    true,
  )
})

test('that there is no memory is said also where the system keeps what there was', async () => {
  const { geometry, frames, real } = await scene()
  const stubborn: RealMemory = {
    ...logicalMemory(new SharedArrayBuffer(0)),
    prepare: (at, bytes) => real.prepare(at, bytes),
    populate: refuse,
    discard: () => {
      throw new HotplugError('EBUSY', 'discard', 'it is locked')
    },
  }

  throws(() => prepareBlock(stubborn, geometry, frames, BLOCK), { code: 'ENOMEM' })
})
