/*
 * The calls of maps.test.ts again, on a machine: its zones and lists give the pages, and its
 * service thread recovers, compacts and unmaps, when it comes to it.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import type { SharedMap } from '../../src/collections/shared-map.ts'
import { Machine } from '../../src/index.ts'
import { nrHeld, SMALL, untilWhole } from '../bodies/blocks.ts'
import type { MapVictim } from '../bodies/maps.ts'
import { killAtEach, sweepText } from '../kill.ts'
import { until } from '../thread.ts'
import { CALLS, checkContents, fill, keysOfOneShard } from './map-calls.ts'

const BODIES = new URL('../bodies/maps.js', import.meta.url)
/** For pages, so small that `newValue` can be large. */
const SIZES = { ...SMALL, pageSize: 4096, lockdep: false } as const
/** A machine takes longer, and is killed at fewer. */
const STRIDE_FACTOR = 5
/** Open pages of the service thread's own, which compaction fills. */
const SERVICE_PAGES = 2

/** What opens a map only, and takes no page, is not looked at again. */
const MACHINE_CALLS = CALLS.filter(({ name }) => name !== 'dieInOpen')

interface State {
  readonly map: SharedMap<string>
  readonly data: MapVictim
}

for (const call of MACHINE_CALLS) {
  test(`${call.name} of a machine: old or new values, and no page is lost`, async t => {
    const machine = await Machine.boot(SIZES)
    t.after(() => machine.shutdown())
    const { handle } = machine
    const keys = keysOfOneShard(handle.memory.collections.seed)
    const map = machine.map<string>('map', { codec: 'utf8' })
    const nrKilled = await killAtEach<State, MapVictim>({
      module: BODIES,
      name: call.name,
      stride: call.stride * STRIDE_FACTOR,
      atOnce: 1,
      begin: () => {
        fill(call, keys, map)
        return { map, data: { handle, map: 'map', keys } }
      },
      check: async () => {
        checkContents(call, keys, map)
        for (const key of keys) map.set(key, 'last')
        await until('what the dead left is counted', () => map.size === keys.length)
        deepEqual([...map.keys()].sort(), [...keys].sort())
        map.clear()
        map.close()
        await until('no page is held', () => nrHeld(machine) <= SERVICE_PAGES)
        await untilWhole(machine)
        equal(map.size, 0)
      },
    })
    t.diagnostic(`${nrKilled} threads killed; ${sweepText()}`)
    ok(nrKilled > 0, `${nrKilled} threads were killed`)
  })
}
