import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { assertWhole, bootSmall, insides, listenTo, MovingPages } from '../../test/bodies/blocks.ts'
import { sharedWords, TestThread } from '../../test/thread.ts'
import { Machine } from '../index.ts'
import type { Mutex } from '../locking/mutex.ts'

const BODIES = new URL('../../test/bodies/blocks.js', import.meta.url)
const MiB = 2 ** 20

test('sizes of a machine and its blocks, as every thread sees them', async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  t.after(() => other.shutdown())
  const pages = new MovingPages(machine)
  pages.open(3)
  await machine.memory.add('4MiB', { block: 5, autoOnline: 'offline' })

  for (const { memory } of [machine, other]) {
    deepEqual([memory.blockSize, memory.pageSize, memory.maxBytes], [4 * MiB, 65536, 32 * MiB])
    deepEqual([memory.onlineBytes, memory.requestedBytes], [8 * MiB, 8 * MiB])
    deepEqual(memory.block(5), {
      block: 5,
      name: 'memory5',
      state: 'offline',
      zone: null,
      bytes: 4 * MiB,
      usedBytes: 0,
      epoch: 1,
    })
    deepEqual(memory.blocks(), memory.walkBlocks())
    deepEqual(
      memory.blocks().map(({ block }) => block),
      [0, 1, 5],
    )
  }
})

test('one block is looked at, or refused', async t => {
  const { memory } = await bootSmall(t)

  equal(memory.block(1).name, 'memory1')
  throws(() => memory.block(7), {
    code: 'ENODEV',
    message: 'look at memory7: memory7 is not there (ENODEV)',
  })
  for (const block of [-1, 8, 0.5, Number.NaN]) {
    throws(() => memory.block(block), { code: 'EINVAL', message: /blocks 0 to 7 only/ })
  }
})

test('what is used is counted by the page, and exact when all is quiet', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const { pageSize } = memory
  const records = 2 * pageSize

  equal(memory.usedBytes, records)
  const raw = machine.buffer('256KiB', { owner: 'x' })
  equal(memory.usedBytes, records + 4 * pageSize)
  equal(memory.block(0).usedBytes, 4 * pageSize)
  raw.release()

  equal(memory.usedBytes, records)
  equal(memory.block(0).usedBytes, 0)
})

test('a walk finds states and counters of one moment, whatever operators do', async t => {
  const machine = await bootSmall(t, { memory: '12MiB' })
  const data = { handle: machine.handle, words: sharedWords(4), rounds: 15 }
  const threads = [1, 2].map(block => new TestThread(BODIES, 'flip', { ...data, block }))
  let isOver = false
  const ended = Promise.all(threads.map(({ result }) => result)).finally(() => (isOver = true))

  let nrWalks = 0
  while (!isOver) {
    machine.memory.walkBlocks() // throws where they do not belong together
    nrWalks++
    await new Promise(resolve => setImmediate(resolve))
  }
  await ended

  equal(nrWalks > 0, true)
  assertWhole(machine)
})

test('a thread with a notifier does not block on the lock of whoever asks it', async t => {
  const machine = await bootSmall(t)
  const told = listenTo(machine)
  const { memAddRemoveLock } = machine.locks
  const thread = flipper(machine)

  untilTaken(memAddRemoveLock)
  throws(() => memAddRemoveLock.lock(), { code: 'EDEADLK', message: /await lockAsync\(\) instead/ })
  throws(() => memAddRemoveLock.acquire(), { code: 'EDEADLK' })
  ;(await memAddRemoveLock.lockAsync()).release()

  deepEqual(await thread.result, { done: 4 })
  equal(told[0], 'GOING_OFFLINE 1 Movable')
})

test('a thread that had a notifier blocks on that lock again', async t => {
  const machine = await bootSmall(t)
  const { memAddRemoveLock } = machine.locks
  const registration = machine.memory.notify(() => {})
  for (let i = 0; i < 2; i++) registration[Symbol.dispose]()
  const thread = flipper(machine)

  untilTaken(memAddRemoveLock)
  memAddRemoveLock.lock()
  memAddRemoveLock.unlock()

  deepEqual(await thread.result, { done: 4 })
})

/** A thread that takes block 1 off and on. */
function flipper({ handle }: Machine): TestThread {
  return new TestThread(BODIES, 'flip', { handle, words: sharedWords(4) })
}

/** Blocks until another thread has the mutex. */
function untilTaken(mutex: Mutex): void {
  for (;;) {
    const held = mutex.tryLock()
    if (held === null) return
    held.release()
    Atomics.wait(sharedWords(1), 0, 0, 1)
  }
}

test('a walk while this thread waits for the lock is refused', async t => {
  const machine = await bootSmall(t)
  const { locks } = insides(machine).hotplug

  using _held = await locks.memHotplugBeginAsync()

  throws(() => machine.memory.walkBlocks(), { code: 'EDEADLK' })
})
