import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  insides,
  MovingPages,
  SMALL,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import type { Blocker, HotplugError, Machine, Progress } from '../index.ts'
import {
  BlockState,
  PageState,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
} from './geometry.ts'
import { loadPageWord, pageWord, storePageWord } from './memmap.ts'

const BODIES = new URL('../../test/bodies/blocks.js', import.meta.url)
const MiB = 2 ** 20
const DEADLINE_MS = 300
const BLOCKERS_MAX = 16
/** Blocks that take several requests to empty. */
const BIG = { ...SMALL, blockSize: 64 * MiB, maxMemory: 192 * MiB, memory: 128 * MiB } as const

async function failure(done: Promise<unknown>): Promise<HotplugError> {
  return await done.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: HotplugError) => error,
  )
}

/** A thread, of slot 2, that enters the guard and leaves it when it is told to. */
class Insider implements AsyncDisposable {
  private readonly words = sharedWords(4)
  private readonly thread: TestThread

  static async start(machine: Machine): Promise<Insider> {
    const insider = new Insider(machine)
    await until('it is attached', () => Atomics.load(insider.words, 0) === 1)
    return insider
  }

  private constructor({ handle }: Machine) {
    this.thread = new TestThread(BODIES, 'staysInside', { handle, words: this.words })
  }

  /** Blocks until it is inside. */
  enter(): void {
    this.letIn()
    Atomics.wait(this.words, 3, 0)
  }

  async leave(): Promise<void> {
    Atomics.store(this.words, 1, 1)
    Atomics.notify(this.words, 1)
    this.letIn()
    await this.thread.result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave()
  }

  private letIn(): void {
    Atomics.store(this.words, 2, 1)
    Atomics.notify(this.words, 2)
  }
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
  await insider.leave()
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
  await insider.leave()
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
  await insider.leave()
  await removed
  deepEqual(
    machine.memory.blocks().map(({ block }) => block),
    [0],
  )
  assertWhole(machine)
})

test('a resize whose time is up names the thread that stays inside the guard', async t => {
  const machine = await bootSmall(t)
  await using insider = await Insider.start(machine)
  insider.enter()

  const { blockedBy } = await machine.memory.resize('4MiB', { deadlineMs: DEADLINE_MS })

  ok(blockedBy.some(({ reason }) => reason === 'slot 2 stays inside the guard'))
  await insider.leave()
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
    setTimeout(() => controller.abort(), DEADLINE_MS)
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
  await insider.leave()
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
