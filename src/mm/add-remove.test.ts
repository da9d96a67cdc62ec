import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  insides,
  listenTo,
  MovingPages,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { type AddOptions, HotplugError, type Machine } from '../index.ts'
import { RequestKind } from './requests.ts'

const MiB = 2 ** 20

function states(machine: Machine): (readonly [number, string])[] {
  return machine.memory.blocks().map(({ block, state }) => [block, state] as const)
}

test('memory that is added takes the lowest free blocks, and goes online as asked', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine

  const [two, three] = await memory.add('8MiB')
  const [six] = await memory.add(4 * MiB, { block: 6, autoOnline: 'offline' })
  const [four] = await memory.add(4 * MiB, { autoOnline: 'online_kernel' })

  deepEqual([two?.name, two?.state, two?.zone], ['memory2', 'online', 'Movable'])
  deepEqual([three?.block, three?.usedBytes], [3, 0])
  deepEqual([six?.state, six?.zone, six?.bytes], ['offline', null, 4 * MiB])
  deepEqual([four?.block, four?.zone], [4, 'Normal'])
  equal(memory.onlineBytes, 20 * MiB)
  assertWhole(machine)
})

test('the policy of a machine says what becomes of memory that is added', async t => {
  const machine = await bootSmall(t, { autoOnline: 'offline' })

  const [added] = await machine.memory.add('4MiB')

  equal(added?.state, 'offline')
})

test('add refuses sizes and places that cannot be, and nothing is added', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const told = listenTo(machine)
  const before = snapshot(machine)
  const cases: readonly [number, AddOptions, string, RegExp][] = [
    [1, {}, 'EINVAL', /^add 1 B: it is no multiple of blockSize 4 MiB/],
    [0, {}, 'EINVAL', /no multiple/],
    [5 * MiB, {}, 'EINVAL', /no multiple/],
    [-4 * MiB, {}, 'EINVAL', /not a number of bytes/],
    [Number.NaN, {}, 'EINVAL', /not a number of bytes/],
    [Number.POSITIVE_INFINITY, {}, 'EINVAL', /not a number of bytes/],
    [4 * MiB, { block: -1 }, 'EINVAL', /^add 4 MiB at block -1: there are blocks 0 to 7 only/],
    [4 * MiB, { block: 1.5 }, 'EINVAL', /blocks 0 to 7 only/],
    [4 * MiB, { block: Number.NaN }, 'EINVAL', /blocks 0 to 7 only/],
    [8 * MiB, { block: 7 }, 'EINVAL', /blocks 0 to 7 only/],
    [4 * MiB, { block: 1 }, 'EEXIST', /^add 4 MiB at block 1: memory1 is there already/],
    [8 * MiB, { block: 0 }, 'EEXIST', /memory0 is there already/],
    [28 * MiB, {}, 'ENOMEM', /^add 28 MiB: maxMemory 32 MiB has room for 24 MiB more/],
    [2 ** 52, {}, 'ENOMEM', /has room for 24 MiB more/],
    [4 * MiB, { autoOnline: 'yes' as 'online' }, 'EINVAL', /yes is none of/],
    [4 * MiB, { deadlineMs: 0 }, 'EINVAL', /deadlineMs is 0/],
    [4 * MiB, { deadlineMs: Number.MIN_VALUE }, 'ETIMEDOUT', /^add 4 MiB: /],
  ]

  for (const [bytes, options, code, message] of cases) {
    await rejects(memory.add(bytes, options), { code, message }, String(message))
  }
  const signal = AbortSignal.abort(new Error('no'))
  await rejects(memory.add(4 * MiB, { signal }), /no/)

  deepEqual(snapshot(machine), before)
  deepEqual(told, [])
  assertWhole(machine)
})

test('an overlap with a block that is only partly free adds nothing', async t => {
  const machine = await bootSmall(t)
  await machine.memory.add('4MiB', { block: 4, autoOnline: 'offline' })

  await rejects(machine.memory.add('12MiB', { block: 2 }), { code: 'EEXIST', message: /memory4/ })

  deepEqual(
    states(machine).map(([block]) => block),
    [0, 1, 4],
  )
})

test('memory that cannot go online stays, offline', async t => {
  const machine = await bootSmall(t)
  listenTo(machine, ({ action }) => {
    if (action === 'GOING_ONLINE') throw new Error('no')
  })

  const [added] = await machine.memory.add('4MiB')

  equal(added?.state, 'offline')
  deepEqual(states(machine).at(-1), [2, 'offline'])
  assertWhole(machine)
})

test('all of an add leaves again where the system has no memory for the last block', async t => {
  const machine = await bootSmall(t)
  const before = snapshot(machine)
  const { space } = insides(machine).hotplug
  const { grow } = space
  space.grow = toBytes => {
    if (toBytes > 16 * MiB) throw new RangeError('no memory')
    grow.call(space, toBytes)
  }

  await rejects(machine.memory.add('12MiB'), /no memory/)

  deepEqual(snapshot(machine), before)
  space.grow = grow
  equal((await machine.memory.add('12MiB')).length, 3)
  assertWhole(machine)
})

test('where the system keeps one block of an add that fails, the others leave, and it is named', async t => {
  const machine = await bootSmall(t)
  const { space, requests } = insides(machine).hotplug
  const { grow } = space
  space.grow = toBytes => {
    if (toBytes > 20 * MiB) throw new RangeError('no memory')
    grow.call(space, toBytes)
  }
  const { askAsync } = requests
  requests.askAsync = async (request, options) => {
    const isKept = request.kind === RequestKind.Discard && request.args[0] === 3
    if (isKept) throw new HotplugError('EBUSY', 'discard', 'it is locked')
    return await askAsync.call(requests, request, options)
  }

  const failed = machine.memory.add('16MiB').catch((error: unknown) => error)
  const error = (await failed) as HotplugError

  equal(
    error.message,
    'add 16 MiB: no memory; memory3 stays, offline: discard: it is locked (EBUSY) (EBUSY)',
  )
  deepEqual(
    error.blockedBy?.map(({ device }) => device),
    ['memory3'],
  )
  ok(error.cause instanceof RangeError)
  deepEqual(states(machine).slice(2), [[3, 'offline']])
  requests.askAsync = askAsync
  await machine.memory.remove(3)
  assertWhole(machine)
})

test('remove refuses a block that is online, or not there', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const before = snapshot(machine)

  await rejects(memory.remove(1), {
    code: 'EBUSY',
    message: 'remove memory1: memory1 is online (EBUSY)',
    blockedBy: [{ device: 'memory1', reason: 'memory1 is online' }],
  })
  await rejects(memory.remove(5), { code: 'ENODEV', message: /memory5 is not there/ })
  for (const block of [-1, 8, 1.5, Number.NaN]) {
    await rejects(memory.remove(block), { code: 'EINVAL' })
  }
  await rejects(memory.remove(1, { deadlineMs: -1 }), { code: 'EINVAL' })

  deepEqual(snapshot(machine), before)
  await memory.offline(1)
  await memory.remove(1)
  await rejects(memory.remove(1), { code: 'ENODEV' })
  await rejects(memory.offline(1), { code: 'ENODEV' })
  assertWhole(machine)
})

test('memory that the system keeps stays, offline', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  const before = snapshot(machine)
  const { requests } = insides(machine).hotplug
  const { askAsync } = requests
  requests.askAsync = async () => {
    throw new HotplugError('EBUSY', 'discard', 'it is locked')
  }

  await rejects(machine.memory.remove(1), { code: 'EBUSY', message: /it is locked/ })

  deepEqual(snapshot(machine), before)
  requests.askAsync = askAsync
  await machine.memory.remove(1)
  assertWhole(machine)
})

function residentBytes(): number {
  return Number(readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * 4096
}

test('memory that was used leaves the process when its block is removed', async t => {
  const machine = await bootSmall(t, {
    blockSize: '64MiB',
    maxMemory: '192MiB',
    memory: '64MiB',
    pageSize: '64KiB',
  })
  const { memory, capabilities } = machine
  await memory.add('64MiB')
  const pages = new MovingPages(machine)
  const nrPages = pages.open(900)
  for (let i = 0; i < nrPages; i++) {
    for (let word = 0; word < 16384; word += 1024) pages.write(i, word, i)
  }
  const touched = residentBytes()
  pages.retire()

  await memory.offline(1)
  const { returnedBytes } = await memory.remove(1)
  const fell = touched - residentBytes()

  if (capabilities.discard) {
    ok(returnedBytes >= 0.95 * 900 * 65536, `${returnedBytes} went back`)
    ok(fell >= 0.8 * 900 * 65536, `resident memory fell by ${fell}`)
  } else equal(returnedBytes, 0)
  await memory.add('64MiB', { autoOnline: 'offline' })
  const { geometry, space } = insides(machine).hotplug
  const words = space.block(1).subarray(geometry.memmapPages * geometry.pageWords)
  ok(
    words.every(word => word === 0),
    'a block that comes again is zeroed',
  )
})
