import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { AddressSpace } from './address-space.ts'
import { logicalMemory } from './real-memory.ts'

const BLOCK = 4 * 2 ** 20

test('memory that stays is zeroed when it is discarded, and says that nothing left', () => {
  const space = new AddressSpace(AddressSpace.reserve(2 * BLOCK, 2 * BLOCK), BLOCK)
  const memory = logicalMemory(space.buffer, 'koffi does not load')
  space.block(0).fill(5)
  space.block(1).fill(6)

  memory.prepare(0, BLOCK)
  memory.populate(0, BLOCK)
  const left = memory.discard(BLOCK, BLOCK)

  equal(left, 0)
  deepEqual([memory.discards, memory.reason], [false, 'koffi does not load'])
  deepEqual([space.block(0).at(-1), space.block(1)[0], space.block(1).at(-1)], [5, 0, 0])
  equal(memory.resident(BLOCK, BLOCK), BLOCK)
})
