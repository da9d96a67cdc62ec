import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { addBlock, attachTo, onlineBlock, setBlock, testMemory } from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { Blocks, zoneName } from './blocks.ts'
import { BLOCK_STATE, BlockState } from './geometry.ts'

/** Blocks: 0 online in Normal, 1 online in Movable, 2 offline, 3 absent; 15 pages each. */
function four() {
  const memory = testMemory(tinyGeometry({ nrBlocks: 4, pagesPerBlock: 16 }))
  const hands = attachTo(memory, 1)
  for (let block = 0; block < 3; block++) addBlock(memory, hands.frames, block)
  onlineBlock(memory, hands, 0, 0)
  onlineBlock(memory, hands, 1, 1)
  return { memory, hands, blocks: new Blocks(memory.control) }
}

test('states and zones have names, and what has no pages has no zone', () => {
  const { blocks } = four()

  const names = [0, 1, 2, 3].map(block => [blocks.stateName(block), blocks.zone(block)])

  deepEqual(names, [
    ['online', 'Normal'],
    ['online', 'Movable'],
    ['offline', null],
    ['absent', null],
  ])
  deepEqual([zoneName(0), zoneName(1)], ['Normal', 'Movable'])
})

test('every state has its name', () => {
  const { memory, blocks } = four()
  const names = Object.values(BlockState).map(state => {
    setBlock(memory.control, 3, BLOCK_STATE, state)
    return blocks.stateName(3)
  })

  deepEqual(names, [
    'absent',
    'adding',
    'offline',
    'going-online',
    'online',
    'going-offline',
    'removing',
  ])
})

test('blocks are found by their states, lowest first', () => {
  const { blocks } = four()

  deepEqual(blocks.in(BlockState.Online, BlockState.Absent), [0, 1, 3])
  deepEqual(blocks.in(BlockState.Removing), [])
})

test('pages are used or free', () => {
  const { hands, blocks } = four()

  equal(blocks.usedPages(0), 0)
  hands.pages.zones[0]!.alloc(1)

  equal(blocks.usedPages(0), 2)
  equal(blocks.usedPages(1), 0)
})

test('what is online is counted, also while it goes offline', () => {
  const { memory, blocks } = four()

  blocks.count()
  equal(blocks.onlinePages(), 30)
  setBlock(memory.control, 1, BLOCK_STATE, BlockState.GoingOffline)
  blocks.count()
  equal(blocks.onlinePages(), 30)
  setBlock(memory.control, 1, BLOCK_STATE, BlockState.Offline)

  throws(() => blocks.assertWhole(), /30 pages are said to be online, 15 are/)
  blocks.count()
  blocks.assertWhole()
  equal(blocks.onlinePages(), 15)
})

test('an epoch tells one stay of a block from the next', () => {
  const { blocks } = four()

  const epochs = [0, 1].map(() => {
    blocks.beginEpoch(2)
    return blocks.epoch(2)
  })

  deepEqual(epochs, [1, 2])
  equal(blocks.epoch(3), 0)
})
