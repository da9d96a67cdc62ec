/* What threads of the machine's tests do: attach to a booted machine, work, say what they saw. */
import { open, read, stat } from 'node:fs'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { barrierAll } from '#atomics'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'
import { TestThread, type ThreadData } from '../thread.ts'

/** What a thread is given. */
export interface MachineData {
  readonly handle: LocksHandle
  /** Said words: [0] is raised when the thread is where the test wants it. */
  readonly words: Int32Array
  /** Which lock function to call. */
  readonly call?: LockCall
  readonly rounds?: number
  readonly path?: string
}

/** The blocking function that begins something. */
export type LockCall =
  | 'getOnlineCpus'
  | 'cpuHotplugBegin'
  | 'cpuMapsUpdateBegin'
  | 'getOnlineMems'
  | 'memHotplugBegin'
  | 'lockDeviceHotplug'

/** The functions that end what the others began. */
export const ENDS = {
  getOnlineCpus: 'putOnlineCpus',
  cpuHotplugBegin: 'cpuHotplugDone',
  cpuMapsUpdateBegin: 'cpuMapsUpdateDone',
  getOnlineMems: 'putOnlineMems',
  memHotplugBegin: 'memHotplugDone',
  lockDeviceHotplug: 'unlockDeviceHotplug',
} as const

/** Attaches, begins `call`, says so, and sleeps for ever. */
export function holdForEver({ handle, words, call = 'lockDeviceHotplug' }: MachineData): void {
  const locks = Locks.attach(handle)
  locks[call]()
  Atomics.store(words, 1, locks.slot.token)
  Atomics.add(words, 0, 1)
  Atomics.notify(words, 0)
  Atomics.wait(words, 2, 0)
}

/** Attaches, then makes a thread that does `holdForEver`; ends never. */
export async function holdInGrandchild(data: MachineData): Promise<void> {
  Locks.attach(data.handle)
  await new TestThread(new URL(import.meta.url), 'holdForEver', data).result
}

/** Attaches, begins and ends `call`, detaches. Returns whether the last owner died inside. */
export function beginAndEnd({ handle, call = 'lockDeviceHotplug' }: MachineData): boolean {
  const locks = Locks.attach(handle)
  const ownerDied = locks[call]()
  locks[ENDS[call]]()
  locks.detach()
  return ownerDied
}

/** Attaches and detaches `rounds` times. */
export function attachAgain({ handle, rounds = 1 }: MachineData): void {
  for (let i = 0; i < rounds; i++) Locks.attach(handle).detach()
}

/** Attaches and stays until words[2] is not 0. */
export function stay({ handle, words }: MachineData): void {
  const locks = Locks.attach(handle)
  Atomics.add(words, 0, 1)
  Atomics.wait(words, 2, 0)
  locks.detach()
}

/** Attaches, enters the guard, says so, and leaves when words[2] is not 0. */
export function stayInside({ handle, words }: MachineData): void {
  const locks = Locks.attach(handle)
  locks.guard.enter()
  Atomics.add(words, 0, 1)
  Atomics.wait(words, 2, 0)
  locks.guard.leave()
}

/** Asks for `rounds` barriers. */
export function askForBarriers({ handle, words, rounds = 1 }: MachineData): void {
  const locks = Locks.attach(handle)
  for (let i = 0; i < rounds; i++) {
    barrierAll()
    Atomics.add(words, 0, 1)
  }
  locks.detach()
}

/** The files of koffi that this thread has loaded. */
export function koffiLoaded(): string[] {
  const { cache } = createRequire(import.meta.url)
  return Object.keys(cache).filter(path => path.includes('koffi'))
}

/** Attaches, waits for a grace period; returns what it has loaded of koffi by then. */
export function synchronizeOnce({ handle }: MachineData): string[] {
  const locks = Locks.attach(handle)
  locks.guard.synchronize()
  locks.detach()
  return koffiLoaded()
}

/** What `koffiLoaded` sees in a thread that has imported koffi. */
export async function importKoffi(): Promise<string[]> {
  await import('koffi')
  return koffiLoaded()
}

/** Tries to boot a machine of its own; returns the error's code. */
export async function bootHere(): Promise<unknown> {
  try {
    await Locks.boot()
  } catch (error) {
    return (error as { code: unknown }).code
  }
  return null
}

/**
 * Attaches, holds deviceHotplugLock and a reference of the count at words[16], and begins to read
 * from a FIFO, which nobody writes to, into words[4].
 */
export function readForEver({ handle, words, path = '' }: MachineData): Promise<void> {
  const locks = Locks.attach(handle)
  locks.lockDeviceHotplug()
  new PercpuRef(locks.slot, words, 16).tryGet()
  return new Promise(() => {
    open(path, 'r+', (_error, fd) => {
      read(fd, new Uint8Array(words.buffer, 16, 4), 0, 4, null, () => {})
      stat(path, () => {
        // Begun after the read, so that has begun too: a read still in line would be cancelled.
        Atomics.store(words, 1, locks.slot.token)
        Atomics.add(words, 0, 1)
      })
    })
  })
}

/** A worker that this thread does not know as a `TestThread`: as any pool would make it. */
export function plainWorker(name: string, data: MachineData): Worker {
  const workerData: ThreadData = { module: import.meta.url, name, data }
  return new Worker(new URL('../thread-main.js', import.meta.url), { workerData })
}
