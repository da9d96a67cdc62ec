import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { assertWhole, bootSmall, insides, nrHeld } from '../../test/bodies/blocks.ts'
import { until } from '../../test/thread.ts'
import type { Machine, SharedMap } from '../index.ts'
import { nrFreePages, nrReservePages } from './room.ts'

const VALUE = 'v'.repeat(3000)
/** Does not fit beside others on a page. */
const LARGE = 'w'.repeat(150_000)
const NR_VALUES = 2000
const IDLE_MS = 200
const SIZES = { memory: '8MiB', maxMemory: '16MiB' } as const

function mapOf(machine: Machine): SharedMap<string> {
  return machine.map<string>('map', { codec: 'utf8' })
}

/** Sets keys until there is no room. @returns How many there are. */
function fill(map: SharedMap<string>, value = VALUE): number {
  for (let i = 0; ; i++) {
    try {
      map.set(`key${i}`, value)
    } catch (error) {
      equal((error as { code?: unknown }).code, 'ENOMEM')
      return i
    }
  }
}

test('a set that finds no room throws ENOMEM, and has changed nothing', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  map.set('old', 'value')

  const nrKeys = fill(map)
  const free = nrFreePages(insides(machine).allocator)

  ok(nrKeys > 1500, `${nrKeys} keys had room`)
  ok(free > 0 && free <= nrReservePages(insides(machine).hotplug.blocks) + 1)
  const refused = () => map.set('old', LARGE)
  equal(codeOf(refused), 'ENOMEM')
  equal(map.get('old'), 'value')
  equal(
    codeOf(() => map.update('old', () => LARGE)),
    'ENOMEM',
  )
  equal(
    codeOf(() => map.getOrSet('new', () => LARGE)),
    'ENOMEM',
  )
  equal(map.has('new'), false)
  equal(map.size, nrKeys + 1)
  for (let i = 0; i < nrKeys; i++) equal(map.get(`key${i}`), VALUE)
  assertWhole(machine)
})

test('after deletes there is room again', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  const nrKeys = fill(map)

  for (let i = 0; i < nrKeys; i += 2) map.delete(`key${i}`)
  for (let i = 0; i < nrKeys / 4; i++) map.set(`another${i}`, VALUE)
  map.set('large', LARGE)

  equal(map.get('large'), LARGE)
  for (let i = 1; i < nrKeys; i += 2) equal(map.get(`key${i}`), VALUE)
  assertWhole(machine)
})

test('pages go that have little left on them, though nobody asks for room', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  for (let i = 0; i < NR_VALUES; i++) map.set(`key${i}`, VALUE)
  const before = nrHeld(machine)
  await setTimeout(IDLE_MS) // the service thread has looked in vain, and rests

  for (let i = 0; i < NR_VALUES; i++) if (i % 4 !== 0) map.delete(`key${i}`)

  await until('half of the pages are free', () => nrHeld(machine) < before / 2)
  for (let i = 0; i < NR_VALUES; i += 4) equal(map.get(`key${i}`), VALUE)
})

test('after a resize there is room again', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  const nrKeys = fill(map)

  const { blockedBy } = await machine.memory.resize('16MiB')
  deepEqual(blockedBy, [])
  map.set('large', LARGE)

  equal(map.get('large'), LARGE)
  equal(map.size, nrKeys + 1)
})

test('a full machine cannot shrink, says so, and loses nothing', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  const nrKeys = fill(map)

  const { afterBytes, blockedBy } = await machine.memory.resize('4MiB')

  equal(afterBytes, 8 * 2 ** 20)
  ok(blockedBy.length > 0)
  for (let i = 0; i < nrKeys; i++) equal(map.get(`key${i}`), VALUE)
})

test('a full machine whose garbage is everywhere gives room without a free page to spare', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  const nrKeys = fill(map)
  for (let i = 0; i < nrKeys; i += 3) map.delete(`key${i}`)

  for (let round = 0; round < 3; round++) {
    for (let i = 1; i < nrKeys; i += 3) map.set(`key${i}`, VALUE)
  }

  for (let i = 2; i < nrKeys; i += 3) equal(map.get(`key${i}`), VALUE)
})

test('a value that needs many pages has as many freed as it needs', async t => {
  const machine = await bootSmall(t, SIZES)
  const map = mapOf(machine)
  const nrKeys = fill(map)
  for (let i = 0; i < nrKeys; i += 6) map.delete(`key${i}`) // no page is nearly empty

  const huge = 'h'.repeat(800_000)
  map.set('huge', huge)

  equal(map.get('huge'), huge)
  for (let i = 0; i < nrKeys; i++) equal(map.get(`key${i}`), i % 6 === 0 ? undefined : VALUE)
  assertWhole(machine)
})

test('a full machine whose garbage is everywhere gives a whole block', async t => {
  const machine = await bootSmall(t, { memory: '16MiB', maxMemory: '16MiB' })
  const map = mapOf(machine)
  const nrKeys = fill(map)
  for (let i = 0; i < nrKeys; i++) if (i % 3 === 0) map.delete(`key${i}`)

  await machine.memory.offline(3)

  for (let i = 0; i < nrKeys; i++) equal(map.get(`key${i}`), i % 3 === 0 ? undefined : VALUE)
  assertWhole(machine)
})

function codeOf(call: () => unknown): unknown {
  try {
    call()
    return ''
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}
