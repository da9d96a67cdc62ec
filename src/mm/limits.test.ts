/* How long operations on memory go on, and what they leave when that is over. */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  hurryNotifiers,
  insides,
  listenTo,
  snapshot,
} from '../../test/bodies/blocks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { HotplugError, type Machine, type OperationOptions } from '../index.ts'

const BODIES = new URL('../../test/bodies/blocks.js', import.meta.url)
const DEADLINE_MS = 1000

type Way = 'online' | 'offline'

function run({ memory }: Machine, way: Way, options?: OperationOptions): Promise<unknown> {
  return way === 'offline' ? memory.offline(1, options) : memory.online(1, 'online', options)
}

/** A thread whose notifier answers what is GOING when it is let go. */
class LateNotifier {
  readonly words = sharedWords(4)
  private readonly thread: TestThread

  static async start(machine: Machine): Promise<LateNotifier> {
    const late = new LateNotifier(machine)
    await until('it listens', () => Atomics.load(late.words, 0) === 1)
    return late
  }

  private constructor({ handle }: Machine) {
    this.thread = new TestThread(BODIES, 'answersLate', { handle, words: this.words })
  }

  async untilAsked(): Promise<void> {
    await until('it is asked', () => Atomics.load(this.words, 3) > 0)
  }

  letGo(): void {
    Atomics.store(this.words, 2, 1)
  }

  /** What it heard. */
  async stop(): Promise<unknown> {
    Atomics.store(this.words, 1, 1)
    return await this.thread.result
  }
}

for (const way of ['online', 'offline'] as const) {
  for (const how of ['a deadline', 'an abort'] as const) {
    test(`${how} ends an ${way} that waits for a notifier, and all is as it was`, async t => {
      const machine = await bootSmall(t)
      if (way === 'online') await machine.memory.offline(1)
      const before = snapshot(machine)
      const late = await LateNotifier.start(machine)
      const first = listenTo(machine, undefined, { priority: 1 })
      const last = listenTo(machine, undefined, { priority: -1 })
      const abort = new AbortController()

      if (how === 'a deadline') {
        await assertNamesNotifier(run(machine, way, { deadlineMs: DEADLINE_MS }), way)
      } else {
        const going = run(machine, way, { signal: abort.signal })
        await late.untilAsked()
        abort.abort(new Error('enough'))
        await rejects(going, { message: 'enough' })
      }

      deepEqual(snapshot(machine), before)
      const done = way.toUpperCase()
      deepEqual(first, [`GOING_${done} 1 Movable`, `CANCEL_${done} 1 Movable`])
      deepEqual(last, [])
      assertWhole(machine)
      await late.untilAsked()
      late.letGo()
      await run(machine, way)
      const each = [`GOING_${done} 1`, `CANCEL_${done} 1`, `GOING_${done} 1`, `${done} 1`]
      deepEqual(await late.stop(), each)
      deepEqual(last, [`GOING_${done} 1 Movable`, `${done} 1 Movable`])
      assertWhole(machine)
    })
  }
}

async function assertNamesNotifier(going: Promise<unknown>, way: Way): Promise<void> {
  const reason = 'the notifier of slot 2 had not answered'
  await rejects(going, {
    code: 'ETIMEDOUT',
    message: `${way} memory1: ${reason} after ${DEADLINE_MS} ms (ETIMEDOUT)`,
    blockedBy: [{ device: 'memory1', owner: 'slot 2', reason }],
  })
}

test('a notifier that is late within the deadline vetoes, as without one', async t => {
  const machine = await bootSmall(t)
  hurryNotifiers(machine, 20)
  const late = await LateNotifier.start(machine)

  await rejects(machine.memory.offline(1, { deadlineMs: 3_600_000 }), {
    code: 'ETIMEDOUT',
    message: /the notifier of slot 2 refused: it did not answer within 20 ms \(ETIMEDOUT\)$/,
  })

  late.letGo()
  await late.stop()
  await machine.memory.offline(1)
})

for (const how of ['a deadline', 'an abort'] as const) {
  test(`memory whose way online ${how} ends stays, offline`, async t => {
    const machine = await bootSmall(t)
    const { memory } = machine
    const late = await LateNotifier.start(machine)
    const abort = new AbortController()
    const limit = how === 'a deadline' ? { deadlineMs: DEADLINE_MS } : { signal: abort.signal }

    const adding = memory.add('8MiB', limit)
    await late.untilAsked()
    if (how === 'an abort') abort.abort(new Error('enough'))
    const added = await adding

    const states = added.map(({ block, state }) => [block, state])
    deepEqual(states, [
      [2, 'offline'],
      [3, 'offline'],
    ])
    assertWhole(machine)
    late.letGo()
    for (const { block } of added) await memory.online(block)
    const each = ['GOING_ONLINE 2', 'CANCEL_ONLINE 2', 'GOING_ONLINE 2', 'ONLINE 2']
    deepEqual(await late.stop(), [...each, 'GOING_ONLINE 3', 'ONLINE 3'])
  })
}

test('a resize that is aborted by one of our errors rejects with it, as with any', async t => {
  const machine = await bootSmall(t)
  const late = await LateNotifier.start(machine)
  const abort = new AbortController()
  const reason = new HotplugError('EBUSY', 'wait', 'enough')

  const resized = machine.memory.resize('16MiB', { signal: abort.signal })
  await late.untilAsked()
  abort.abort(reason)

  await rejects(resized, reason)
  equal(machine.memory.onlineBytes, 8 * 2 ** 20)
  assertWhole(machine)
  late.letGo()
  await late.stop()
})

test('a resize whose time is up says which notifier it waited for', async t => {
  const machine = await bootSmall(t)
  const late = await LateNotifier.start(machine)

  const { afterBytes, blockedBy } = await machine.memory.resize('4MiB', { deadlineMs: DEADLINE_MS })

  equal(afterBytes, 8 * 2 ** 20)
  ok(blockedBy.some(({ reason }) => reason === 'the notifier of slot 2 had not answered'))
  late.letGo()
  equal((await machine.memory.resize('4MiB')).afterBytes, 4 * 2 ** 20)
  await late.stop()
})

test('what a notifier aborts as it agrees does not happen', async t => {
  const machine = await bootSmall(t)
  for (const way of ['offline', 'online'] as const) {
    const before = snapshot(machine)
    const abort = new AbortController()
    const listener = ({ action }: { action: string }): void => {
      if (action.startsWith('GOING_')) abort.abort(new Error('enough'))
    }
    const registration = machine.memory.notify(listener)
    const told = listenTo(machine)

    await rejects(run(machine, way, { signal: abort.signal }), { message: 'enough' })

    deepEqual(snapshot(machine), before)
    deepEqual(told, [])
    registration[Symbol.dispose]()
    await run(machine, way)
  }
  assertWhole(machine)
})

test('an abort as the last notifier has agreed comes before anything is done', async t => {
  const machine = await bootSmall(t)
  const { notifiers } = insides(machine).hotplug
  const told = listenTo(machine)
  for (const way of ['offline', 'online'] as const) {
    const before = snapshot(machine)
    const abort = new AbortController()
    notifiers.call = async (action, ...more) => {
      const outcome = await Object.getPrototypeOf(notifiers).call.call(notifiers, action, ...more)
      if (action.startsWith('GOING_')) abort.abort(new Error('enough'))
      return outcome
    }
    told.length = 0

    await rejects(run(machine, way, { signal: abort.signal }), { message: 'enough' })

    deepEqual(snapshot(machine), before)
    const done = way.toUpperCase()
    deepEqual(told, [`GOING_${done} 1 Movable`, `CANCEL_${done} 1 Movable`])
    Reflect.deleteProperty(notifiers, 'call')
    await run(machine, way)
  }
  assertWhole(machine)
})

test('operations that wait for who looks at memory give up in time, and say so', async t => {
  const machine = await bootSmall(t)
  const { memory, locks } = machine
  await memory.add('4MiB', { autoOnline: 'offline' })
  const told = listenTo(machine)
  const before = snapshot(machine)
  const held = await locks.getOnlineMemsAsync()
  const options = { deadlineMs: 200 }

  const calls = {
    'offline memory1': () => memory.offline(1, options),
    'online memory2': () => memory.online(2, 'online', options),
    'remove memory2': () => memory.remove(2, options),
    'add 4 MiB': () => memory.add('4MiB', options),
  }
  for (const [operation, call] of Object.entries(calls)) {
    const message = `${operation}: memHotplugLock had not become free after 200 ms (ETIMEDOUT)`
    await rejects(call(), { code: 'ETIMEDOUT', message })
  }
  const abort = new AbortController()
  const aborted = memory.offline(1, { signal: abort.signal })
  abort.abort(new Error('enough'))
  await rejects(aborted, { message: 'enough' })

  deepEqual(snapshot(machine), before)
  held.release()
  await memory.offline(1)
  await memory.remove(2)
  deepEqual(told, ['GOING_OFFLINE 1 Movable', 'OFFLINE 1 Movable'])
  assertWhole(machine)
})

test('an abort as the last page has moved puts the block back', async t => {
  const machine = await bootSmall(t)
  const abort = new AbortController()
  const onProgress = ({ pagesLeft }: { pagesLeft: number }): void => {
    if (pagesLeft === 0) abort.abort(new Error('enough'))
  }

  await rejects(machine.memory.offline(1, { signal: abort.signal, onProgress }), /enough/)

  equal(machine.memory.block(1).state, 'online')
  assertWhole(machine)
})
