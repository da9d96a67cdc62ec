import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import {
  assertWhole,
  bootSmall,
  insides,
  MovingPages,
  SMALL,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { Insider } from '../../test/bodies/insider.ts'
import type { Blocker, HotplugError, Progress } from '../index.ts'
import {
  BlockState,
  PageState,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
} from './geometry.ts'
import { loadPageWord, pageWord, storePageWord } from './memmap.ts'

const MiB = 2 ** 20
const DEADLINE_MS = 300
const LONG_MS = 10_000
/** Far more than the service thread waits before it answers. */
const CHANGE_MS = 30
const BLOCKERS_MAX = 16
/** Blocks that take several requests to empty. */
const BIG = { ...SMALL, blockSize: 64 * MiB, maxMemory: 192 * MiB, memory: 128 * MiB } as const

async function failure(done: Promise<unknown>): Promise<HotplugError> {
  return await done.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: HotplugError) => error,
  )
}

/** How many say so, by what they say without numbers. */
function kindsOf(blockers: readonly Blocker[]): Record<string, number> {
  const kinds: Record<string, number> = {}
  for (const { reason } of blockers) {
    const kind = reason.replace(/page \d+/, 'page')
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  return kinds
}

test('a deadline names the thread that stays inside the guard, and whose the pages are', async t => {
  const machine = await bootSmall(t)
  const map = machine.map<string>('words', { codec: 'utf8' })
  map.set('one', 'value')
  await using insider = await Insider.start(machine)
  insider.enter()
  const before = snapshot(machine)

  const late = await failure(machine.memory.offline(1, { deadlineMs: DEADLINE_MS }))

  const reason = 'slot 2 stays inside the guard'
  equal(late.message, `offline memory1: ${reason} after ${DEADLINE_MS} ms (ETIMEDOUT)`)
  const [first, ...pages] = late.blockedBy!
  deepEqual([first!.device, first!.owner, first!.reason], ['memory1', 'slot 2', reason])
  ok(first!.sinceMs! > 0)
  equal(pages.length, BLOCKERS_MAX)
  const kinds = kindsOf(pages)
  deepEqual(Object.keys(kinds).sort(), [
    'page is on the list of slot 1', // not drained: that waits for the thread as well
    "page of map 'words' has not moved yet",
  ])
  const ofMap = pages.filter(({ owner }) => owner === "map 'words'")
  equal(ofMap.length, kinds["page of map 'words' has not moved yet"])
  ok(ofMap.every(({ device, pfn }) => device === 'memory1' && pfn! >= SMALL.blockSize / 65536))
  deepEqual(snapshot(machine), before)
  insider.leave()
  await machine.memory.offline(1)
  equal(map.get('one'), 'value')
  assertWhole(machine)
})

test('who enters the guard in the middle does not hold up the deadline, and is named', async t => {
  const machine = await bootSmall(t, BIG)
  const pages = new MovingPages(machine)
  equal(pages.open(1000), 1000)
  for (let i = 0; i < 1000; i++) pages.write(i, 5, i)
  await using insider = await Insider.start(machine)
  let isInside = false
  const onProgress = ({ pagesMoved }: Progress): void => {
    if (isInside || pagesMoved === 0) return
    isInside = true
    insider.enter()
  }

  const offline = machine.memory.offline(1, { deadlineMs: 5 * DEADLINE_MS, onProgress })
  const { code, blockedBy } = await failure(offline)

  equal(code, 'ETIMEDOUT')
  equal(blockedBy![0]!.reason, 'slot 2 stays inside the guard')
  equal(machine.memory.block(1).state, 'online')
  for (let i = 0; i < 1000; i++) equal(pages.read(i, 5), i)
  insider.leave()
  await machine.memory.offline(1)
  for (let i = 0; i < 1000; i++) equal(pages.read(i, 5), i)
  assertWhole(machine)
})

test('a remove ends in time while a thread stays inside the guard, and the block is offline', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  await using insider = await Insider.start(machine)
  insider.enter()
  const before = snapshot(machine)

  const { code, blockedBy } = await failure(machine.memory.remove(1, { deadlineMs: DEADLINE_MS }))

  equal(code, 'ETIMEDOUT')
  equal(blockedBy![0]!.reason, 'slot 2 stays inside the guard')
  deepEqual(snapshot(machine), before)
  const removed = machine.memory.remove(1)
  insider.leave()
  await removed
  deepEqual(
    machine.memory.blocks().map(({ block }) => block),
    [0],
  )
  assertWhole(machine)
})

test('a remove waits for who is inside now, not for the rest of what one given up waited for', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  await using low = await Insider.start(machine)
  await using high = await Insider.start(machine)
  high.enter()
  await rejects(machine.memory.remove(1, { deadlineMs: DEADLINE_MS }), { code: 'ETIMEDOUT' })
  high.leave()
  low.enter()

  const { blockedBy } = await failure(machine.memory.remove(1, { deadlineMs: DEADLINE_MS }))

  equal(blockedBy![0]!.reason, 'slot 2 stays inside the guard')
  low.leave()
  await machine.memory.remove(1)
})

test('a remove ends though two threads are always inside, if they come anew in turn', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  await using one = await Insider.start(machine)
  await using other = await Insider.start(machine)
  let isOver = false
  one.enter()
  other.enter()

  const removed = machine.memory.remove(1, { deadlineMs: LONG_MS }).finally(() => {
    isOver = true
  })
  for (let [now, next] = [one, other]; !isOver; [now, next] = [next, now]) {
    await setTimeout(CHANGE_MS)
    now.leave()
    now.enter()
  }

  await removed
})

test('a resize whose time is up names the thread that stays inside the guard', async t => {
  const machine = await bootSmall(t)
  await using insider = await Insider.start(machine)
  insider.enter()

  const { blockedBy } = await machine.memory.resize('4MiB', { deadlineMs: DEADLINE_MS })

  ok(blockedBy.some(({ reason }) => reason === 'slot 2 stays inside the guard'))
  insider.leave()
  equal((await machine.memory.resize('4MiB')).afterBytes, 4 * MiB)
  assertWhole(machine)
})

test('a resize can be aborted when a thread enters the guard after a block went offline', async t => {
  const machine = await bootSmall(t)
  await using insider = await Insider.start(machine)
  const controller = new AbortController()
  const onProgress = ({ operation, pagesMoved }: Progress): void => {
    if (!operation.startsWith('remove') || pagesMoved > 0) return
    insider.enter()
    setTimeout(DEADLINE_MS).then(() => controller.abort())
  }

  const resized = machine.memory.resize('4MiB', { signal: controller.signal, onProgress })

  await rejects(resized, { name: 'AbortError' })
  deepEqual(
    machine.memory
      .blocks()
      .map(({ state }) => state)
      .sort(),
    ['offline', 'online'],
  )
  insider.leave()
  await machine.memory.resize('4MiB')
  equal(machine.memory.blocks().length, 1)
  assertWhole(machine)
})

test('where there is no room, pages that would need it are named beside their number', async t => {
  const machine = await bootSmall(t)
  const pages = new MovingPages(machine)
  pages.open(1000)

  const { code, blockedBy = [] } = await failure(machine.memory.offline(1))

  equal(code, 'ENOMEM')
  const [first, ...rest] = blockedBy
  equal(first!.reason, `no room elsewhere for ${pages.nrIn(1)} pages of memory1`)
  equal(new Set(rest.map(({ pfn }) => pfn)).size, BLOCKERS_MAX)
  deepEqual(kindsOf(rest), { 'page of map 200 has not moved yet': BLOCKERS_MAX })
})

test('a page that is about to be opened names who opens it, and for which map', async t => {
  const machine = await bootSmall(t)
  const map = machine.map<string>('words', { codec: 'utf8' })
  map.set('one', 'value')
  const { control } = insides(machine).hotplug.blocks
  const vpn = 1
  const state = vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE
  const opened = control.pageTable[state]!
  const mine = machine.locks.slot.token << 3
  control.pageTable[state] = VirtualState.Reserved | mine // as between two steps of its opening

  const { blockedBy } = await failure(machine.memory.offline(1, { deadlineMs: DEADLINE_MS }))

  control.pageTable[state] = opened
  const [{ pfn, owner, reason }] = blockedBy as [Blocker]
  equal(owner, "map 'words'")
  equal(reason, `page ${pfn} was just taken by slot 1 for map 'words'`)
  equal(machine.memory.block(1).state, 'online')
  await machine.memory.offline(1)
  equal(insides(machine).hotplug.blocks.state(1), BlockState.Offline)
  equal(map.get('one'), 'value')
})

test('a frame that a page has left, and others may look at, is named as such', async t => {
  const machine = await bootSmall(t)
  const map = machine.map<string>('words', { codec: 'utf8' })
  map.set('one', 'value')
  const { allocator, hotplug } = insides(machine)
  const pfn = allocator.allocPage('movable')
  const mine = loadPageWord(hotplug.geometry, hotplug.space, pfn)
  const left = pageWord(PageState.Mapped, 1) // the virtual page of the map
  storePageWord(hotplug.geometry, hotplug.space, pfn, left)

  const { blockedBy } = await failure(machine.memory.offline(1, { deadlineMs: DEADLINE_MS }))

  const reason = `page ${pfn} has moved, and may still be looked at`
  deepEqual(blockedBy, [{ device: 'memory1', pfn, reason }])
  storePageWord(hotplug.geometry, hotplug.space, pfn, mine)
  allocator.freePage(pfn)
  await machine.memory.offline(1)
  assertWhole(machine)
})
