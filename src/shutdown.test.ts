import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { CALLS, codesOf, STAYS, take } from '../test/bodies/after-shutdown.ts'
import { sharedWords, TestThread } from '../test/thread.ts'
import { Machine } from './index.ts'

const BODIES = new URL('../test/bodies/after-shutdown.js', import.meta.url)
const SIZES = { memory: '32MiB', maxMemory: '32MiB', blockSize: '4MiB' } as const
/** Times that a machine is shut down under load. */
const ROUNDS = 3

/** All calls, each with the same code. */
function allOf(code: string): Record<string, string> {
  return Object.fromEntries(Object.keys(CALLS).map(name => [name, code]))
}

/** A thread that has come to where the test wants it. */
async function threadAt(name: string, machine: Machine, more: object = {}) {
  const turns = sharedWords(2)
  const thread = new TestThread(BODIES, name, { handle: machine.handle, turns, ...more })
  await Promise.race([Atomics.waitAsync(turns, 0, 0).value, thread.result])
  const goOn = (): void => {
    Atomics.store(turns, 1, 1)
    Atomics.notify(turns, 1)
  }
  return { result: thread.result, goOn }
}

test('after shutdown every public call says ENODEV, in main and in a worker', async () => {
  const machine = await Machine.boot(SIZES)
  const worker = await threadAt('callEverything', machine)
  const hand = take(machine)

  await machine.shutdown()
  worker.goOn()

  deepEqual(await codesOf(hand), allOf('ENODEV'))
  deepEqual(await worker.result, allOf('ENODEV'))
  throws(() => machine.map('m', { codec: 'utf8' }), {
    message: 'open a map: the machine is shut down (ENODEV)',
  })
})

test('a thread that has detached is told ENODEV, too, once the machine is shut down', async () => {
  const machine = await Machine.boot(SIZES)
  const worker = await threadAt('callEverything', machine, { isDetached: true })

  await machine.shutdown()
  worker.goOn()

  deepEqual(await worker.result, allOf('ENODEV'))
})

test('a thread that has detached from a machine that goes on is told EINVAL by maps', async t => {
  const machine = await boot(t)
  const worker = await threadAt('callEverything', machine, { isDetached: true })

  worker.goOn()

  const codes = (await worker.result) as Record<string, string>
  const ofMaps = Object.entries(codes).filter(([name]) => name.startsWith('SharedMap'))
  for (const [name, code] of ofMaps) equal(code, 'EINVAL', name)
  for (const name of ['Machine.map', 'Memory.notify', 'RawMemory.release']) {
    equal(codes[name], 'EINVAL', name)
  }
})

test('raw memory that went with its machine can be disposed of', async () => {
  const machine = await Machine.boot(SIZES)
  const raw = machine.buffer(1, { owner: 'whoever' })

  await machine.shutdown()

  raw[Symbol.dispose]()
  throws(() => raw.release(), { code: 'ENODEV' })
})

test('the table of calls has every public member', () => {
  const named = new Set([...Object.keys(CALLS).map(name => name.split(',')[0]!), ...STAYS])
  const files = ['machine', 'mm/memory', 'collections/shared-map', 'mm/raw']

  const found = files.flatMap(file => membersIn(new URL(`./${file}.d.ts`, import.meta.url)))

  deepEqual(found.sort(), [...named].sort())
})

/** Public members of the classes that a declaration file exports. */
function membersIn(file: URL): string[] {
  const text = readFileSync(file, 'utf8')
  const classes = [...text.matchAll(/^export declare class (\w+)[^\n]*\n(.*?)^}/gms)]
  ok(classes.length > 0, `${file}`)
  return classes.flatMap(([, name, body]) => {
    const members = [...body!.matchAll(/^ {4}(?:static |readonly |get )*([\w[\].]+)[<(:]/gm)]
    return members.map(([, member]) => `${name}.${member}`).filter(one => !/constructor/.test(one))
  })
}

test('who reads or writes while a machine is shut down meets its end, and never half a value', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const machine = await Machine.boot({ ...SIZES, memory: '64MiB', maxMemory: '64MiB' })
    take(machine)
    const reader = await threadAt('readOn', machine)
    const writer = await threadAt('writeOn', machine)

    await machine.shutdown()
    reader.goOn()

    deepEqual(await reader.result, { nrWrong: 0, code: 'ENODEV' })
    deepEqual(await writer.result, { write: 'ENODEV', walk: 'ENODEV', clear: 'ENODEV' })
  }
})

test('shutdown gives up waiting at its deadline, and goes on', async () => {
  const machine = await Machine.boot(SIZES)
  const worker = await threadAt('stayInside', machine)

  await rejects(machine.shutdown({ deadlineMs: 30 }), {
    code: 'ETIMEDOUT',
    message: 'shut down: the service thread had not ended after 30 ms: that goes on (ETIMEDOUT)',
  })
  throws(() => Machine.attach(machine.handle), { code: 'ENODEV' })
  throws(() => machine.pins(), { code: 'ENODEV' })
  await rejects(machine.shutdown({ deadlineMs: 1 }), { code: 'ETIMEDOUT' })
  const ended = Promise.all([machine.shutdown(), machine.shutdown({ deadlineMs: 600_000 })])
  worker.goOn()

  await ended
  await worker.result
  await machine.shutdown({ deadlineMs: 1 })
})

test('shutdown waits for nothing in a worker, and in main not beyond the end', async () => {
  const machine = await Machine.boot(SIZES)
  const other = Machine.attach(machine.handle)

  await other.shutdown({ deadlineMs: Number.MIN_VALUE })
  await machine.shutdown({ deadlineMs: Number.POSITIVE_INFINITY })

  throws(() => Machine.attach(machine.handle), { code: 'ENODEV' })
})

test('shutdown refuses a deadline that cannot be, and has done nothing', async t => {
  const machine = await boot(t)

  for (const deadlineMs of [0, -1, Number.NaN]) {
    const message = `shut down: deadlineMs is ${deadlineMs}, not more than 0 (EINVAL)`
    await rejects(machine.shutdown({ deadlineMs }), { code: 'EINVAL', message })
  }

  equal(machine.memory.blocks().length, 8)
})

async function boot(t: TestContext): Promise<Machine> {
  const machine = await Machine.boot(SIZES)
  t.after(() => machine.shutdown())
  return machine
}
