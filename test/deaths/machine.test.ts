import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import type { BlockStateName, MemoryAction } from '../../src/index.ts'
import { Machine } from '../../src/index.ts'
import {
  assertWhole,
  insides,
  MovingPages,
  SMALL,
  untilAllFree,
  withFewNotifiers,
} from '../bodies/blocks.ts'
import { killAtEach, sweepText } from '../kill.ts'
import { sharedWords, until } from '../thread.ts'
import { BLOCK, type OperationVictim } from './operations.ts'

const MODULE = new URL('./operations.js', import.meta.url)
const NR_PAGES = 20
/** After every so manyth death all kinds of operations are tried; else those for the next. */
const FULL_EVERY = 4

/** A machine in which victims die, one after the other. */
class Scene {
  readonly machine: Machine
  readonly pages: MovingPages
  readonly told: { action: MemoryAction; block: number }[] = []
  data!: OperationVictim
  private nrChecks = 0

  constructor(machine: Machine) {
    this.machine = machine
    this.pages = new MovingPages(machine)
    machine.memory.notify(({ action, block }) => void this.told.push({ action, block }))
  }

  /** Brings the block that operations are about to a state. */
  async bring(state: BlockStateName): Promise<void> {
    const { memory } = this.machine
    const is = (): BlockStateName =>
      memory.blocks().find(({ block }) => block === BLOCK)?.state ?? 'absent'
    if (is() === 'online' && state !== 'online') await memory.offline(BLOCK)
    if (is() === 'offline' && state === 'absent') await memory.remove(BLOCK)
    if (is() === 'absent' && state !== 'absent') {
      await memory.add(memory.blockSize, { block: BLOCK, autoOnline: 'offline' })
    }
    if (is() === 'offline' && state === 'online') await memory.online(BLOCK, 'online_movable')
  }

  /** Pages of data, some of them in the block if that is online. */
  async fill(): Promise<void> {
    const { machine, pages } = this
    const isThere = machine.memory.blocks().some(({ zone }, i) => i === BLOCK && zone !== null)
    if (isThere) await machine.memory.offline(1)
    equal(pages.open(NR_PAGES), NR_PAGES)
    for (let i = 0; i < NR_PAGES; i++) pages.write(i, 9, i)
    if (isThere) await machine.memory.online(1, 'online_movable')
  }

  /** Every block is at rest, no page is lost, and all goes on. */
  async check(): Promise<void> {
    const { machine, pages } = this
    machine.memory.walkBlocks() // also before anything is undone
    await until('every block is at rest', () =>
      machine.memory.blocks().every(({ state }) => state === 'online' || state === 'offline'),
    )
    await until('whom it told of is told how it ended', () => !this.isOwed())
    this.checkTold()
    for (let i = 0; i < NR_PAGES; i++) equal(pages.read(i, 9), i, `page ${i}`)
    pages.retire()
    await untilAllFree(machine)
    deepEqual(machine.pins(), [])
    assertWhole(machine)
    const hasLeft = !machine.memory.blocks().some(info => info.block === 1 && info.zone !== null)
    if (++this.nrChecks % FULL_EVERY === 0 || hasLeft) await this.goOn()
  }

  /** All kinds of operations, by the living. */
  private async goOn(): Promise<void> {
    const { machine } = this
    for (const state of ['absent', 'online', 'absent'] as const) await this.bring(state)
    await machine.memory.resize('12MiB')
    machine.buffer('128KiB', { owner: 'the living' }).release()
    equal((await machine.memory.resize('8MiB')).afterBytes, 2 * SMALL.blockSize)
    assertWhole(machine)
  }

  private isOwed(): boolean {
    return insides(this.machine).hotplug.blocks.going() !== 0
  }

  /** Each GOING was followed by its end, and nothing else came. */
  private checkTold(): void {
    for (let i = 0; i < this.told.length; i += 2) {
      const [going, end] = this.told.slice(i, i + 2)
      const way = going!.action.replace('GOING_', '')
      ok(way !== going!.action, `${going!.action} came alone`)
      equal(end?.block, going!.block)
      ok(end?.action === way || end?.action === `CANCEL_${way}`, `${way}, then ${end?.action}`)
    }
    this.told.length = 0
  }
}

interface Kind {
  readonly name: string
  readonly operation?: OperationVictim['operation']
  readonly before: BlockStateName
  readonly stride: number
}

const KINDS: readonly Kind[] = [
  { name: 'attaches', before: 'absent', stride: 1 },
  { name: 'leaves', before: 'absent', stride: 7 },
  { name: 'releases', before: 'absent', stride: 1 },
  { name: 'operates', operation: 'buffer', before: 'absent', stride: 1 },
  { name: 'operates', operation: 'walk', before: 'online', stride: 5 },
  { name: 'operates', operation: 'add', before: 'absent', stride: 5 },
  { name: 'operates', operation: 'online', before: 'offline', stride: 17 },
  { name: 'operates', operation: 'offline', before: 'online', stride: 29 },
  { name: 'operates', operation: 'remove', before: 'offline', stride: 5 },
  { name: 'operates', operation: 'grow', before: 'absent', stride: 37 },
  { name: 'operates', operation: 'shrink', before: 'online', stride: 61 },
]

for (const { name, operation = 'add', before, stride } of KINDS) {
  const what = name === 'operates' ? operation : name
  test(`${what}: killed in the middle, every block comes to rest, and no page is lost`, async t => {
    const idle: Scene[] = []
    for (let i = 0; i < 2; i++) {
      const machine = await Machine.boot({ ...SMALL, lockdep: false })
      t.after(() => machine.shutdown())
      idle.push(new Scene(machine))
    }

    const nrKilled = await killAtEach<Scene, OperationVictim>({
      module: MODULE,
      name,
      stride,
      begin: () => {
        const scene = idle.pop()!
        const handle = withFewNotifiers(scene.machine.handle)
        scene.data = { handle, operation, turns: sharedWords(2) }
        return scene
      },
      meanwhile: async scene => {
        const { turns } = scene.data
        await scene.bring(before)
        await scene.fill()
        await until('the victim is ready', () => Atomics.load(turns, 0) === 1)
        Atomics.store(turns, 1, 1)
        Atomics.notify(turns, 1)
      },
      check: async scene => {
        await scene.check()
        idle.push(scene)
      },
    })

    t.diagnostic(`${nrKilled} threads killed; ${sweepText()}`)
    ok(nrKilled > 1)
    ok(insides(idle[0]!.machine).hotplug.blocks.changedBy() === 0)
  })
}
