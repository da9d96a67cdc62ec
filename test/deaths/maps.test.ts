/*
 * Real threads killed in the calls of a map: each key has its old or its new value, in the order
 * of the calls, others go on, and no page is lost.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Compactor } from '../../src/collections/compactor.ts'
import { COUNT, LOCK } from '../../src/collections/layout.ts'
import { Orphans } from '../../src/collections/orphans.ts'
import { SharedMap } from '../../src/collections/shared-map.ts'
import { tokenOf } from '../../src/locking/slots.ts'
import { bootMemory, reclaim, type TestMemory, withoutMaps } from '../bodies/collections.ts'
import { ANOTHER_MAP, type MapVictim } from '../bodies/maps.ts'
import { killAtEach, sweepText } from '../kill.ts'
import { until } from '../thread.ts'
import { CALLS, checkContents, fill, keysOfOneShard } from './map-calls.ts'

const BODIES = new URL('../bodies/maps.js', import.meta.url)
const NR_SLOTS = 4
/** So many threads were never there. */
const GENERATION = 9999
/** Where a lock's word names its owner. */
const OWNER_SHIFT = 2

interface State {
  readonly memory: TestMemory
  readonly map: SharedMap<string>
  readonly data: MapVictim
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

/** As an owner of the lock of a map's first shard leaves it that dies in the middle of W5. */
function leaveShard({ context }: TestMemory): void {
  const { shards } = context.control
  const dead = tokenOf(NR_SLOTS - 1, GENERATION)
  shards[LOCK] = dead << OWNER_SHIFT
  shards[COUNT]! += 1
}

for (const call of CALLS) {
  test(`${call.name}: keys have old or new values, others go on, no page is lost`, async t => {
    await using booted = await bootMemory(NR_SLOTS)
    const keys = keysOfOneShard(booted.context.control.seed)
    const nrKilled = await killAtEach<State, MapVictim>({
      module: BODIES,
      name: call.name,
      stride: call.stride,
      atOnce: 1,
      begin: () => {
        const memory = withoutMaps(booted)
        const map = new SharedMap<string>(memory.context, 'map', { codec: 'utf8' })
        fill(call, keys, map)
        if (call.isLeft) leaveShard(memory)
        return { memory, map, data: { handle: memory.handle, map: 'map', keys } }
      },
      check: async ({ memory, map }) => {
        const { context } = memory
        await othersAreDead(memory)
        checkContents(call, keys, map)
        map.set(keys[0]!, 'others go on')
        equal(map.get(keys[0]!), 'others go on')
        recover(memory)
        equal(map.size, [...map.keys()].length)
        for (const key of keys) map.set(key, 'last')
        deepEqual([...map.keys()].sort(), [...keys].sort())
        equal(map.size, keys.length)
        const another = new SharedMap<string>(context, ANOTHER_MAP, { codec: 'utf8' })
        equal(another.set('key', 'value').size, 1)
        for (const each of [map, another]) {
          each.clear()
          each.close()
        }
        const compactor = new Compactor(context)
        compactor.compact({ maxPages: 1000, below: 1.1 })
        compactor.close()
        reclaim(memory)
        equal(memory.frames.nrTaken, 0)
      },
    })
    t.diagnostic(`${nrKilled} threads killed; ${sweepText()}`)
    ok(nrKilled > 5, `${nrKilled} threads were killed`)
  })
}
