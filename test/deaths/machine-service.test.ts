import { equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { Machine } from '../../src/index.ts'
import { assertWhole, insides, MovingPages, SMALL, untilAllFree } from '../bodies/blocks.ts'
import { sharedWords, TestThread, until } from '../thread.ts'

const BODIES = new URL('../bodies/blocks.js', import.meta.url)
const ROUNDS = 8
const NR_PAGES = 300
const NR_WRITTEN = 80

/** A machine whose service thread can be ended: once it is ready, for before it loads koffi. */
class Mortal {
  readonly machine: Machine
  private worker: Worker

  static async boot(): Promise<Mortal> {
    const made = once(process, 'worker')
    const sizes = { blockSize: '64MiB', maxMemory: '192MiB', memory: '192MiB' } as const
    const machine = await Machine.boot({ ...SMALL, ...sizes })
    return new Mortal(machine, ((await made) as [Worker])[0])
  }

  constructor(machine: Machine, worker: Worker) {
    this.machine = machine
    this.worker = worker
  }

  /** Ends the service thread where it is; resolves when its successor is ready. */
  async kill(): Promise<void> {
    const made = once(process, 'worker')
    const ended = this.worker.terminate()
    this.worker = ((await made) as [Worker])[0]
    await Promise.all([ended, once(this.worker, 'message')])
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(resolve => setImmediate(resolve))
}

test('the service thread is killed while it moves pages that are written: no word is lost', async t => {
  const mortal = await Mortal.boot()
  const { machine } = mortal
  t.after(() => machine.shutdown())
  const pages = new MovingPages(machine)
  equal(pages.open(NR_PAGES), NR_PAGES)
  for (let i = 0; i < NR_PAGES; i++) for (const word of [0, 9999]) pages.write(i, word, i + word)
  const words = sharedWords(4)
  const writer = new TestThread(BODIES, 'writePages', {
    handle: machine.handle,
    words,
    nrPages: NR_WRITTEN,
  })
  await until('it writes', () => Atomics.load(words, 2) > 0)

  let nrInTheMiddle = 0
  for (let round = 0; round < ROUNDS; round++) {
    const block = round % 2 === 0 ? 1 : 2
    let isOver = false
    const offline = machine.memory.offline(block).finally(() => (isOver = true))
    await until('it is on its way', () => machine.memory.block(block).state === 'going-offline')
    await turns(round)
    if (!isOver) nrInTheMiddle++
    await mortal.kill()
    const { pagesMoved } = await offline
    ok(pagesMoved >= 0)
    for (let i = 0; i < NR_PAGES; i++) {
      for (const word of [0, 9999]) equal(pages.read(i, word), i + word, `page ${i}`)
    }
    equal(pages.nrIn(block), 0)
    const before = Atomics.load(words, 2)
    await until('it still writes', () => Atomics.load(words, 2) > before + 1)
    await machine.memory.online(block, 'online_movable')
  }
  Atomics.store(words, 1, 1)

  equal(await writer.result, 0)
  ok(nrInTheMiddle > 0)
  pages.retire()
  await untilAllFree(machine)
  assertWhole(machine)
  equal(insides(machine).hotplug.requests.isServed(), true)
})

test('the service thread is killed as operations of all kinds wait for it: all end', async t => {
  const mortal = await Mortal.boot()
  const { machine } = mortal
  const { memory } = machine
  t.after(() => machine.shutdown())
  const calls = [
    () => memory.offline(2),
    () => memory.remove(2),
    () => memory.add('64MiB'),
    () => memory.resize('64MiB'),
    () => memory.resize('192MiB'),
  ]

  for (let round = 0; round < 2; round++) {
    for (const call of calls) {
      const ends = call()
      await turns(round)
      await mortal.kill()
      await ends
      assertWhole(machine)
    }
  }

  equal(memory.onlineBytes, memory.maxBytes)
})
