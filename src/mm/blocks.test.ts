import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { addBlock, attachTo, onlineBlock, setBlock, testMemory } from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { Blocks, zoneName } from './blocks.ts'
import { BLOCK_STATE, BlockState } from './geometry.ts'
import { beginAdd, beginRemove, finishRemove, undoAdd } from './transitions.ts'

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

  deepEqual(blocks.in(BlockState.Online, BlockState.Offline), [0, 1, 2])
  deepEqual(blocks.in(BlockState.Removing), [])
})

test('the lowest that are absent are found, whether they were ever added or not', () => {
  const memory = testMemory(tinyGeometry({ nrBlocks: 6, pagesPerBlock: 16 }))
  const { frames } = attachTo(memory, 1)
  for (const block of [0, 1, 3]) addBlock(memory, frames, block)
  setBlock(memory.control, 1, BLOCK_STATE, BlockState.Absent)
  const blocks = new Blocks(memory.control)

  equal(blocks.high(), 4)
  deepEqual(blocks.absent(1), [1])
  deepEqual(blocks.absent(3), [1, 2, 4])
  deepEqual(blocks.absent(9), [1, 2, 4, 5])
})

test('blocks are looked at up to the highest that was ever added', () => {
  const { blocks } = four()

  equal(blocks.high(), 3)
  beginAdd(blocks, 3)
  equal(blocks.high(), 4)
  undoAdd(blocks, 3)
  beginRemove(blocks, 2)
  finishRemove(blocks, 2)
  beginAdd(blocks, 2)

  equal(blocks.high(), 4)
  deepEqual(blocks.in(BlockState.Adding), [2])
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
