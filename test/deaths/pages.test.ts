import { equal, notEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Slots } from '../../src/locking/slots.ts'
import {
  BLOCK_ISOLATED,
  BLOCK_STATE,
  BlockState,
  PageState,
  PERCPU_DISABLED,
} from '../../src/mm/geometry.ts'
import { testOracle } from '../bodies/locks.ts'
import {
  addBlock,
  assertExact,
  attachTo,
  blockField,
  countStates,
  type Hands,
  nrManaged,
  onlineBlock,
  setBlock,
  type TestMemory,
  testMemory,
} from '../bodies/pages.ts'
import { killAtEach } from '../kill.ts'
import { tinyGeometry } from '../litmus/geometry.ts'
import { sharedWords, TestThread, until } from '../thread.ts'
import { BLOCK, CALLS, NEIGHBOUR_TID, type PageVictim, VICTIM_TID } from './page-victim.ts'

const MODULE = new URL('./page-victim.js', import.meta.url)

interface State {
  readonly data: PageVictim
  readonly memory: TestMemory
  readonly hands: Hands
}

/** Block 0 in zone Normal, block 1 in zone Movable; this thread has a page of each. */
function begin(call: string, pagesPerBlock: number): State {
  const memory = testMemory(tinyGeometry({ nrBlocks: 2, pagesPerBlock }))
  const hands = attachTo(memory, 1)
  for (let block = 0; block < 2; block++) {
    addBlock(memory, hands.frames, block)
    onlineBlock(memory, hands, block, block === 0 ? 0 : 1)
  }
  return { data: { call, memory }, memory, hands }
}

/** The dead are known to be dead. */
function reap({ memory }: State): void {
  const slots = new Slots(memory.slots)
  for (let i = 0; i < slots.nrSlots; i++) slots.reap(i, testOracle(1, [VICTIM_TID]))
}

/** Takes what the dead had, and goes on. */
function recover(state: State): void {
  const { hands } = state
  reap(state)
  hands.pages.recoverDead()
  hands.pages.enableLists()
  equal(hands.pages.recoverDead(), 0)
}

function assertNothingIsLost({ memory, hands }: State): void {
  assertExact(memory)
  equal(countStates(memory, PageState.Allocated), 0)
  equal(countStates(memory, PageState.Percpu), 0)
  hands.pages.zones[1]!.undoIsolate(BLOCK)
  const nrPages = nrManaged(memory)
  for (let i = 0; i < 2 * nrPages; i++) notEqual(hands.pages.allocPage('movable'), -1)
  equal(hands.pages.allocPage('movable'), -1)
  assertExact(memory)
}

/** Goes on with what the victim's call was to do: a caller's successor does. */
function goOn(call: string, { memory, hands }: State): void {
  const zone = hands.pages.zones[1]!
  if (call === 'takeBlock') {
    zone.takeBlock(BLOCK)
    equal(zone.nrFree(), 0)
    equal(blockField(memory.control, BLOCK, BLOCK_ISOLATED), 1)
    zone.giveBlock(BLOCK)
  }
  if (call === 'giveBlock') zone.giveBlock(BLOCK)
  setBlock(memory.control, BLOCK, BLOCK_STATE, BlockState.Online)
}

const SMALL = 8
const LARGE: Readonly<Record<string, number>> = { freeToFullList: 64 }
const STRIDES: Readonly<Record<string, number>> = { freeToFullList: 5, allocFirst: 2 }

for (const call of Object.keys(CALLS)) {
  test(`pages: ${call} is killed at every operation, and no page is lost`, async () => {
    const nrKilled = await killAtEach<State, PageVictim>({
      module: MODULE,
      name: 'makesPageCall',
      stride: STRIDES[call] ?? 1,
      begin: () => begin(call, LARGE[call] ?? SMALL),
      check: state => {
        recover(state)
        goOn(call, state)
        assertNothingIsLost(state)
      },
    })
    ok(nrKilled > 0)
  })
}

test('pages: a drain that died half way does not keep others from it', async () => {
  await killAtEach<State, PageVictim>({
    module: MODULE,
    name: 'makesPageCall',
    stride: 4,
    begin: () => begin('drainAll', SMALL),
    check: state => {
      reap(state)
      state.hands.pages.drainAll() // the flag may be the dead one's
      state.hands.pages.enableLists()
      equal(Atomics.load(state.memory.control.events, PERCPU_DISABLED), 0)
      recover(state)
      assertNothingIsLost(state)
    },
  })
})

test('pages: threads die at each operation while another takes and gives', async () => {
  const state = begin('allocFirst', 64)
  const { memory, hands } = state
  const stop = sharedWords(1)
  const neighbour = new TestThread(MODULE, 'takesAndGives', { memory, stop })

  const nrKilled = await killAtEach<State, PageVictim>({
    module: MODULE,
    name: 'makesPageCall',
    stride: 13,
    atOnce: 1,
    begin: () => state,
    check: () => recover(state),
  })

  Atomics.store(stop, 0, 1)
  ok(((await neighbour.result) as number) > 0)
  ok(nrKilled > 1)
  hands.pages.recoverDead()
  assertNothingIsLost(state)
})

test('pages: threads that take and give are killed at any time, and no page is lost', async () => {
  const state = begin('', 64)
  const { memory, hands } = state
  const slots = new Slots(memory.slots)

  for (let round = 0; round < 8; round++) {
    const threads = [VICTIM_TID, NEIGHBOUR_TID].map(
      tid => new TestThread(MODULE, 'takesForEver', { memory, tid }),
    )
    await until('both take pages', () => slots.tokenAt(1) !== 0 && slots.tokenAt(2) !== 0)
    await until('pages are taken', () => countStates(memory, PageState.Allocated) > 0)
    for (const thread of threads) await thread.kill()
    for (let i = 0; i < slots.nrSlots; i++) {
      slots.reap(i, testOracle(1, [VICTIM_TID, NEIGHBOUR_TID]))
    }
    hands.pages.recoverDead()
    assertExact(memory)
    equal(countStates(memory, PageState.Allocated), 0)
    equal(countStates(memory, PageState.Percpu), 0)
  }
})
