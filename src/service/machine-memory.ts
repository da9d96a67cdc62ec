/*
 * A machine's memory in shared words: what its threads are handed, and what each makes of it.
 */
import { randomInt } from 'node:crypto'
import type { Words } from '#atomics'
import { AddressSpace } from '../arch/address-space.ts'
import { makeCollectionsControl } from '../collections/control.ts'
import type { CollectionsContext, CollectionsControl } from '../collections/layout.ts'
import { nameOfMap } from '../collections/registry.ts'
import type { HotplugLocks } from '../locking/hotplug-locks.ts'
import { Blocks } from '../mm/blocks.ts'
import { type Geometry, type MemoryControl, makeMemoryControl, REQUESTS } from '../mm/geometry.ts'
import type { Hotplug } from '../mm/hotplug.ts'
import { Notifiers } from '../mm/notifiers.ts'
import { Pins } from '../mm/pins.ts'
import { Requests } from '../mm/requests.ts'
import { type FrameSource, VirtualPages } from '../mm/virtual-pages.ts'

const NR_PINS = 1024
const NR_NOTIFIERS = 256

/** Shared memory of a machine, beside its locks. Cloneable. */
export interface MachineMemory {
  readonly control: MemoryControl
  /** The blocks. */
  readonly space: SharedArrayBuffer
  readonly pins: Words
  readonly notifiers: Words
  readonly collections: CollectionsControl
  /** Not 0 once the service thread serves no more. */
  readonly stop: Words
}

/**
 * Reserves a machine's memory; nothing is there yet.
 *
 * @throws {HotplugError} `ENOMEM`: so much cannot be reserved; names what could.
 */
export function reserveMachineMemory(
  geometry: Geometry,
  nrSlots: number,
  stop: Words,
): MachineMemory {
  const words = (nrWords: number): Words => new Int32Array(new SharedArrayBuffer(nrWords * 4))
  return {
    control: makeMemoryControl(geometry, nrSlots),
    space: AddressSpace.reserve(geometry.maxMemory, 0),
    pins: words(Pins.words(NR_PINS)),
    notifiers: words(Notifiers.words(NR_NOTIFIERS)),
    collections: makeCollectionsControl(randomInt(2 ** 31)),
    stop,
  }
}

/** What operations on memory work with in the calling thread. Zones are its allocator's. */
export function openHotplug(memory: MachineMemory, locks: HotplugLocks): Omit<Hotplug, 'zones'> {
  const { control } = memory
  const { slot } = locks
  const bell = {
    ring: () => slot.slots.ring(),
    assertOpen: () => slot.assertAttached('ask the service thread'),
  }
  return {
    geometry: control.geometry,
    locks,
    blocks: new Blocks(control),
    space: new AddressSpace(memory.space, control.geometry.blockSize),
    pins: new Pins(slot, memory.pins),
    notifiers: new Notifiers(slot, memory.notifiers, { lock: locks.memAddRemoveLock }),
    requests: new Requests(control.events, REQUESTS, bell, memory.stop),
    nameOfMap: map => nameOfMap(memory.collections, map),
  }
}

/** What collections work with in the calling thread. */
export function openCollections(
  memory: MachineMemory,
  locks: HotplugLocks,
  { source, space }: { source: FrameSource; space: AddressSpace },
  calls: Pick<CollectionsContext, 'onNoRoom' | 'assertOpen' | 'onWait'>,
): CollectionsContext {
  const { slot, guard, lockdep } = locks
  return {
    slot,
    guard,
    memory: memory.control,
    control: memory.collections,
    frames: space,
    pages: new VirtualPages(slot, memory.control, space, source),
    lockdep,
    ...calls,
  }
}
