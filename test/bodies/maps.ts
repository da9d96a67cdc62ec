/* What threads of the maps' tests do. */
import { SharedMap } from '../../src/collections/shared-map.ts'
import { Machine, type MachineHandle } from '../../src/index.ts'
import type { VictimData } from '../kill.ts'
import { attachMemory, type MemoryHandle } from './collections.ts'
import { counted } from './victims.ts'

/** What a thread that changes a map is told. */
export interface ChurnData {
  readonly handle: MemoryHandle
  readonly id: number
  readonly nrKeys: number
  readonly rounds: number
}

const INCREMENTS = 50

/**
 * Sets keys of its own, each time to another value, reads them back, deletes every other one; adds
 * to what all threads count together.
 */
export function churn({ handle, id, nrKeys, rounds }: ChurnData): void {
  const memory = attachMemory(handle)
  const map = new SharedMap<string>(memory.context, 'map', { codec: 'utf8' })
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < nrKeys; i++) {
      map.set(`${id}:${i}`, `${id}:${i} ${round}${'x'.repeat((i * 7 + round) % 200)}`)
    }
    for (let i = 0; i < nrKeys; i++) {
      const value = map.get(`${id}:${i}`)
      if (!value?.startsWith(`${id}:${i} ${round}`)) throw new Error(`${id}:${i} is ${value}`)
    }
    for (let i = 0; i < INCREMENTS; i++) map.update('counter', n => String(Number(n ?? 0) + 1))
    for (let i = 0; i < nrKeys; i += 2) {
      if (!map.delete(`${id}:${i}`)) throw new Error(`${id}:${i} was not there`)
    }
  }
  map.close()
  memory.locks.detach()
}

/** What a thread that replaces values is told. */
export interface ReplaceData {
  readonly handle: MemoryHandle
  readonly valueBytes: number
  /** [0] is not 0: come to an end; [1] is how often all was replaced. */
  readonly words: Int32Array
}

/** Replaces a large value, and a small one, until it is to end: each is one letter, repeated. */
export function replace({ handle, valueBytes, words }: ReplaceData): void {
  const memory = attachMemory(handle)
  const map = new SharedMap<string>(memory.context, 'map', { codec: 'utf8' })
  for (let i = 0; Atomics.load(words, 0) === 0; i++) {
    const letter = String.fromCharCode(97 + (i % 26))
    try {
      map.set('small', letter.repeat(100)).set('large', letter.repeat(valueBytes))
      Atomics.add(words, 1, 1)
      Atomics.notify(words, 1)
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOMEM') throw error // others give back soon
    }
  }
  map.close()
  memory.locks.detach()
}

/** What a thread that dies in a call is told. */
export interface MapVictim {
  readonly handle: MemoryHandle | MachineHandle
  readonly map: string
  /** All of one shard. */
  readonly keys: readonly string[]
}

/** How a value looks that a victim writes: small, or on pages of its own. */
export function newValue(key: string, isLarge: boolean): string {
  return `new ${key}${isLarge ? 'x'.repeat(9000) : ''}`
}

type Opens = (map: string) => SharedMap<string>

/** Another thread's way to maps of memory for tests, or of a machine. */
function opener(handle: MemoryHandle | MachineHandle): Opens {
  if ('blocks' in handle) {
    const { context } = attachMemory(handle)
    return map => new SharedMap<string>(context, map, { codec: 'utf8' })
  }
  const machine = Machine.attach(handle)
  return map => machine.map<string>(map, { codec: 'utf8' })
}

/** @param before What comes before what is counted. */
function onMap(
  victim: VictimData<MapVictim>,
  call: (map: SharedMap<string>) => void,
  before: (map: SharedMap<string>) => void = () => {},
) {
  const opened = opener(victim.data.handle)(victim.data.map)
  before(opened)
  return counted(victim, () => call(opened))
}

/** Sets each key. */
export function dieInSet(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.set(key, newValue(key, false))
  })
}

/** Sets each key to a large value. */
export function dieInSetLarge(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys.slice(0, 3)) map.set(key, newValue(key, true))
  })
}

/** Deletes each key. */
export function dieInDelete(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.delete(key)
  })
}

/** Reads each key, in every way. */
export function dieInGet(victim: VictimData<MapVictim>): Promise<number> {
  const bytes = new Uint8Array(20_000)
  return onMap(victim, map => {
    for (const key of victim.data.keys) {
      map.get(key)
      map.getInto(key, bytes)
      map.has(key)
    }
    for (const _ of map.keys());
  })
}

/** Goes through all there is. */
export function dieInIteration(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const _ of map.entries());
    for (const _ of map.values());
  })
}

/** Counts. */
export function dieInSize(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => map.size)
}

/** Updates each key. */
export function dieInUpdate(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.update(key, () => newValue(key, false))
  })
}

/** Updates keys to large values. */
export function dieInUpdateLarge(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys.slice(0, 3)) map.update(key, () => newValue(key, true))
  })
}

/** Deletes each key by an update. */
export function dieInUpdateThatDeletes(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.update(key, () => undefined)
  })
}

/** Sets each key that is not there. */
export function dieInGetOrSet(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.getOrSet(key, () => newValue(key, false))
  })
}

/** A map that nobody has opened before `dieInOpen`. */
export const ANOTHER_MAP = 'another'

/** Opens a map that is there, and one that is not. */
export function dieInOpen(victim: VictimData<MapVictim>): Promise<number> {
  const open = opener(victim.data.handle)
  return counted(victim, () => [open(victim.data.map), open(ANOTHER_MAP)])
}

/** Sets each key, and then leaves the pages. */
export function dieInClose(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(
    victim,
    map => map.close(),
    map => {
      for (const key of victim.data.keys) map.set(key, newValue(key, false))
    },
  )
}

/** Deletes all. */
export function dieInClear(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => map.clear())
}
