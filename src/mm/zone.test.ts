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
  zoneField,
} from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { BLOCK_FREE, BLOCK_ISOLATED, PageState, ZONE_DIRTY, ZONE_FREE } from './geometry.ts'
import { blockOfPfn, loadPageWord, pageWord } from './memmap.ts'
import type { Zone } from './zone.ts'

/** Two blocks of 15 pages in zone Normal. */
function twoBlocks(): { memory: TestMemory; hands: Hands; zone: Zone } {
  const memory = testMemory(tinyGeometry({ nrBlocks: 2, pagesPerBlock: 16 }))
  const hands = attachTo(memory, 1)
  for (let block = 0; block < 2; block++) {
    addBlock(memory, hands.frames, block)
    onlineBlock(memory, hands, block, 0)
  }
  return { memory, hands, zone: hands.pages.zones[0]! }
}

function blockOf({ control }: TestMemory, pfn: number): number {
  return blockOfPfn(control.geometry, pfn)
}

test('a page that was taken names who has it', () => {
  const { memory, hands, zone } = twoBlocks()

  const pfn = zone.alloc(0)

  const word = loadPageWord(memory.control.geometry, hands.frames, pfn)
  equal(word, pageWord(PageState.Allocated, hands.slot.token))
  equal(zone.nrFree(), 29)
  assertExact(memory)
})

test('pages come from the lowest block, until it has none', () => {
  const { memory, zone } = twoBlocks()

  const blocks = Array.from({ length: 30 }, () => blockOf(memory, zone.alloc(0)))

  equal(blocks.indexOf(1), 15)
  equal(zone.alloc(0), -1)
  assertExact(memory)
})

test('a block that is added when no page was left gives out pages', () => {
  const memory = testMemory(tinyGeometry({ nrBlocks: 4, pagesPerBlock: 16 }))
  const hands = attachTo(memory, 1)
  const zone = hands.pages.zones[0]!
  equal(zone.alloc(0), -1)
  for (const block of [1, 3, 2, 0]) {
    addBlock(memory, hands.frames, block)
    onlineBlock(memory, hands, block, 0)

    const taken = Array.from({ length: 15 }, () => blockOf(memory, zone.alloc(0)))

    equal(taken.filter(each => each === block).length, 15)
    equal(zone.alloc(0), -1)
    assertExact(memory)
  }
})

test('a page freed in a low block is the next to be taken', () => {
  const { memory, zone } = twoBlocks()
  const taken = Array.from({ length: 20 }, () => zone.alloc(0))

  zone.free(taken[3]!, 0)

  equal(zone.alloc(0), taken[3])
  assertExact(memory)
})

test('a chunk lies side by side, at a multiple of its size', () => {
  const { memory, zone } = twoBlocks()

  const chunk = zone.alloc(3)

  equal(chunk % 8, 0)
  equal(zone.nrFree(), 22)
  equal(zone.alloc(4), -1)
  assertExact(memory)
})

test('what was freed is whole again', () => {
  const { memory, zone } = twoBlocks()
  const taken = Array.from({ length: 30 }, () => zone.alloc(0))

  for (const pfn of taken) zone.free(pfn, 0)

  assertExact(memory)
  notEqual(zone.alloc(3), -1)
  notEqual(zone.alloc(3), -1)
  equal(zone.alloc(3), -1)
})

test('an isolated block gives out nothing, and keeps what is freed into it', () => {
  const { memory, zone } = twoBlocks()
  const pfn = zone.alloc(0)

  zone.isolate(0)
  zone.isolate(0)
  const other = zone.alloc(0)
  zone.free(pfn, 0)

  equal(blockOf(memory, pfn), 0)
  equal(blockOf(memory, other), 1)
  equal(zone.nrFree(), 14)
  equal(blockField(memory.control, 0, BLOCK_FREE), 15)
  assertExact(memory)
  zone.undoIsolate(0)
  zone.undoIsolate(0)
  equal(zone.nrFree(), 29)
  equal(blockOf(memory, zone.alloc(0)), 0)
  assertExact(memory)
})

test('a block that is isolated and whole can be taken, and given again', () => {
  const { memory, zone } = twoBlocks()
  zone.isolate(1)

  zone.takeBlock(1)

  equal(zone.nrFree(), 15)
  equal(blockField(memory.control, 1, BLOCK_FREE), 0)
  equal(countStates(memory, PageState.Tail), 15 + 11)
  zone.takeBlock(1)
  zone.giveBlock(1)
  zone.giveBlock(1)
  equal(zone.nrFree(), 30)
  equal(blockField(memory.control, 1, BLOCK_ISOLATED), 0)
  assertExact(memory)
})

test('a block is not taken while somebody has a page of it, or can', () => {
  const { memory, zone } = twoBlocks()
  const pfn = zone.alloc(0)

  throws(() => zone.takeBlock(1), { message: 'zone: block 1 is taken while it gives out pages' })
  zone.isolate(0)
  throws(() => zone.takeBlock(0), {
    message: 'zone: block 0 is taken while somebody has pages of it',
  })

  zone.free(pfn, 0)
  zone.undoIsolate(0)
  equal(zone.nrFree(), 30)
  assertExact(memory)
})

test('who comes after a death repairs the block that was being changed', () => {
  const { memory, zone } = twoBlocks()
  const pfn = zone.alloc(2)
  const { control } = memory
  control.zones[ZONE_DIRTY] = 1
  control.blocks[BLOCK_FREE] = 999
  control.zones[ZONE_FREE] = -7
  hurtLists(memory)

  zone.free(pfn, 2)

  equal(zoneField(control, 0, ZONE_FREE), 30)
  assertExact(memory)
})

function hurtLists(memory: TestMemory): void {
  const memmap = new Int32Array(memory.space, 0, memory.control.geometry.blockWords)
  memmap.fill(5, 0, 4)
}
