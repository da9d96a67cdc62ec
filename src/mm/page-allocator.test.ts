import { equal, notEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'
import {
  addBlock,
  assertExact,
  attachTo,
  blockField,
  countStates,
  type Hands,
  onlineBlock,
  type TestMemory,
  testMemory,
} from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { Slots } from '../locking/slots.ts'
import { BLOCK_FREE, PageState } from './geometry.ts'
import { PERCPU_BATCH, PERCPU_PAGES_MAX } from './percpu-pages.ts'

const MANAGED = 61

/** A block of 61 pages in zone Normal, another in zone Movable. */
function normalAndMovable(): { memory: TestMemory; hands: Hands } {
  const memory = testMemory(tinyGeometry({ nrBlocks: 2, pagesPerBlock: 64, memmapPages: 3 }))
  const hands = attachTo(memory, 1)
  addBlock(memory, hands.frames, 0)
  addBlock(memory, hands.frames, 1)
  onlineBlock(memory, hands, 0, 0)
  onlineBlock(memory, hands, 1, 1)
  return { memory, hands }
}

test('movable pages come from zone Movable, then from Normal; unmovable from Normal only', () => {
  const { memory, hands } = normalAndMovable()
  const { pages } = hands

  const unmovable = pages.allocPage('unmovable')
  const movable = Array.from({ length: MANAGED + 1 }, () => pages.allocPage('movable'))

  equal(unmovable < 64, true)
  equal(movable.filter(pfn => pfn >= 64).length, MANAGED)
  equal(movable.at(-1)! < 64, true)
  assertExact(memory)
})

test('there is no room once every page is taken', () => {
  const { memory, hands } = normalAndMovable()
  for (let i = 0; i < MANAGED; i++) notEqual(hands.pages.allocPage('unmovable'), -1)

  equal(hands.pages.allocPage('unmovable'), -1)
  equal(hands.pages.allocChunk(0), -1)

  equal(countStates(memory, PageState.Allocated), MANAGED)
  assertExact(memory)
})

test('the first page brings a batch, and a full list gives one back', () => {
  const { memory, hands } = normalAndMovable()
  const { pages } = hands

  const taken = [pages.allocPage('movable')]
  equal(countStates(memory, PageState.Percpu), PERCPU_BATCH - 1)

  for (let i = 1; i < 2 * PERCPU_PAGES_MAX; i++) taken.push(pages.allocPage('movable'))
  for (const pfn of taken) pages.freePage(pfn)
  equal(countStates(memory, PageState.Percpu) <= PERCPU_PAGES_MAX, true)
  equal(countStates(memory, PageState.Allocated), 0)
  assertExact(memory)
})

test('a drained list stays empty until lists are enabled', () => {
  const { memory, hands } = normalAndMovable()
  const { pages } = hands
  const first = pages.allocPage('movable')

  pages.drainAll()
  pages.freePage(first)
  const second = pages.allocPage('movable')
  equal(countStates(memory, PageState.Percpu), 0)

  pages.enableLists()
  pages.freePage(second)
  equal(countStates(memory, PageState.Percpu), 1)
  assertExact(memory)
})

test('after isolation and a drain the block has all that is free', () => {
  const { memory, hands } = normalAndMovable()
  const { pages } = hands
  const mine = [pages.allocPage('movable'), pages.allocPage('movable')]

  pages.zones[1]!.isolate(1)
  pages.drainAll()
  pages.enableLists()
  equal(blockField(memory.control, 1, BLOCK_FREE), MANAGED - 2)
  for (const pfn of mine) pages.freePage(pfn)

  equal(blockField(memory.control, 1, BLOCK_FREE), MANAGED)
  pages.zones[1]!.takeBlock(1)
  equal(pages.allocPage('movable') < 64, true)
  assertExact(memory)
})

test('what a dead thread had is freed once', () => {
  const { memory, hands } = normalAndMovable()
  const other = attachTo(memory, 2)
  other.pages.allocPage('movable')
  other.pages.allocChunk(2)
  hands.pages.allocPage('movable')

  new Slots(memory.slots).close(other.slot.index, other.slot.generation)

  equal(hands.pages.recoverDead(), PERCPU_BATCH + 4)
  equal(hands.pages.recoverDead(), 0)
  equal(countStates(memory, PageState.Allocated), 1)
  assertExact(memory)
})

test('the next owner of a slot begins with an empty list', () => {
  const { memory, hands } = normalAndMovable()
  const other = attachTo(memory, 2)
  other.pages.allocPage('movable')
  other.slot.detach()

  const next = attachTo(memory, 2)
  equal(next.slot.index, other.slot.index)
  equal(hands.pages.recoverDead(), PERCPU_BATCH)
  next.pages.allocPage('movable')

  equal(countStates(memory, PageState.Percpu), PERCPU_BATCH - 1)
  assertExact(memory)
})

test('a thread frees what it has, and nothing else', () => {
  const { memory, hands } = normalAndMovable()
  const other = attachTo(memory, 2)
  const pfn = other.pages.allocPage('movable')

  throws(() => hands.pages.freePage(pfn), {
    message: `page allocator: page ${pfn} is not this thread's to free`,
  })
  other.pages.freePage(pfn)
  throws(() => other.pages.freePage(pfn), { name: 'AssertionError' })
  throws(() => other.pages.freeChunk(0, 0), { name: 'AssertionError' })
  assertExact(memory)
})
