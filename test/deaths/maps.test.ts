/*
 * Real threads killed in the calls of a map: each key has its old or its new value, in the order
 * of the calls, others go on, and no page is lost.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Compactor } from '../../src/collections/compactor.ts'
import { Key } from '../../src/collections/key.ts'
import { Orphans } from '../../src/collections/orphans.ts'
import { SharedMap } from '../../src/collections/shared-map.ts'
import { bootMemory, reclaim, type TestMemory } from '../bodies/collections.ts'
import { type MapVictim, newValue } from '../bodies/maps.ts'
import { killAtEach } from '../kill.ts'
import { until } from '../thread.ts'

const BODIES = new URL('../bodies/maps.js', import.meta.url)
const NR_KEYS = 7
/** So many of the keys are there before. */
const NR_OLD = 4

interface State {
  readonly map: SharedMap<string>
  readonly data: MapVictim
}

/** What the victim does, and what its keys are then: of one that was not reached `isOld`. */
interface Call {
  readonly name: string
  readonly stride: number
  readonly isLarge?: boolean
  readonly oldIsLarge?: boolean
  /** The key's value once the call has reached it; undefined: none; null: as before. */
  after(key: string): string | undefined | null
  /** Whether keys are reached in the order of the list. */
  readonly inOrder: boolean
}

const CALLS: readonly Call[] = [
  { name: 'dieInSet', stride: 7, after: key => newValue(key, false), inOrder: true },
  { name: 'dieInSetLarge', stride: 9, after: key => newValue(key, true), inOrder: true },
  { name: 'dieInDelete', stride: 5, oldIsLarge: true, after: () => undefined, inOrder: true },
  { name: 'dieInGet', stride: 21, oldIsLarge: true, after: () => null, inOrder: true },
  { name: 'dieInUpdate', stride: 11, after: key => newValue(key, false), inOrder: true },
  { name: 'dieInClear', stride: 23, oldIsLarge: true, after: () => undefined, inOrder: false },
]

function keysOfOneShard(seed: number): string[] {
  const key = new Key(seed)
  const found: string[] = []
  for (let i = 0; found.length < NR_KEYS; i++) {
    key.encode(`key${i}`, 'test')
    if ((key.hash & 0xff) === 0) found.push(`key${i}`)
  }
  return found
}

function oldValue(key: string, isLarge = false): string {
  return `old ${key}${isLarge ? 'y'.repeat(8999) : ''}`
}

async function othersAreDead({ locks }: TestMemory): Promise<void> {
  const { slots, index } = locks.slot
  await until('the death is known', () => {
    for (let i = 1; i < slots.nrSlots; i++) if (i !== index && slots.tokenAt(i) !== 0) return false
    return true
  })
}

/** What the service thread does after a death. */
function recover(memory: TestMemory): void {
  const { pages } = memory.context
  const orphans = new Orphans(memory.context)
  memory.frames.recoverDead()
  pages.recoverDead()
  orphans.recount()
  orphans.sweep()
  reclaim(memory)
  pages.freeStale()
  equal(pages.recoverDead(), 0)
}

function checkContents(call: Call, keys: readonly string[], map: SharedMap<string>): void {
  let wasOld = false
  for (const [i, key] of keys.entries()) {
    const before = i < NR_OLD ? oldValue(key, call.oldIsLarge) : undefined
    const after = call.after(key) === null ? before : (call.after(key) as string | undefined)
    const value = map.get(key)
    const isOld = value === before
    ok(isOld || value === after, `${key} is ${value?.slice(0, 20)}`)
    if (before === after) continue
    if (call.inOrder) ok(isOld || !wasOld, `${key} was reached before others`)
    wasOld = isOld
  }
}

for (const call of CALLS) {
  test(`${call.name}: keys have old or new values, others go on, no page is lost`, async () => {
    await using memory = await bootMemory(4)
    const { context } = memory
    const keys = keysOfOneShard(context.control.seed)
    let nr = 0
    const nrKilled = await killAtEach<State, MapVictim>({
      module: BODIES,
      name: call.name,
      stride: call.stride,
      atOnce: 1,
      begin: () => {
        const name = `map${nr++}`
        const map = new SharedMap<string>(context, name, { codec: 'utf8' })
        for (const key of keys.slice(0, NR_OLD)) map.set(key, oldValue(key, call.oldIsLarge))
        return { map, data: { handle: memory.handle, map: name, keys } }
      },
      check: async ({ map }) => {
        await othersAreDead(memory)
        checkContents(call, keys, map)
        map.set(keys[0]!, 'others go on')
        equal(map.get(keys[0]!), 'others go on')
        recover(memory)
        equal(map.size, [...map.keys()].length)
        for (const key of keys) map.set(key, 'last')
        deepEqual([...map.keys()].sort(), [...keys].sort())
        equal(map.size, keys.length)
        map.clear()
        map.close()
        const compactor = new Compactor(context)
        compactor.compact({ maxPages: 1000, below: 1.1 })
        compactor.close()
        reclaim(memory)
        equal(memory.frames.nrTaken, 0)
      },
    })
    ok(nrKilled > 5, `${nrKilled} threads were killed`)
  })
}
