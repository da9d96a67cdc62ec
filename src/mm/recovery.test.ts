import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import {
  addBlock,
  assertExact,
  attachTo,
  onlineBlock,
  setBlock,
  testMemory,
} from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { type BlockStateName, Blocks } from './blocks.ts'
import { blockOfGoing, endOf } from './ends.ts'
import { BLOCK_ISOLATED, BLOCK_STATE, BLOCK_ZONE, BlockState } from './geometry.ts'
import { recoverBlocks } from './recovery.ts'
import {
  beginOffline,
  beginOnline,
  finishOffline,
  finishOnline,
  undoOffline,
  undoOnline,
} from './transitions.ts'

/** Blocks 0 (Normal) and 1 (Movable) are online, 2 is offline, the rest is absent. */
function scene(nrBlocks = 4) {
  const memory = testMemory(tinyGeometry({ nrBlocks, pagesPerBlock: 16 }))
  const hands = attachTo(memory, 1)
  for (let block = 0; block < 3; block++) addBlock(memory, hands.frames, block)
  onlineBlock(memory, hands, 0, 0)
  onlineBlock(memory, hands, 1, 1)
  const blocks = new Blocks(memory.control)
  blocks.count()
  const discarded: number[] = []
  const recover = (): string => {
    recoverBlocks(blocks, hands.pages.zones, block => discarded.push(block))
    const going = blocks.going()
    return going === 0 ? '' : endOf(going, blocks.state(blockOfGoing(going)))
  }
  const names = (): BlockStateName[] => [0, 1, 2, 3].map(block => blocks.stateName(block))
  return { memory, hands, blocks, discarded, recover, names, zones: hands.pages.zones }
}

test('blocks at rest stay as they are', () => {
  const { memory, names, recover, discarded, hands } = scene()
  hands.pages.zones[0]!.alloc(2)
  const before = names()

  const owed = recover()

  equal(owed, '')
  deepEqual(names(), before)
  deepEqual(discarded, [])
  assertExact(memory)
})

test('what was being added or removed is absent, and its memory leaves', () => {
  const { memory, names, recover, discarded } = scene()
  setBlock(memory.control, 2, BLOCK_STATE, BlockState.Removing)
  setBlock(memory.control, 3, BLOCK_STATE, BlockState.Adding)

  const owed = recover()

  equal(owed, '')
  deepEqual(names(), ['online', 'online', 'absent', 'absent'])
  deepEqual(discarded, [2, 3])
})

test('what was going online is offline again, and notifiers hear of it', () => {
  const { memory, blocks, names, recover } = scene()
  beginOnline(blocks, 2, 1)

  const owed = recover()

  equal(owed, 'CANCEL_ONLINE')
  deepEqual(names(), ['online', 'online', 'offline', 'absent'])
  assertExact(memory)
})

test('what was going offline gives out pages again, and keeps those that somebody has', () => {
  const { memory, blocks, zones, recover } = scene()
  const pfn = zones[1]!.alloc(0)
  beginOffline(blocks, zones[1]!, 1)

  const owed = recover()

  equal(owed, 'CANCEL_OFFLINE')
  equal(zones[1]!.nrFree(), 14)
  assertExact(memory)
  zones[1]!.free(pfn, 0)
  equal(zones[1]!.nrFree(), 15)
  blocks.assertWhole()
})

test('a block whose pages had left already, or not come yet, has them', () => {
  const { memory, blocks, zones, recover } = scene()
  beginOffline(blocks, zones[0]!, 0)
  zones[0]!.takeBlock(0)
  setBlock(memory.control, 2, BLOCK_STATE, BlockState.Online)
  setBlock(memory.control, 2, BLOCK_ZONE, 1)

  recover()

  deepEqual([zones[0]!.nrFree(), zones[1]!.nrFree()], [15, 30])
  equal(blocks.onlinePages(), 45)
  assertExact(memory)
})

test('a block that is isolated though it is online gives out pages again', () => {
  const { memory, blocks, zones, recover } = scene()
  beginOffline(blocks, zones[1]!, 1)
  setBlock(memory.control, 1, BLOCK_STATE, BlockState.Online)

  recover()

  equal(memory.control.blocks[16 + BLOCK_ISOLATED], 0)
  equal(zones[1]!.nrFree(), 15)
})

test('any number of blocks is put to rest', () => {
  const nrBlocks = 32
  const { memory, blocks, recover } = scene(nrBlocks)
  for (let block = 2; block < nrBlocks; block++) {
    setBlock(memory.control, block, BLOCK_STATE, BlockState.GoingOnline)
  }

  recover()

  equal(blocks.in(BlockState.Offline).length, nrBlocks - 2)
})

test('the end that is owed follows from the way and from where the block came to rest', () => {
  const { blocks, zones, recover } = scene()
  const owed: string[] = []
  const note = (): void => {
    owed.push(recover())
    blocks.setGoing(0)
  }

  beginOnline(blocks, 2, 1)
  undoOnline(blocks, 2)
  note()
  beginOnline(blocks, 2, 1)
  finishOnline(blocks, zones[1]!, 2)
  note()
  beginOffline(blocks, zones[1]!, 2)
  undoOffline(blocks, zones[1]!, 2)
  note()
  beginOffline(blocks, zones[1]!, 2)
  finishOffline(blocks, zones[1]!, 2)
  note()

  deepEqual(owed, ['CANCEL_ONLINE', 'ONLINE', 'CANCEL_OFFLINE', 'OFFLINE'])
})

test('nothing goes on or off before the end of what went before was told', () => {
  const { blocks, zones } = scene()
  beginOnline(blocks, 2, 1)
  finishOnline(blocks, zones[1]!, 2)

  throws(() => beginOffline(blocks, zones[1]!, 1), /nobody was told/)
})

test('transitions go one way each, from the state before', () => {
  const { memory, blocks, zones, names } = scene()

  beginOffline(blocks, zones[1]!, 1)
  undoOffline(blocks, zones[1]!, 1)
  blocks.setGoing(0)
  beginOffline(blocks, zones[1]!, 1)
  finishOffline(blocks, zones[1]!, 1)
  blocks.setGoing(0)
  beginOnline(blocks, 1, 0)
  finishOnline(blocks, zones[0]!, 1)

  deepEqual(names(), ['online', 'online', 'offline', 'absent'])
  deepEqual([zones[0]!.nrFree(), zones[1]!.nrFree()], [30, 0])
  equal(blocks.onlinePages(), 30)
  assertExact(memory)
})
