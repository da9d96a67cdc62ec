import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  codeOf,
  hurryNotifiers,
  listenTo,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { HotplugError, type MemoryEvent, type OnlineType } from '../index.ts'
import { ANSWER_WITHIN_MS } from './notifiers.ts'

test('a block goes online in the zone that was asked for', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const zoneOf = async (block: number, type?: OnlineType) => {
    await memory.offline(block)
    await memory.online(block, type)
    return memory.block(block).zone
  }

  equal(await zoneOf(1), 'Movable')
  equal(await zoneOf(1, 'online_kernel'), 'Normal')
  equal(await zoneOf(1, 'online_movable'), 'Movable')
  equal(await zoneOf(0), 'Normal') // nothing else has room for what cannot move
  equal(await zoneOf(0, 'online_movable'), 'Movable')
  equal(await zoneOf(1), 'Normal')
  assertWhole(machine)
})

test('online refuses what cannot be, and what is so already', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const before = snapshot(machine)

  await rejects(memory.online(1), {
    code: 'EINVAL',
    message: 'online memory1: memory1 is online (EINVAL)',
  })
  await rejects(memory.online(7), {
    code: 'ENODEV',
    message: 'online memory7: memory7 is not there (ENODEV)',
  })
  for (const block of [-1, 8, 0.5, Number.NaN, '1' as unknown as number]) {
    await rejects(memory.online(block), { code: 'EINVAL', message: /blocks 0 to 7 only/ })
  }
  for (const type of ['offline', 'fast'] as unknown as OnlineType[]) {
    await rejects(memory.online(1, type), { code: 'EINVAL' })
  }
  for (const deadlineMs of [0, -1, Number.NaN]) {
    await rejects(memory.online(1, 'online', { deadlineMs }), { code: 'EINVAL' })
  }

  deepEqual(snapshot(machine), before)
})

test('online that is aborted, or out of time, changes nothing', async t => {
  const machine = await bootSmall(t)
  const told = listenTo(machine)
  await machine.memory.offline(1)
  told.length = 0
  const before = snapshot(machine)

  const signal = AbortSignal.abort(new Error('no'))
  await rejects(machine.memory.online(1, 'online', { signal }), /no/)
  await rejects(machine.memory.online(1, 'online', { deadlineMs: Number.MIN_VALUE }), {
    code: 'ETIMEDOUT',
    message: /^online memory1: /,
  })

  deepEqual(snapshot(machine), before)
  deepEqual(told, [])
  assertWhole(machine)
})

test('a notifier vetoes by its code, and only who saw GOING is told of the CANCEL', async t => {
  const machine = await bootSmall(t)
  const first = listenTo(machine, undefined, { priority: 2 })
  const vetoes = listenTo(machine, ({ action }) => {
    if (action.startsWith('GOING')) throw new HotplugError('EAGAIN', 'look', 'not yet')
  })
  const last = listenTo(machine, undefined, { priority: -2 })
  const before = snapshot(machine)

  await rejects(machine.memory.offline(1), {
    code: 'EAGAIN',
    message: 'offline memory1: the notifier of slot 1 refused: look: not yet (EAGAIN)',
    blockedBy: [
      {
        device: 'memory1',
        owner: 'slot 1',
        reason: 'the notifier of slot 1 refused: look: not yet',
      },
    ],
  })

  deepEqual(snapshot(machine), before)
  deepEqual(first, ['GOING_OFFLINE 1 Movable', 'CANCEL_OFFLINE 1 Movable'])
  deepEqual(vetoes, first)
  deepEqual(last, [])
  assertWhole(machine)
})

const ODD: Readonly<Record<string, readonly [(event: MemoryEvent) => void, string, RegExp]>> = {
  'throws an error': [
    () => {
      throw new TypeError('x is no function')
    },
    'EBUSY',
    /refused: x is no function \(EBUSY\)$/,
  ],
  'throws something odd': [
    () => {
      throw Object.create(null)
    },
    'EBUSY',
    /it threw something odd/,
  ],
  rejects: [async () => await Promise.reject(new Error('later')), 'EBUSY', /refused: later/],
  'never answers': [
    () => new Promise<void>(() => {}),
    'ETIMEDOUT',
    /it did not answer within 30 ms \(ETIMEDOUT\)$/,
  ],
}

for (const [manner, [behave, code, message]] of Object.entries(ODD)) {
  test(`a notifier that ${manner} stops an online, and all is as it was`, async t => {
    const machine = await bootSmall(t)
    await machine.memory.offline(1)
    const before = snapshot(machine)
    if (manner === 'never answers') hurryNotifiers(machine, 30)
    const other = listenTo(machine, undefined, { priority: 1 })
    const told: string[] = []
    const registration = machine.memory.notify(event => {
      told.push(event.action)
      if (event.action === 'GOING_ONLINE') return behave(event)
    })

    await rejects(machine.memory.online(1, 'online_movable'), { code, message })

    deepEqual(snapshot(machine), before)
    deepEqual(other, ['GOING_ONLINE 1 Movable', 'CANCEL_ONLINE 1 Movable'])
    registration[Symbol.dispose]()
    hurryNotifiers(machine, ANSWER_WITHIN_MS)
    await machine.memory.online(1, 'online_movable')
    equal(told[0], 'GOING_ONLINE')
    assertWhole(machine)
  })
}

test('what a notifier throws afterwards is a warning, and the block is online', async t => {
  const machine = await bootSmall(t)
  await machine.memory.offline(1)
  listenTo(machine, ({ action }) => {
    if (action === 'ONLINE') throw new Error('too late')
  })

  const warned = once(process, 'warning')
  await machine.memory.online(1)

  equal(machine.memory.block(1).state, 'online')
  match(((await warned) as [Error])[0].message, /failed on ONLINE of memory1: too late/)
})

test('a notifier that calls an operation is refused, and what it was told of goes on', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const codes: (string | null)[] = []
  listenTo(machine, async ({ action }) => {
    if (action !== 'GOING_OFFLINE') return
    const calls = [
      () => memory.add('4MiB'),
      () => memory.online(1),
      () => memory.offline(0),
      () => memory.remove(1),
      () => memory.resize('4MiB'),
    ]
    for (const call of calls) codes.push(await codeOf(call()))
  })

  await memory.offline(1)

  deepEqual(codes, new Array(5).fill('EDEADLK'))
  equal(memory.block(1).state, 'offline')
  assertWhole(machine)
})

test('a block is seen on its way while notifiers are asked', async t => {
  const machine = await bootSmall(t)
  const states: string[] = []
  const onTheWay = (): void => {
    const [walked] = machine.memory.walkBlocks().slice(1)
    states.push(walked!.state)
  }
  machine.memory.notify(onTheWay)

  await machine.memory.offline(1)
  await machine.memory.online(1)

  deepEqual(states, ['going-offline', 'offline', 'going-online', 'online'])
  ok(machine.memory.walkBlocks().every(({ state }) => state === 'online'))
})
