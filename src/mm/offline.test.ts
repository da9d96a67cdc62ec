import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  insides,
  listenTo,
  MovingPages,
  nrHeld,
  SMALL,
  snapshot,
  untilAllFree,
} from '../../test/bodies/blocks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import type { Blocker, HotplugError, Machine, OfflineReport, Progress } from '../index.ts'

const BODIES = new URL('../../test/bodies/blocks.js', import.meta.url)
/** Blocks that take several requests to empty. */
const BIG = { ...SMALL, blockSize: '64MiB', maxMemory: '192MiB', memory: '128MiB' } as const

/** Pages in memory1, each word of which says where it is. */
function fill(machine: Machine, count: number): MovingPages {
  const pages = new MovingPages(machine)
  equal(pages.open(count), count)
  for (let i = 0; i < count; i++) for (const word of [0, 777, 16383]) pages.write(i, word, i + word)
  return pages
}

function assertFilled(pages: MovingPages): void {
  for (const i of pages.vpns.keys()) {
    for (const word of [0, 777, 16383]) equal(pages.read(i, word), i + word, `page ${i}`)
  }
}

async function failure(offline: Promise<OfflineReport>): Promise<HotplugError> {
  return await offline.then(
    () => Promise.reject(new Error('it went offline')),
    (error: HotplugError) => error,
  )
}

test('an offline moves what is in the block, and says how much', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  const pages = fill(machine, 40)
  const progress: Progress[] = []
  equal(pages.nrIn(1), 40)

  const report = await machine.memory.offline(1, { onProgress: one => progress.push(one) })

  equal(report.block, 1)
  equal(report.pagesMoved, 40)
  equal(report.bytesMoved, 40 * 65536)
  ok(report.durationMs > 0 && report.longestBatchMs > 0)
  const last = progress.at(-1)!
  deepEqual([last.operation, last.pagesMoved, last.pagesLeft], ['offline memory1', 40, 0])
  ok(last.bytesPerSecond > 0 && last.elapsedMs > 0)
  equal(pages.nrIn(2), 40)
  assertFilled(pages)
  assertWhole(machine)
})

test('what can move goes to zone Normal where there is no other room', async t => {
  const machine = await bootSmall(t)
  const pages = fill(machine, 40)

  await machine.memory.offline(1)

  equal(pages.nrIn(0), 40)
  assertFilled(pages)
  assertWhole(machine)
})

test('offline refuses what cannot be, and what is so already', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  await memory.add('4MiB', { autoOnline: 'offline' })
  const before = snapshot(machine)

  await rejects(memory.offline(2), {
    code: 'EINVAL',
    message: 'offline memory2: memory2 is offline (EINVAL)',
  })
  await rejects(memory.offline(7), { code: 'ENODEV', message: /memory7 is not there/ })
  for (const block of [-1, 8, 0.5, Number.NaN]) {
    await rejects(memory.offline(block), { code: 'EINVAL', message: /blocks 0 to 7 only/ })
  }
  for (const deadlineMs of [0, -1, Number.NaN]) {
    await rejects(memory.offline(1, { deadlineMs }), { code: 'EINVAL', message: /deadlineMs/ })
  }

  deepEqual(snapshot(machine), before)
})

test('memory that cannot move keeps its block, and is named with its owner', async t => {
  const machine = await bootSmall(t)
  const told = listenTo(machine)
  const raw = Array.from({ length: 20 }, (_, i) => machine.buffer(1, { owner: `owner ${i}` }))
  const before = snapshot(machine)

  const { code, message, blockedBy = [] } = await failure(machine.memory.offline(0))

  equal(code, 'EBUSY')
  equal(message, `offline memory0: ${blockedBy[0]?.reason} (EBUSY)`)
  equal(blockedBy.length, 16)
  const owners = blockedBy.map(({ owner }) => owner)
  equal(new Set(owners).size, 16)
  for (const { device, pfn, owner, sinceMs, reason } of blockedBy as Required<Blocker>[]) {
    equal(device, 'memory0')
    equal(reason, `page ${pfn} is held by ${owner}`)
    ok(sinceMs >= 0 && sinceMs < 60_000)
  }
  deepEqual(snapshot(machine), before)
  deepEqual(told, [])
  for (const one of raw) one.release()
  await machine.memory.offline(0)
  assertWhole(machine)
})

test('one holding of many pages is named once', async t => {
  const machine = await bootSmall(t)
  using _raw = machine.buffer('1MiB', { owner: 'the only one' })

  const { blockedBy = [] } = await failure(machine.memory.offline(0))

  deepEqual(
    blockedBy.map(({ owner }) => owner),
    ['the only one'],
  )
})

test('raw memory that is taken while a block is asked about stops it', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  const told = listenTo(machine, ({ action }) => {
    if (action === 'GOING_OFFLINE') takeWhileIsolated(machine)
  })
  const before = snapshot(machine)

  const { code, blockedBy } = await failure(machine.memory.offline(0))

  equal(code, 'EBUSY')
  equal(blockedBy?.[0]?.owner, 'nobody any more')
  deepEqual(told, ['GOING_OFFLINE 0 Normal', 'CANCEL_OFFLINE 0 Normal'])
  equal(machine.memory.block(0).state, 'online')
  equal(snapshot(machine).freePages, before.freePages)
})

/** As if a thread had been between its look at the block and its page when that was isolated. */
function takeWhileIsolated(machine: Machine): void {
  const { space } = insides(machine).hotplug
  const { geometry } = insides(machine).hotplug
  const last = geometry.pagesPerBlock - 1
  space.block(0)[32 + 2 * last] = 6 | (1000 << 3) // Raw, by a record that nobody has
}

test('an offline for which there is no room puts all back', async t => {
  const machine = await bootSmall(t)
  const pages = new MovingPages(machine)
  const nrPages = pages.open(1000)
  for (let i = 0; i < nrPages; i++) pages.write(i, 5, i)
  const told = listenTo(machine)
  const before = snapshot(machine)

  const { code, message, blockedBy } = await failure(machine.memory.offline(1))

  equal(code, 'ENOMEM')
  equal(message, `offline memory1: ${blockedBy?.[0]?.reason} (ENOMEM)`)
  equal(blockedBy?.[0]?.reason, `no room elsewhere for ${pages.nrIn(1)} pages of memory1`)
  deepEqual(snapshot(machine), before)
  deepEqual(told, ['GOING_OFFLINE 1 Movable', 'CANCEL_OFFLINE 1 Movable'])
  for (let i = 0; i < nrPages; i++) equal(pages.read(i, 5), i)
  assertWhole(machine)
  await machine.memory.add('4MiB')
  equal((await machine.memory.offline(1)).pagesMoved, nrPages - pages.nrIn(0))
  for (let i = 0; i < nrPages; i++) equal(pages.read(i, 5), i)
  assertWhole(machine)
})

test('an offline that is aborted before it begins does nothing', async t => {
  const machine = await bootSmall(t)
  const told = listenTo(machine)
  const before = snapshot(machine)

  const signal = AbortSignal.abort(new Error('never mind'))
  await rejects(machine.memory.offline(1, { signal }), /never mind/)
  await rejects(machine.memory.offline(1, { deadlineMs: Number.MIN_VALUE }), { code: 'ETIMEDOUT' })

  deepEqual(snapshot(machine), before)
  deepEqual(told, [])
})

for (const how of ['aborted', 'ended by its progress report'] as const) {
  test(`an offline that is ${how} in the middle puts the block back`, async t => {
    const machine = await bootSmall(t, BIG)
    const pages = fill(machine, 1000)
    const told = listenTo(machine)
    const before = snapshot(machine)
    const abort = new AbortController()
    const reports: Progress[] = []
    const onProgress = (progress: Progress): void => {
      reports.push(progress)
      if (reports.length === 1) return // it has not begun
      if (how === 'aborted') abort.abort(new Error('enough'))
      else throw new Error('enough')
    }

    // A page that is never mapped: so it has not come to its end, however fast it is.
    const stuck = takeMovable(machine, 1)
    const offline = machine.memory.offline(1, { signal: abort.signal, onProgress })
    await rejects(offline, /enough/)
    insides(machine).allocator.freePage(stuck)
    await until('frames of pages that moved are free', () => nrHeld(machine) === pages.vpns.length)

    equal(reports.length, 2)
    ok(reports[1]!.pagesLeft > 0)
    equal(pages.nrIn(2) + pages.nrIn(0), reports[1]!.pagesMoved)
    deepEqual(told, ['GOING_OFFLINE 1 Movable', 'CANCEL_OFFLINE 1 Movable'])
    equal(machine.memory.block(1).state, 'online')
    equal(machine.memory.onlineBytes, before.onlineBytes)
    assertFilled(pages)
    assertWhole(machine)
    await machine.memory.offline(1)
    assertFilled(pages)
    assertWhole(machine)
  })
}

/** Takes a page of a block of zone Movable, which nobody maps. */
function takeMovable(machine: Machine, block: number): number {
  const { allocator, hotplug } = insides(machine)
  const pfn = allocator.allocPage('movable')
  equal(pfn >>> hotplug.geometry.pagesPerBlockShift, block)
  return pfn
}

test('a deadline in the middle names what is left, and puts the block back', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  const pages = fill(machine, 30)
  const stuck = takeMovable(machine, 1)
  const told = listenTo(machine)

  const { code, message, blockedBy } = await failure(machine.memory.offline(1, { deadlineMs: 500 }))

  equal(code, 'ETIMEDOUT')
  const reason = `page ${stuck} was just taken by slot 1`
  equal(message, `offline memory1: ${reason} after 500 ms (ETIMEDOUT)`)
  deepEqual(blockedBy, [{ device: 'memory1', pfn: stuck, owner: 'slot 1', reason }])
  deepEqual(told, ['GOING_OFFLINE 1 Movable', 'CANCEL_OFFLINE 1 Movable'])
  equal(machine.memory.block(1).state, 'online')
  equal(pages.nrIn(2), 30)
  assertWhole(machine)
  insides(machine).allocator.freePage(stuck)
  await machine.memory.offline(1)
  assertFilled(pages)
})

test('operations that wait for another give up in time, and say so', async t => {
  const machine = await bootSmall(t)
  const stuck = takeMovable(machine, 1)
  const abort = new AbortController()
  const first = machine.memory.offline(1, { signal: abort.signal })

  const second = machine.memory.offline(1, { deadlineMs: 20 })
  const third = machine.memory.add('4MiB', { deadlineMs: 20 })

  const reason = 'another operation had not come to its end after 20 ms'
  await rejects(second, { code: 'ETIMEDOUT', message: `offline memory1: ${reason} (ETIMEDOUT)` })
  await rejects(third, { code: 'ETIMEDOUT', message: `add 4 MiB: ${reason} (ETIMEDOUT)` })
  abort.abort(new Error('enough'))
  await rejects(first, /enough/)
  insides(machine).allocator.freePage(stuck)
  await machine.memory.offline(1)
  assertWhole(machine)
})

for (const isSame of [true, false]) {
  const where = isSame ? 'on the same block' : 'on blocks of their own'
  test(`two operators who know nothing of each other, ${where}: totals are exact`, async t => {
    const machine = await bootSmall(t, { memory: '16MiB' })
    const pages = fill(machine, 20)
    const words = sharedWords(4)
    const data = { handle: machine.handle, words, rounds: 10 }

    const threads = [1, isSame ? 1 : 2].map(
      block => new TestThread(BODIES, 'flip', { ...data, block }),
    )
    const answers = (await Promise.all(threads.map(({ result }) => result))) as Answers[]

    const nrDone = answers.reduce((sum, { done = 0 }) => sum + done, 0)
    const known = ['done', 'EINVAL', 'ENODEV', 'EBUSY', 'EEXIST']
    for (const one of answers) ok(Object.keys(one).every(code => known.includes(code)))
    if (!isSame) equal(nrDone, 2 * 10 * 4)
    assertFilled(pages)
    assertWhole(machine)
    pages.retire()
    await untilAllFree(machine)
    equal(nrHeld(machine), 0)
  })
}

type Answers = Record<string, number>

test('writers and readers in other threads see every word while blocks leave', async t => {
  const machine = await bootSmall(t, { memory: '16MiB' })
  const words = sharedWords(4)
  const data = { handle: machine.handle, words, nrPages: 40 }
  const writer = new TestThread(BODIES, 'writePages', data)
  while (Atomics.load(words, 0) === 0) await new Promise(resolve => setImmediate(resolve))

  let moved = 0
  for (let round = 0; round < 8; round++) {
    const block = 1 + (round % 3)
    moved += (await machine.memory.offline(block)).pagesMoved
    await machine.memory.online(block, 'online_movable')
  }
  Atomics.store(words, 1, 1)

  equal(await writer.result, 0)
  ok(moved > 0)
  await untilAllFree(machine)
  assertWhole(machine)
})
