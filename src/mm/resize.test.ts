import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  insides,
  listenTo,
  MovingPages,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { until } from '../../test/thread.ts'
import { HotplugError, Machine, type Size } from '../index.ts'

const MiB = 2 ** 20

function shape(machine: Machine): string[] {
  return machine.memory.blocks().map(({ block, state, zone }) => `${block} ${state} ${zone}`)
}

test('a resize adds whole blocks, or empties and removes them', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine

  const grown = await memory.resize('20MiB')
  const same = await memory.resize(17 * MiB)
  const shrunk = await memory.resize('9MiB')
  const least = await memory.resize(0)

  deepEqual(grown, {
    requestedBytes: 20 * MiB,
    beforeBytes: 8 * MiB,
    afterBytes: 20 * MiB,
    returnedBytes: 0,
    blockedBy: [],
  })
  deepEqual(
    [same.beforeBytes, same.afterBytes, same.requestedBytes],
    [20, 20, 20].map(n => n * MiB),
  )
  deepEqual([shrunk.afterBytes, shrunk.blockedBy], [12 * MiB, []])
  equal(shrunk.returnedBytes > 0, machine.capabilities.discard)
  deepEqual([least.requestedBytes, least.afterBytes], [4 * MiB, 4 * MiB])
  equal(memory.requestedBytes, 4 * MiB)
  deepEqual(shape(machine), ['0 online Normal'])
  assertWhole(machine)
})

test('of two sizes that are asked for at once, the later is reached, and both calls end', async t => {
  const machine = await bootSmall(t, { memory: '24MiB' })
  const limit = { deadlineMs: 60_000 }

  const [larger, smaller] = await Promise.all([
    machine.memory.resize('32MiB', limit),
    machine.memory.resize('16MiB', limit),
  ])

  equal(smaller.afterBytes, 16 * MiB)
  deepEqual(smaller.blockedBy, [])
  match(larger.blockedBy[0]!.reason, /another operator has changed its size/)
  assertWhole(machine)
})

test('blocks that are offline come first, and go first', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  await memory.add('4MiB', { block: 6, autoOnline: 'offline' })

  await memory.resize('12MiB')
  deepEqual(shape(machine), ['0 online Normal', '1 online Movable', '6 online Movable'])
  await memory.add('4MiB', { block: 7, autoOnline: 'offline' })
  await memory.resize('12MiB')

  deepEqual(shape(machine), ['0 online Normal', '1 online Movable', '6 online Movable'])
})

test('a shrink empties the least used blocks, and keeps what is on them', async t => {
  const machine = await bootSmall(t, { memory: '16MiB' })
  const pages = new MovingPages(machine)
  const nrPages = pages.open(70) // all of memory1, some of memory2
  for (let i = 0; i < nrPages; i++) pages.write(i, 3, i)

  const { afterBytes, blockedBy } = await machine.memory.resize('8MiB')

  equal(afterBytes, 8 * MiB)
  deepEqual(blockedBy, [])
  deepEqual(shape(machine), ['0 online Normal', '1 online Movable'])
  for (let i = 0; i < nrPages; i++) equal(pages.read(i, 3), i)
  assertWhole(machine)
})

test('a resize beside one who takes blocks offline does not go below its size', async t => {
  const machine = await bootSmall(t, { memory: '28MiB' })
  const { memory } = machine
  const told = listenTo(machine, () => new Promise(resolve => setTimeout(resolve, 50)))

  const resized = memory.resize('16MiB')
  await until('memory6 is offline', () => told.includes('OFFLINE 6 Movable'))
  const first = memory.offline(1) // queues up while the notifier takes its time
  await until('memory1 is going', () => told.includes('GOING_OFFLINE 1 Movable'))
  const second = memory.offline(2)
  const { afterBytes } = await resized
  await Promise.all([first, second])

  equal(afterBytes, 16 * MiB)
  equal(memory.onlineBytes, 16 * MiB)
  assertWhole(machine)
})

test('what is in use and does not fit stays, and the report says so', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  const pages = new MovingPages(machine)
  pages.open(100)

  const { afterBytes, blockedBy } = await machine.memory.resize('4MiB')

  equal(afterBytes, 8 * MiB)
  equal(blockedBy.length, 1)
  equal(blockedBy[0]?.device, 'memory')
  match(blockedBy[0]!.reason, /^6\.\d MiB are in use$/)
  equal(machine.memory.requestedBytes, 4 * MiB)
  pages.retire()
  equal((await machine.memory.resize('4MiB')).afterBytes, 4 * MiB)
  assertWhole(machine)
})

test("free pages on threads' lists are no use of memory", async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  t.after(() => other.shutdown())
  for (const { allocator } of [machine, other].map(insides)) {
    for (const kind of ['movable', 'unmovable'] as const) {
      const pfns = Array.from({ length: 30 }, () => allocator.allocPage(kind))
      for (const pfn of pfns) allocator.freePage(pfn)
    }
  }

  const { afterBytes, blockedBy } = await machine.memory.resize('4MiB')

  deepEqual([afterBytes, blockedBy], [4 * MiB, []])
})

test('a block that refuses is reported, and another goes', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  listenTo(machine, ({ action, block }) => {
    if (action === 'GOING_OFFLINE' && block === 2) throw new HotplugError('EINVAL', 'let go', 'no')
  })

  const first = await machine.memory.resize('8MiB')
  const second = await machine.memory.resize('4MiB')

  deepEqual([first.afterBytes, first.blockedBy], [8 * MiB, []])
  deepEqual(shape(machine), ['2 online Movable'])
  deepEqual([second.afterBytes, second.blockedBy], [4 * MiB, []])
})

test('raw memory that keeps its block is reported with its owner', async t => {
  const machine = await bootSmall(t, { memory: '4MiB' })
  await machine.memory.add('4MiB', { autoOnline: 'online_kernel' })
  const { block } = machine.memory.block(1)
  using _one = machine.buffer('1MiB', { owner: 'dma' })
  const { hotplug } = insides(machine)
  hotplug.zones[0]!.isolate(0)
  using _other = machine.buffer('1MiB', { owner: 'gpu' })
  hotplug.zones[0]!.undoIsolate(0)

  const { afterBytes, blockedBy } = await machine.memory.resize('4MiB')

  equal(afterBytes, 8 * MiB)
  deepEqual(blockedBy.map(({ device, owner }) => `${device} ${owner}`).sort(), [
    'memory0 dma',
    `memory${block} gpu`,
  ])
  ok(blockedBy.every(({ pfn, sinceMs }) => pfn !== undefined && sinceMs !== undefined))
  assertWhole(machine)
})

test('a resize that cannot grow says why, and leaves no block half way', async t => {
  const machine = await bootSmall(t)
  const before = snapshot(machine)
  listenTo(machine, ({ action }) => {
    if (action === 'GOING_ONLINE') throw new Error('enough memory')
  })

  const { afterBytes, returnedBytes, blockedBy } = await machine.memory.resize('16MiB')

  deepEqual([afterBytes, returnedBytes], [8 * MiB, 0])
  deepEqual(blockedBy, [
    {
      device: 'memory2',
      owner: 'slot 1',
      reason: 'the notifier of slot 1 refused: enough memory',
    },
  ])
  deepEqual(snapshot(machine), before)
  assertWhole(machine)
})

test('a resize that finds no memory in the system says so', async t => {
  const machine = await bootSmall(t)
  const { space } = insides(machine).hotplug
  space.grow = toBytes => {
    if (toBytes > 12 * MiB) throw new HotplugError('ENOMEM', 'grow', 'no more')
    Object.getPrototypeOf(space).grow.call(space, toBytes)
  }

  const { afterBytes, blockedBy } = await machine.memory.resize('20MiB')

  equal(afterBytes, 12 * MiB)
  deepEqual(blockedBy, [{ device: 'memory', reason: 'grow: no more (ENOMEM)' }])
  assertWhole(machine)
})

test('sizes that cannot be are refused, and nothing has changed', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const before = snapshot(machine)

  await rejects(memory.resize('36MiB'), {
    code: 'EINVAL',
    message: 'resize to 36 MiB: maxMemory is 32 MiB (EINVAL)',
  })
  for (const size of [-1, 1.5, Number.NaN, '4 MB', null] as Size[]) {
    await rejects(memory.resize(size), { code: 'EINVAL', message: /^resize memory: its size is/ })
  }
  await rejects(memory.resize('4MiB', { deadlineMs: 0 }), { code: 'EINVAL' })

  deepEqual(snapshot(machine), before)
  equal(memory.requestedBytes, 8 * MiB)
})

test('an abort ends a resize between blocks; those that have gone stay away', async t => {
  const machine = await bootSmall(t, { memory: '16MiB' })
  const abort = new AbortController()
  const told = listenTo(machine, ({ action }) => {
    if (action === 'OFFLINE') abort.abort(new Error('enough'))
  })

  await rejects(machine.memory.resize('4MiB', { signal: abort.signal }), /enough/)

  deepEqual(told, ['GOING_OFFLINE 3 Movable', 'OFFLINE 3 Movable'])
  equal(machine.memory.onlineBytes, 12 * MiB)
  assertWhole(machine)
  await rejects(machine.memory.resize('4MiB', { signal: abort.signal }), /enough/)
  equal(machine.memory.onlineBytes, 12 * MiB)
  equal((await machine.memory.resize('4MiB')).afterBytes, 4 * MiB)
})

test('a deadline that passes is reported, wherever it does', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  const { memory } = machine
  const { allocator } = insides(machine)
  const stuck = allocator.allocPage('movable')

  const atOnce = await memory.resize('4MiB', { deadlineMs: Number.MIN_VALUE })
  equal(atOnce.afterBytes, 12 * MiB)
  match(atOnce.blockedBy[0]!.reason, /^resize to 4 MiB: it had not come to its end after/)
  const onTheWay = await memory.resize('4MiB', { deadlineMs: 1000 })
  equal(onTheWay.afterBytes, 8 * MiB)
  ok(onTheWay.blockedBy.some(({ reason }) => reason.includes('was just taken by slot 1')))
  const abort = new AbortController()
  const other = memory.offline(1, { signal: abort.signal })
  const behind = await memory.resize('4MiB', { deadlineMs: 20 })
  match(behind.blockedBy[0]!.reason, /another operation had not come to its end after 20 ms/)

  abort.abort(new Error('enough'))
  await rejects(other, /enough/)
  allocator.freePage(stuck)
  equal((await memory.resize('4MiB')).afterBytes, 4 * MiB)
  assertWhole(machine)
})

test('two who resize at once both end, and what is there is whole', async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  t.after(() => other.shutdown())

  for (const [one, two] of [
    ['32MiB', '32MiB'],
    ['4MiB', '4MiB'],
    ['24MiB', '4MiB'],
  ] as const) {
    const reports = await Promise.all([machine.memory.resize(one), other.memory.resize(two)])
    assertWhole(machine)
    if (one !== two) continue
    for (const { blockedBy } of reports) deepEqual(blockedBy, [])
    equal(machine.memory.onlineBytes, reports[0].requestedBytes)
  }
})
