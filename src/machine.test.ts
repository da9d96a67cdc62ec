import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import {
  assertWhole,
  bootSmall,
  codeOf,
  insides,
  SMALL,
  untilAllFree,
} from '../test/bodies/blocks.ts'
import { sharedWords, TestThread, type ThreadData, until } from '../test/thread.ts'
import { type BootOptions, Machine, type MachineHandle, type PinInfo } from './index.ts'

const BODIES = new URL('../test/bodies/blocks.js', import.meta.url)
const MiB = 2 ** 20

/** A pool of workers, as piscina and tinypool make them. Their types do not pass our compiler. */
interface Pool {
  run(data: unknown): Promise<unknown>
  destroy(): Promise<void>
}

async function poolOf(name: string): Promise<Pool> {
  const { default: Made } = (await import(name)) as {
    default: new (options: object) => Pool
  }
  return new Made({ filename: BODIES.href, name: 'look', minThreads: 1, maxThreads: 2 })
}

function run(name: string, data: object): TestThread {
  return new TestThread(BODIES, name, data)
}

test('boot brings online what was asked for, the first block for what cannot move', async t => {
  const machine = await bootSmall(t, { memory: 9 * MiB })

  const seen = machine.memory.blocks().map(({ name, state, zone }) => [name, state, zone])
  deepEqual(seen, [
    ['memory0', 'online', 'Normal'],
    ['memory1', 'online', 'Movable'],
    ['memory2', 'online', 'Movable'],
  ])
  equal(machine.memory.onlineBytes, 12 * MiB)
  equal(machine.memory.requestedBytes, 12 * MiB)
  equal(machine.memory.maxBytes, 32 * MiB)
  equal(machine.memory.usedBytes, 3 * machine.memory.pageSize) // records of pages
  assertWhole(machine)
})

test('a machine says what it can do, and why it cannot do the rest', async t => {
  const machine = await bootSmall(t, { arch: 'portable' })

  deepEqual(machine.capabilities, {
    discard: false,
    mapFile: false,
    asymmetricFence: false,
    kernelThreadIds: false,
    reason: 'HOTPLUG_ARCH is portable',
  })
})

const BAD: readonly (readonly [BootOptions, RegExp])[] = [
  [{ memory: -1 }, /^boot: memory is -1, not a number of bytes/],
  [{ memory: '1 GB' as '1GiB' }, /memory is 1 GB/],
  [{ memory: Number.NaN }, /memory is NaN/],
  [{ maxMemory: 4 * MiB }, /^boot: memory 8 MiB is more than maxMemory 4 MiB \(EINVAL\)$/],
  [{ maxMemory: 33 * MiB }, /not a multiple of blockSize 4 MiB/],
  [{ maxMemory: 0 }, /not a multiple of blockSize/],
  [{ maxMemory: '1024TiB' }, /blocks are more than 16384: ask for a larger blockSize/],
  [{ blockSize: 5 * MiB }, /blockSize 5242880 is not a power of two/],
  [{ blockSize: '2MiB' }, /blockSize 2097152 is not a power of two from 4 MiB to 1 GiB/],
  [{ pageSize: 1024 }, /pageSize 1024 is not a power of two from 4 KiB to 64 KiB/],
  [{ pageSize: '4KiB', blockSize: '1GiB' }, /pages a block are more than 65536/],
  [{ threads: 0 }, /threads is 0/],
  [{ arch: 'fast' as 'auto' }, /arch is fast/],
  [{ autoOnline: 'yes' as 'online' }, /^boot: yes is none of offline, online/],
]

test('bad sizes and options are refused, and nothing is left behind', async () => {
  const before = process.listenerCount('worker')

  for (const [options, message] of BAD) {
    await rejects(Machine.boot({ ...SMALL, ...options }), { code: 'EINVAL', message })
  }

  equal(process.listenerCount('worker'), before)
})

/** Misspelt, of another version, or not to be had yet. */
const NONE = ['cpus', 'cpusPossible', 'follow', 'poison', 'maxmemory', 'toString'] as const

test('an option that there is not is refused by name, whatever it says', async () => {
  for (const name of NONE) {
    const message =
      `boot: there is no option ${name}, but memory, maxMemory, blockSize, pageSize, ` +
      'autoOnline, threads, arch, lockdep (EINVAL)'
    for (const value of [1, 'none', undefined]) {
      await rejects(Machine.boot({ ...SMALL, [name]: value }), { code: 'EINVAL', message })
    }
  }
  for (const options of [null, '1GiB'] as unknown as BootOptions[]) {
    await rejects(Machine.boot(options), { code: 'EINVAL', message: /^boot: its options are / })
  }
})

test('each option that there is may be left out by undefined', async () => {
  const names = ['memory', 'maxMemory', 'blockSize', 'pageSize', 'autoOnline', 'threads', 'arch']
  const options = Object.fromEntries([...names, 'lockdep'].map(name => [name, undefined]))

  const machine = await Machine.boot(options)

  equal(machine.memory.onlineBytes, 256 * MiB)
  await machine.shutdown()
})

test('pins say who holds what cannot move, and since when', async t => {
  const machine = await bootSmall(t)

  const raw = machine.buffer(3 * 65536, { owner: 'frames' })
  const [pin]: PinInfo[] = machine.pins()

  equal(pin?.owner, 'frames')
  equal(pin.nrPages, 4)
  ok(pin.sinceMs > 0)
  raw.release()
  deepEqual(machine.pins(), [])
})

const SCRIPT = `
  import { Machine } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)}
  const before = process.listenerCount('worker')
  try {
    const machine = await Machine.boot({ memory: '4MiB', maxMemory: '64GiB' })
    console.log('booted')
    await machine.shutdown()
  } catch (error) {
    console.log(error.code, error.message)
  }
  console.log('left', process.listenerCount('worker') - before)
`

test('what cannot be reserved is refused, with a size that can', () => {
  const node = [process.execPath, '--input-type=module', '-e', SCRIPT]
  const limit = `ulimit -v ${24 * 1024 * 1024}; exec "$@"`
  const child = spawnSync('/bin/bash', ['-c', limit, 'bash', ...node], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  })

  match(
    child.stdout,
    /^ENOMEM reserve 64 GiB: maxMemory [0-9]+ GiB could be reserved/,
    child.stderr,
  )
  match(child.stdout, /left 0\n$/)
  equal(child.status, 0)
})

test('only the main thread boots', async () => {
  equal(await run('bootHere', SMALL).result, 'EPERM')
})

test('any worker attaches at once, and works with the memory: a plain Worker', async t => {
  const machine = await bootSmall(t)

  const seen = await run('useAll', { handle: machine.handle }).result

  deepEqual(seen, { state: 'online', read: [0, 1, 2], zeroes: true, hasMoved: true })
  await untilAllFree(machine)
  assertWhole(machine)
})

for (const name of ['piscina', 'tinypool']) {
  test(`workers of a pool attach: ${name}`, async t => {
    const machine = await bootSmall(t)

    const pool = await poolOf(name)
    const runs = [1, 2, 3].map(() => pool.run(machine.handle))
    deepEqual(await Promise.all(runs), new Array(3).fill(8 * MiB))
    await pool.destroy()

    assertWhole(machine)
  })
}

for (const how of ['detach', 'end', 'stay'] as const) {
  const end = { detach: 'detaches', end: 'ends', stay: 'is killed' }[how]
  test(`what a thread has that ${end} is free again`, async t => {
    const machine = await bootSmall(t)
    const words = sharedWords(4)

    const thread = run('takeAndLeave', { handle: machine.handle, words, how })
    if (how === 'stay') {
      await until('it has pages', () => words[0] === 1)
      equal(machine.pins()[0]?.owner, 'whoever')
      await thread.kill()
    } else await thread.result
    await untilAllFree(machine)

    deepEqual(machine.pins(), [])
    await machine.memory.offline(1)
    assertWhole(machine)
  })
}

test('a block goes offline whatever lists a slot had whose threads came and went', async t => {
  const machine = await bootSmall(t, { threads: 2 })
  const words = sharedWords(4)
  const data = { handle: machine.handle, words, how: 'detach' }

  for (let i = 0; i < 3; i++) await run('takeAndLeave', data).result

  await machine.memory.offline(1, { deadlineMs: 10_000 })
})

test('more threads than slots are refused', async t => {
  const machine = await bootSmall(t, { threads: 1 })

  throws(() => Machine.attach(machine.handle), { code: 'ENOSPC' })
})

test('what is no handle is refused, and takes no slot', async t => {
  const machine = await bootSmall(t, { threads: 2 })
  const { handle } = machine
  const { memory: _, ...half } = handle
  const wrong = [undefined, {}, handle.locks, half, { ...handle, locks: handle }]

  for (const one of wrong as unknown as MachineHandle[]) {
    throws(() => Machine.attach(one), { code: 'EINVAL', message: /^attach: this is no `handle`/ })
  }

  await Machine.attach(handle).shutdown()
})

test('two machines in one process do not know each other', async t => {
  const one = await bootSmall(t)
  const other = await Machine.boot({ ...SMALL, memory: 4 * MiB })

  await one.memory.offline(1)
  other.buffer(1, { owner: 'other' })
  await other.memory.resize('12MiB')

  equal(one.memory.onlineBytes, 4 * MiB)
  equal(other.memory.onlineBytes, 12 * MiB)
  deepEqual(one.pins(), [])
  await other.shutdown()
  await one.memory.online(1)
  assertWhole(one)
})

test('a machine ends with its block, and only then', async () => {
  let outside: Machine
  {
    await using machine = await Machine.boot(SMALL)
    outside = machine
    await machine.memory.resize('4MiB')
  }

  throws(() => Machine.attach(outside.handle), {
    code: 'ENODEV',
    message: 'attach: the machine is shut down (ENODEV)',
  })
  await outside.shutdown()
})

test('after shutdown every operation says so, in main and in threads still attached', async () => {
  const machine = await Machine.boot(SMALL)
  const words = sharedWords(4)
  const thread = run('callAll', { handle: machine.handle, words })
  await until('it is attached', () => words[0] === 1)

  await machine.shutdown()
  Atomics.store(words, 1, 1)
  Atomics.notify(words, 1)

  deepEqual(await thread.result, new Array(6).fill('ENODEV'))
  const { memory } = machine
  const message = 'offline memory1: the machine is shut down (ENODEV)'
  await rejects(memory.offline(1), { code: 'ENODEV', message })
  for (const call of [memory.add(4 * MiB), memory.online(1), memory.remove(1), memory.resize(1)]) {
    equal(await codeOf(call), 'ENODEV')
  }
  throws(() => machine.buffer(1, { owner: 'x' }), { code: 'ENODEV' })
})

test('operations in flight end when the machine does', async () => {
  const machine = await Machine.boot(SMALL)
  insides(machine).allocator.allocPage('movable') // in memory1, and never to move

  const offline = machine.memory.offline(1)
  const resize = machine.memory.resize('16MiB')
  const ends = [offline, resize].map(codeOf)
  await until('it is on its way', () => machine.memory.block(1).state === 'going-offline')
  await machine.shutdown()

  deepEqual(await Promise.all(ends), ['ENODEV', 'ENODEV'])
})

test('operations in flight end when their thread detaches, and others go on', async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  insides(machine).allocator.allocPage('movable') // in memory1, and never to move

  const offline = codeOf(other.memory.offline(1))
  await until('it is on its way', () => machine.memory.block(1).state === 'going-offline')
  await other.shutdown()
  const adding = machine.memory.add('4MiB')

  equal(await offline, 'ENODEV')
  equal((await adding)[0]?.state, 'online')
  equal(machine.memory.block(1).state, 'online')
})

test('a worker made by nobody we know attaches by its workerData', async t => {
  const machine = await bootSmall(t)
  const data: ThreadData = { module: BODIES.href, name: 'useAll', data: machine }
  const workerData = { ...data, data: { handle: machine.handle } }

  const url = new URL('../test/thread-main.js', import.meta.url)
  const worker = new Worker(url, { workerData })
  const seen = await new Promise(resolve => worker.once('message', resolve))

  equal((seen as { zeroes: boolean }).zeroes, true)
})
