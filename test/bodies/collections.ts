/* Memory with maps for tests, and how threads come to it. */
import { makeCollectionsControl } from '../../src/collections/control.ts'
import type { CollectionsContext, CollectionsControl } from '../../src/collections/layout.ts'
import { Guard, type GuardForm } from '../../src/locking/guard.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'
import {
  geometryOf,
  type MemoryControl,
  type MemorySizes,
  makeMemoryControl,
} from '../../src/mm/geometry.ts'
import { VirtualPages } from '../../src/mm/virtual-pages.ts'
import { onlineAll, PageFrames } from '../litmus/page-frames.ts'

const MiB = 2 ** 20
const SIZES: MemorySizes = { pageSize: 4096, blockSize: 4 * MiB, maxMemory: 32 * MiB }
const SEED = 0x5eed

/** What threads share. Cloneable. */
export interface MemoryHandle {
  readonly locks: LocksHandle
  readonly memory: MemoryControl
  readonly control: CollectionsControl
  readonly guard: Int32Array
  readonly blocks: readonly Int32Array[]
}

/** One thread's hand on it. */
export interface TestMemory {
  readonly handle: MemoryHandle
  readonly locks: Locks
  readonly frames: PageFrames
  readonly context: CollectionsContext
}

/** Boots locks, and memory of which all is there. */
export async function bootMemory(
  threads: number,
  sizes: Partial<MemorySizes> = {},
): Promise<TestMemory & AsyncDisposable> {
  const locks = await Locks.boot({ threads: threads + 1 })
  const geometry = geometryOf({ ...SIZES, ...sizes })
  const memory = makeMemoryControl(geometry, threads + 2)
  const guard = new Int32Array(new SharedArrayBuffer(Guard.words(threads + 2) * 4))
  const form: GuardForm = locks.capabilities.asymmetricFence ? 'asymmetric' : 'portable'
  Guard.choose(guard, 0, form)
  const blocks = Array.from(
    { length: geometry.nrBlocks },
    () => new Int32Array(new SharedArrayBuffer(geometry.blockSize)),
  )
  onlineAll(memory)
  const control = makeCollectionsControl(SEED)
  const handle = { locks: locks.handle, memory, control, guard, blocks }
  return { ...open(locks, handle), [Symbol.asyncDispose]: () => locks.shutdown() }
}

/** Another thread's hand. */
export function attachMemory(handle: MemoryHandle): TestMemory {
  return open(Locks.attach(handle.locks), handle)
}

/** The same thread's hand on the same memory, but on no map yet. */
export function withoutMaps({ locks, handle }: TestMemory): TestMemory {
  return open(locks, { ...handle, control: makeCollectionsControl(SEED) })
}

function open(locks: Locks, handle: MemoryHandle): TestMemory {
  const { slot } = locks
  const { memory, control } = handle
  const frames = new PageFrames(slot, memory.geometry, handle.blocks)
  const pages = new VirtualPages(slot, memory, frames, frames)
  const guard = new Guard(slot, handle.guard, 0)
  const onNoRoom = () => false
  const context = { slot, guard, memory, control, frames, pages, lockdep: locks.lockdep, onNoRoom }
  return { handle, locks, frames, context }
}

/** What the service thread does about what was retired. @returns Pages that are free now. */
export function reclaim({ context }: TestMemory): number {
  const retired = context.pages.takeRetired()
  context.guard.synchronize()
  for (const vpn of retired) context.pages.release(vpn)
  return retired.length
}
