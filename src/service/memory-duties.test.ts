import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { AddressSpace } from '../arch/address-space.ts'
import { makeControl } from '../arch/control.ts'
import { logicalMemory } from '../arch/real-memory.ts'
import type { Compactor } from '../collections/compactor.ts'
import { HotplugLocks } from '../locking/hotplug-locks.ts'
import { Slots } from '../locking/slots.ts'
import { geometryOf, PERCPU_DISABLED, ZoneKind } from '../mm/geometry.ts'
import type { Hotplug } from '../mm/hotplug.ts'
import { initMemmap } from '../mm/memmap.ts'
import { PageAllocator } from '../mm/page-allocator.ts'
import { RequestKind } from '../mm/requests.ts'
import {
  beginAdd,
  beginOffline,
  beginOnline,
  finishAdd,
  finishOffline,
  finishOnline,
} from '../mm/transitions.ts'
import { openHotplug, reserveMachineMemory } from './machine-memory.ts'
import { MemoryDuties } from './memory-duties.ts'

const MiB = 2 ** 20
const NR_SLOTS = 4
const NR_BLOCKS = 3
const NR_TICKS = 1000

/** A machine whose threads are all this one, so that each step is taken when the test says so. */
class Scene {
  readonly duties: MemoryDuties
  readonly service: Operator
  private readonly control = makeControl(NR_SLOTS, false)
  private readonly geometry = geometryOf({
    pageSize: 16384,
    blockSize: 4 * MiB,
    maxMemory: 16 * MiB,
  })
  private readonly memory = reserveMachineMemory(this.geometry, NR_SLOTS, this.control.stop)

  constructor() {
    const { memory, geometry } = this
    const space = new AddressSpace(memory.space, geometry.blockSize)
    space.grow(geometry.maxMemory)
    this.service = this.operator(1)
    for (let block = 0; block < NR_BLOCKS; block++) this.service.bringUp(block)
    const { slot, locks } = this.service
    this.duties = new MemoryDuties(
      { slot, locks, arch: 'portable', serveBarriers: () => {} },
      memory,
      { space, real: logicalMemory(memory.space) },
      () => {},
    )
  }

  operator(tid: number): Operator {
    const slot = new Slots(this.control.slots).attach(testOracle(tid))
    const locks = new HotplugLocks(slot, this.control.locks, null)
    const parts = openHotplug(this.memory, locks)
    const { control } = this.memory
    const { zones } = new PageAllocator(slot, control, parts.space, locks.guard)
    return new Operator({ ...parts, zones }, locks)
  }

  get arePercpuListsOff(): boolean {
    return this.memory.control.events[PERCPU_DISABLED] === 1
  }
}

class Operator {
  readonly hotplug: Hotplug
  readonly locks: HotplugLocks

  constructor(hotplug: Hotplug, locks: HotplugLocks) {
    this.hotplug = hotplug
    this.locks = locks
  }

  get slot() {
    return this.locks.slot
  }

  transition(body: () => void): void {
    this.locks.memHotplugBegin()
    body()
    this.locks.memHotplugDone()
  }

  bringUp(block: number): void {
    const { blocks, zones, space, geometry } = this.hotplug
    this.transition(() => {
      beginAdd(blocks, block)
      initMemmap(geometry, space, block)
      finishAdd(blocks, block)
      beginOnline(blocks, block, ZoneKind.Movable)
      finishOnline(blocks, zones[ZoneKind.Movable]!, block)
      blocks.setGoing(0)
    })
  }
}

test('what the dead had asked for is not done under the next operator', () => {
  const scene = new Scene()
  const [first, second, third] = [scene.operator(2), scene.operator(3), scene.operator(4)] as const
  first.locks.memAddRemoveLock.lock()
  first.slot.detach()

  const isTold = second.locks.memAddRemoveLock.lock()
  second.locks.memHotplugBegin()
  second.hotplug.blocks.beginChange(second.slot.token)
  second.hotplug.requests.post({ kind: RequestKind.Recover, args: [] })
  second.slot.detach()
  scene.duties.recover() // for the first
  third.locks.memAddRemoveLock.lock()
  const { blocks, zones } = third.hotplug
  third.transition(() => beginOffline(blocks, zones[ZoneKind.Movable]!, 2))
  scene.duties.tick()
  scene.duties.serve()

  ok(isTold)
  equal(blocks.stateName(2), 'going-offline')
  third.transition(() => finishOffline(blocks, zones[ZoneKind.Movable]!, 2))
  equal(blocks.stateName(2), 'offline')
})

test('pages that were looked at in vain are not looked at again at once', () => {
  const { duties } = new Scene()
  const { compactor } = duties as unknown as { compactor: Compactor }
  const compact = compactor.compact.bind(compactor)
  let nrLooks = 0
  compactor.compact = options => {
    nrLooks++
    return compact(options)
  }

  for (let i = 0; i < NR_TICKS; i++) duties.tick()

  ok(nrLooks > 0 && nrLooks < NR_TICKS, `${nrLooks} of ${NR_TICKS}`)
})

test('lists that a service thread had drained when it died are used again', () => {
  const scene = new Scene()
  const { space, blocks } = scene.service.hotplug
  const { slot, locks } = scene.service
  new PageAllocator(slot, blocks.control, space, locks.guard).drainAll()
  ok(scene.arePercpuListsOff)

  scene.duties.recover()

  ok(!scene.arePercpuListsOff)
})
