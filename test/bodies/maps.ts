/* What threads of the maps' tests do. */
import { SharedMap } from '../../src/collections/shared-map.ts'
import { attachMemory, type MemoryHandle } from './collections.ts'

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
