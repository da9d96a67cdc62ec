/* What the threads of selftests/the-thread.test.ts do. */
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { Slots } from '../../src/locking/slots.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'
import { testOracle } from './locks.ts'

/** What a region is. */
export const Region = { Online: 0, Offline: 1, Removed: 2 } as const

/** Words that the threads share: the two regions of a package. */
export const REGION = 0
/** Not 0: whoever goes on and on ends. */
export const STOP = 2
/** How often somebody did what others may have to see. */
export const DONE = 3
/** A reference count of pmem's pages. */
export const PINS = 16

/** What a thread of a booted machine is given. */
export interface ThreadData {
  readonly handle: LocksHandle
  readonly words: Int32Array
  readonly rounds?: number
  /** Of the operator: whether it takes `deviceHotplugLock`. */
  readonly locksDevice?: boolean
}

/**
 * Ejects a package of two regions and puts a new one in, `rounds` times; in every other the second
 * region refuses, and the first is put back. Returns how often a region came back on its own.
 */
export function ejectAgain({ handle, words, rounds = 1 }: ThreadData): number {
  const locks = Locks.attach(handle)
  let nrBack = 0
  for (let i = 0; i < rounds; i++) {
    locks.lockDeviceHotplug()
    change(locks, words, REGION, Region.Offline)
    if (i % 2 === 0) {
      nrBack += change(locks, words, REGION, Region.Online) === Region.Offline ? 0 : 1
    } else {
      change(locks, words, REGION + 1, Region.Offline)
      nrBack += change(locks, words, REGION, Region.Removed) === Region.Offline ? 0 : 1
      nrBack += change(locks, words, REGION + 1, Region.Removed) === Region.Offline ? 0 : 1
      change(locks, words, REGION, Region.Online)
      change(locks, words, REGION + 1, Region.Online)
    }
    locks.unlockDeviceHotplug()
  }
  Atomics.store(words, STOP, 1)
  locks.detach()
  return nrBack
}

/** As `ejectAgain`, once, and waits between the stages until the first region is back. */
export function ejectSlowly({ handle, words }: ThreadData): number {
  const locks = Locks.attach(handle)
  locks.lockDeviceHotplug()
  change(locks, words, REGION, Region.Offline)
  while (Atomics.load(words, REGION) === Region.Offline) Atomics.wait(words, DONE, 0, 1)
  const before = change(locks, words, REGION, Region.Removed)
  locks.unlockDeviceHotplug()
  Atomics.store(words, STOP, 1)
  locks.detach()
  return before === Region.Offline ? 0 : 1
}

/** Onlines what is offline, on and on. Returns how often it found something. */
export function bringBack({ handle, words, locksDevice = true }: ThreadData): number {
  const locks = Locks.attach(handle)
  let nrFound = 0
  while (Atomics.load(words, STOP) === 0) {
    if (locksDevice) locks.lockDeviceHotplug()
    locks.memHotplugBegin()
    for (const region of [REGION, REGION + 1]) {
      const { Offline, Online } = Region
      if (Atomics.compareExchange(words, region, Offline, Online) === Offline) nrFound++
    }
    locks.memHotplugDone()
    if (locksDevice) locks.unlockDeviceHotplug()
  }
  locks.detach()
  return nrFound
}

/** Changes a region as a writer of memory; returns what it was. */
function change(locks: Locks, words: Int32Array, region: number, to: number): number {
  locks.memHotplugBegin()
  const before = Atomics.exchange(words, region, to)
  locks.memHotplugDone()
  return before
}

/** Removes pmem: no new pins, those that are there are waited for; no device lock. */
export function removePmem({ handle, words }: ThreadData): void {
  const locks = Locks.attach(handle)
  const pins = new PercpuRef(locks.slot, words, PINS)
  pins.kill()
  Atomics.add(words, DONE, 1)
  pins.drain()
  change(locks, words, REGION, Region.Removed)
  locks.detach()
}

/** Takes a CPU off and on, `rounds` times. */
export function offAndOn({ handle, words, rounds = 1 }: ThreadData): void {
  const locks = Locks.attach(handle)
  for (let i = 0; i < rounds; i++) {
    locks.cpuHotplugBegin()
    locks.cpuHotplugDone()
  }
  Atomics.store(words, STOP, 1)
  locks.detach()
}

/** Reads which CPUs are online, on and on; says when it has begun. */
export function readCpus({ handle, words }: ThreadData): void {
  const locks = Locks.attach(handle)
  while (Atomics.load(words, STOP) === 0) {
    locks.getOnlineCpus()
    locks.putOnlineCpus()
    Atomics.add(words, DONE, 1)
  }
  locks.detach()
}

/** What a thread is given that uses the lock of 2014 without its private mutex. */
export interface OldLockData {
  readonly slots: Int32Array
  /** The counter form, then DEVICE, INSIDE and MEETINGS. */
  readonly words: Int32Array
  readonly tid: number
  readonly rounds: number
  /** Of a writer: whether it takes the device lock. */
  readonly locksDevice?: boolean
}

/** Words of an `OldLockData` for `nrSlots` threads, and the index of its MEETINGS. */
export function oldLockWords(nrSlots: number): { readonly nrWords: number; meetings: number } {
  const device = CounterRwsem.words(nrSlots)
  return { nrWords: device + 3, meetings: device + 2 }
}

/** Writes `rounds` times, under the device lock or without. */
export function write(data: OldLockData): void {
  const { words, mems, device, at } = openOld(data)
  for (let i = 0; i < data.rounds; i++) {
    if (data.locksDevice) device.lock()
    mems.downWrite()
    if (Atomics.add(words, at + 1, 1) !== 0) Atomics.add(words, at + 2, 1)
    Atomics.sub(words, at + 1, 1)
    mems.upWrite()
    if (data.locksDevice) device.unlock()
  }
}

/** Reads `rounds` times, without the device lock. */
export function readBeside(data: OldLockData): void {
  const { words, mems, at } = openOld(data)
  for (let i = 0; i < data.rounds; i++) {
    mems.downRead()
    if (Atomics.load(words, at + 1) !== 0) Atomics.add(words, at + 2, 1)
    mems.upRead()
  }
}

function openOld({ slots, words, tid }: OldLockData) {
  const slot = new Slots(slots).attach(testOracle(tid))
  const at = CounterRwsem.words(slot.slots.nrSlots)
  const mems = new CounterRwsem(slot, words, 0, { privateMutex: false })
  return { words, mems, device: new Mutex(slot, words, at), at }
}
