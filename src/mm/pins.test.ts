import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import type { PinData } from '../../test/bodies/pins.ts'
import { killAtEach } from '../../test/kill.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { Slots, tokenOf } from '../locking/slots.ts'
import { type PinRecord, Pins } from './pins.ts'

const BODIES = new URL('../../test/bodies/pins.js', import.meta.url)
const NR_SLOTS = 4

interface Scene {
  readonly slots: Slots
  readonly mine: Pins
  readonly data: PinData
}

/** The calling thread has slot 0; others attach with `data`. */
function scene(nrRecords: number): Scene {
  const slots = new Slots(sharedWords(Slots.words(NR_SLOTS)))
  const pins = sharedWords(Pins.words(nrRecords))
  const mine = new Pins(slots.attach(testOracle(1)), pins)
  return { slots, mine, data: { slots: slots.words, pins, tid: 2, stop: sharedWords(1) } }
}

const pin = { pfn: 7, nrPages: 3, owner: 'a buffer', sinceMs: 1_764_000_000_123.9 }

test('a pin tells which pages, whose, since when, until it is released', () => {
  const { mine } = scene(2)

  const record = mine.take(pin)

  const token = tokenOf(0, 0)
  deepEqual(mine.describe(record), { ...pin, record, token, sinceMs: 1_764_000_000_123 })
  deepEqual(mine.all(), [mine.describe(record)])
  equal(mine.mine(), 1)
  mine.release(record)
  equal(mine.describe(record), null)
  deepEqual(mine.all(), [])
  equal(mine.mine(), 0)
})

test('when all records are taken there is none, and a long name is cut', () => {
  const { mine } = scene(2)
  const owner = 'ö'.repeat(40)

  const taken = [mine.take(pin), mine.take({ ...pin, owner }), mine.take(pin)]

  deepEqual(taken, [0, 1, -1])
  equal(mine.describe(1)?.owner, 'ö'.repeat(24))
  mine.release(0)
  equal(mine.take(pin), 0)
})

test('only who took a record releases it, once', () => {
  const { mine, data } = scene(2)
  const other = new Pins(new Slots(data.slots).attach(testOracle(2)), data.pins)
  const record = mine.take(pin)

  throws(() => other.release(record), /not held by this thread/)
  mine.release(record)
  throws(() => mine.release(record), /not held by this thread/)
})

test('the slot of a thread that has pins stays taken, and its pins last as long', async () => {
  const { slots, mine, data } = scene(2)
  await new TestThread(BODIES, 'takeAndDetach', data).result
  const isFreed = (token: number): boolean => slots.isFreed(token)

  deepEqual(mine.recover(isFreed), [])
  equal(mine.describe(0)?.owner, 'gone')

  slots.reap(1, testOracle(1, [2]))
  const settled: PinRecord[] = []
  const found = mine.recover(isFreed, record => {
    ok(mine.describe(record.record), 'it is settled before it is taken out')
    settled.push(record)
  })
  deepEqual(
    found.map(({ pfn, owner }) => [pfn, owner]),
    [[5, 'gone']],
  )
  deepEqual(settled, found)
  deepEqual(mine.all(), [])
})

test('recovery that is cut short while it settles is done again', () => {
  const { slots, mine, data } = scene(2)
  const theirs = new Slots(data.slots).attach(testOracle(2))
  new Pins(theirs, data.pins).take(pin)
  slots.reap(1, testOracle(1, [2]))
  const isFreed = (token: number): boolean => slots.isFreed(token)
  const interrupt = (): never => {
    throw new Error('interrupted')
  }

  throws(() => mine.recover(isFreed, interrupt), /interrupted/)

  equal(mine.recover(isFreed).length, 1)
  equal(mine.recover(isFreed).length, 0)
})

test('what is seen of a record belongs together while threads take it in turns', async () => {
  const { mine, data } = scene(1)
  const threads = [2, 3].map(tid => new TestThread(BODIES, 'takeAndRelease', { ...data, tid }))
  const nrSeen = [0, 0]

  await until('each holder was seen a thousand times', () => {
    for (let i = 0; i < 1000; i++) {
      const seen = mine.describe(0)
      if (seen === null) continue
      const { pfn, nrPages, owner, sinceMs, token } = seen
      deepEqual([nrPages, owner, sinceMs], [pfn, `holder ${pfn}`, pfn * 2 ** 20])
      nrSeen[token === tokenOf(1, 0) ? 0 : 1]! += 1
    }
    return nrSeen.every(nr => nr >= 1000)
  })

  Atomics.store(data.stop, 0, 1)
  await Promise.all(threads.map(thread => thread.result))
})

test('a holder killed at any operation leaves nothing once it is gone', async () => {
  await killAtEach<Scene, PinData>({
    module: BODIES,
    name: 'holdOnce',
    begin: () => scene(2),
    check: ({ slots, mine }) => {
      slots.reap(1, testOracle(1, [2]))
      const found = mine.recover(token => slots.isFreed(token))
      ok(found.length <= 1)
      for (const { pfn, nrPages, owner } of found)
        deepEqual([pfn, nrPages, owner], [5, 2, 'doomed'])
      deepEqual([mine.take(pin), mine.take(pin)].sort(), [0, 1])
    },
  })
})
