/*
 * Operators, and who recovers them, killed between the beginning and the end of what notifiers are
 * told: each notifier hears each GOING and its end, once, and nothing else.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setEnvironmentData, type Worker } from 'node:worker_threads'
import { type BlockStateName, Machine, type MemoryAction } from '../../src/index.ts'
import { assertWhole, insides, SMALL, withFewNotifiers } from '../bodies/blocks.ts'
import { STEPS, STOP_KEY } from '../bodies/mortal-service.ts'
import { killAtEach } from '../kill.ts'
import { sharedWords, TestThread, until } from '../thread.ts'
import { BLOCK, type OperationVictim } from './operations.ts'

const MODULE = new URL('./operations.js', import.meta.url)
const SERVICE = new URL('../bodies/mortal-service.js', import.meta.url).href

/** Long enough for a thread to end, and for who looks whether it has. */
const STARTS_WITHIN_MS = 1000

/** A machine with two notifiers, the second of which may refuse. */
class Scene {
  readonly machine: Machine
  readonly told: MemoryAction[][] = [[], []]
  refuses = false
  onGoing: () => Promise<void> = async () => {}
  data!: OperationVictim

  static async boot(): Promise<Scene> {
    return new Scene(await Machine.boot({ ...SMALL, lockdep: false }))
  }

  constructor(machine: Machine) {
    this.machine = machine
    for (const [i, told] of this.told.entries()) {
      machine.memory.notify(async ({ action, block }) => {
        if (block !== BLOCK) return
        told.push(action)
        if (!action.startsWith('GOING_') || i === 0) return
        await this.onGoing()
        if (this.refuses) throw new Error('no')
      })
    }
  }

  get state(): BlockStateName {
    return insides(this.machine).hotplug.blocks.stateName(BLOCK)
  }

  get isOwed(): boolean {
    return insides(this.machine).hotplug.blocks.going() !== 0
  }

  /** What a victim is given to do, once the block is in its state before. */
  async begin(operation: OperationVictim['operation'], before: BlockStateName): Promise<void> {
    const { memory } = this.machine
    this.refuses = false
    this.onGoing = async () => {}
    if (this.state === 'absent') {
      await memory.add(memory.blockSize, { block: BLOCK, autoOnline: 'offline' })
    }
    if (this.state === 'online' && before === 'offline') await memory.offline(BLOCK)
    if (this.state === 'offline' && before === 'online') {
      await memory.online(BLOCK, 'online_movable')
    }
    for (const told of this.told) told.length = 0
    this.data = this.dataOf(operation)
  }

  dataOf(operation: OperationVictim['operation']): OperationVictim {
    const handle = withFewNotifiers(this.machine.handle)
    return { handle, operation, turns: sharedWords(2) }
  }

  async go(): Promise<void> {
    const { turns } = this.data
    await until('the victim is ready', () => Atomics.load(turns, 0) === 1)
    Atomics.store(turns, 1, 1)
    Atomics.notify(turns, 1)
  }

  /** Both were told this and no more, by the time that it is at rest and nothing is owed. */
  async checkTold(expected: readonly MemoryAction[], state: BlockStateName): Promise<void> {
    await until('it is at rest, and told', () => this.state === state && !this.isOwed)
    await this.machine.memory.resize(this.machine.memory.onlineBytes) // whatever else was to come
    deepEqual(this.told, [expected, expected])
    assertWhole(this.machine)
  }
}

const TAILS = [
  { operation: 'online', before: 'offline', after: 'online', end: 'ONLINE' },
  { operation: 'offline', before: 'online', after: 'offline', end: 'OFFLINE' },
  { operation: 'online', before: 'offline', after: 'offline', end: 'CANCEL_ONLINE' },
  { operation: 'offline', before: 'online', after: 'online', end: 'CANCEL_OFFLINE' },
] as const

for (const { operation, before, after, end } of TAILS) {
  test(`an operator that dies after its last transition: ${end} is told once`, async t => {
    const idle = [await Scene.boot(), await Scene.boot()]
    for (const { machine } of idle) t.after(() => machine.shutdown())
    const going = operation === 'online' ? 'GOING_ONLINE' : 'GOING_OFFLINE'
    const handle = (scene: Scene): OperationVictim => scene.dataOf(operation)

    const nrKilled = await killAtEach<Scene, OperationVictim>({
      module: MODULE,
      name: 'ends',
      stride: 3,
      begin: () => {
        const scene = idle.pop()!
        scene.data = handle(scene)
        return scene
      },
      meanwhile: async scene => {
        const { data } = scene
        await scene.begin(operation, before)
        scene.data = data
        scene.refuses = end.startsWith('CANCEL_')
        await scene.go()
      },
      check: async scene => {
        await scene.checkTold([going, end], after)
        idle.push(scene)
      },
    })

    t.diagnostic(`${nrKilled} threads killed`)
    ok(nrKilled > 10)
  })
}

/** Ends the service thread; resolves when its successor runs the module that can be stopped. */
async function replaceService(machine: Machine, worker: Worker): Promise<Worker> {
  const { service } = machine.locks as unknown as { service: { data: { module: string } } }
  service.data.module = SERVICE
  return await endService(worker)
}

async function endService(worker: Worker): Promise<Worker> {
  const made = once(process, 'worker')
  const ended = worker.terminate()
  const successor = ((await made) as [Worker])[0]
  await Promise.all([ended, once(successor, 'message')])
  return successor
}

test('the service thread dies as it recovers an operator: the CANCEL is told once', async t => {
  const stop = sharedWords(3)
  setEnvironmentData(STOP_KEY, stop as unknown as string)
  const made = once(process, 'worker')
  const scene = await Scene.boot()
  const { machine } = scene
  t.after(() => machine.shutdown())
  let service = await replaceService(machine, ((await made) as [Worker])[0])

  for (const [i, step] of STEPS.entries()) {
    await scene.begin('offline', 'online')
    const victim = new TestThread(MODULE, 'operates', { n: 0, control: stop, data: scene.data })
    scene.onGoing = () => victim.kill() // it has seen GOING, and so has the first
    Atomics.store(stop, 0, i + 1)
    await scene.go()

    await until(`the service thread is at ${step}`, () => Atomics.load(stop, 1) === 1)
    stop.fill(0)
    service = await endService(service)

    await scene.checkTold(['GOING_OFFLINE', 'CANCEL_OFFLINE'], 'online')
  }
})

test('what is owed is said again by the next service thread, if nobody heard', async t => {
  const made = once(process, 'worker')
  const scene = await Scene.boot()
  const { machine } = scene
  t.after(() => machine.shutdown())
  const deaf = machine as unknown as { tellOwed(): Promise<void> }
  let nrAsked = 0
  deaf.tellOwed = async () => void nrAsked++
  await scene.begin('online', 'offline')
  const victim = new TestThread(MODULE, 'operates', {
    n: 0,
    control: sharedWords(4),
    data: scene.data,
  })
  scene.onGoing = () => victim.kill()
  await scene.go()
  await until('the service thread has asked', () => nrAsked > 0)
  equal(scene.isOwed, true)
  Reflect.deleteProperty(deaf, 'tellOwed')

  await endService(((await made) as [Worker])[0])

  await scene.checkTold(['GOING_ONLINE', 'CANCEL_ONLINE'], 'offline')
})

test('a service thread that a notifier has started asks, and is not taken for the notifier', async t => {
  const scene = await Scene.boot()
  const { machine } = scene
  t.after(() => machine.shutdown())
  const inner = machine as unknown as {
    tellOwed(): Promise<void>
    locks: { service: { worker: Worker } }
  }
  const map = machine.map('m', { codec: 'utf8' })
  const tell = inner.tellOwed
  let nrAsked = 0
  inner.tellOwed = () => {
    nrAsked++
    return tell.call(machine)
  }
  await scene.begin('offline', 'online')
  const victim = new TestThread(MODULE, 'operates', {
    n: 0,
    control: sharedWords(4),
    data: scene.data,
  })
  scene.onGoing = async () => {
    const { service } = inner.locks
    const first = service.worker
    void first.terminate()
    const endsAt = performance.now() + STARTS_WITHIN_MS
    while (service.worker === first && performance.now() < endsAt) map.get('missing') // starts it
    await until('there is another', () => service.worker !== first) // where main sees no death
    await victim.kill()
    await until('the service thread has asked', () => nrAsked > 0)
  }
  await scene.go()

  await until('who was busy has heard the end', () => scene.told[1]!.length === 2)
  await scene.checkTold(['GOING_OFFLINE', 'CANCEL_OFFLINE'], 'online')
})
