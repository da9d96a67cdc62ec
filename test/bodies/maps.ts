/* What threads of the maps' tests do. */
import { SharedMap } from '../../src/collections/shared-map.ts'
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
  readonly handle: MemoryHandle
  readonly map: string
  /** All of one shard. */
  readonly keys: readonly string[]
}

/** How a value looks that a victim writes: small, or on pages of its own. */
export function newValue(key: string, isLarge: boolean): string {
  return `new ${key}${isLarge ? 'x'.repeat(9000) : ''}`
}

function onMap(victim: VictimData<MapVictim>, call: (map: SharedMap<string>) => void) {
  const { handle, map } = victim.data
  const memory = attachMemory(handle)
  const opened = new SharedMap<string>(memory.context, map, { codec: 'utf8' })
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

/** Updates each key. */
export function dieInUpdate(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => {
    for (const key of victim.data.keys) map.update(key, () => newValue(key, false))
  })
}

/** Deletes all. */
export function dieInClear(victim: VictimData<MapVictim>): Promise<number> {
  return onMap(victim, map => map.clear())
}
