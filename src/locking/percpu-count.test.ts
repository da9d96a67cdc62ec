import { equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { type CountsUntil, PERCPU_COUNT_MAX, PercpuCount } from './percpu-count.ts'
import { type Slot, Slots } from './slots.ts'

function twoSlots(until: CountsUntil = 'closed'): {
  table: Slots
  words: Int32Array
  first: Slot
  second: Slot
  a: PercpuCount
  b: PercpuCount
} {
  const table = new Slots(sharedWords(Slots.words(2)))
  const words = sharedWords(PercpuCount.words(2))
  const first = table.attach(testOracle(1))
  const second = table.attach(testOracle(2))
  const a = new PercpuCount(first, words, 0, until)
  const b = new PercpuCount(second, words, 0, until)
  return { table, words, first, second, a, b }
}

test('each slot counts for itself, and findBusy names the first that counts', () => {
  const { a, b } = twoSlots()

  equal(a.findBusy(0), -1)
  b.increment()
  b.increment()
  equal(a.findBusy(0), 1)
  a.increment()
  equal(a.findBusy(0), 0)
  equal(a.findBusy(1), 1)

  equal(b.mine(), 2)
  equal(a.decrement() && b.decrement() && b.decrement(), true)
  equal(a.findBusy(0), -1)
})

test('a count does not go below zero', () => {
  const { a, b } = twoSlots()

  equal(a.decrement(), false)
  equal(a.mine(), 0)
  a.increment()

  equal(b.findBusy(0), 0)
})

test('another thread can count down for the owner it names', () => {
  const { a, b, first, second } = twoSlots()

  a.increment()
  equal(b.decrementOf(second.token), false)
  equal(b.decrementOf(first.token), true)
  equal(b.decrementOf(first.token), false)

  equal(b.findBusy(0), -1)
})

test('a thread counts up to its limit and no further', () => {
  const { a } = twoSlots()

  for (let i = 0; i < PERCPU_COUNT_MAX; i++) a.increment()

  throws(() => a.increment(), { code: 'EAGAIN' })
  equal(a.mine(), PERCPU_COUNT_MAX)
})

test('what a closed slot counted is void, and its next thread begins at zero', () => {
  const { a, b, words, first, table } = twoSlots()

  a.increment()
  table.close(first.index, first.generation)
  equal(b.findBusy(0), -1)
  table.free(first.index, first.generation)
  const next = new PercpuCount(table.attach(testOracle(3)), words, 0, 'closed')

  equal(next.mine(), 0)
  equal(b.decrementOf(first.token), false)
})

test('what may still be in use by I/O counts until its slot is freed', () => {
  const { a, b, first, table } = twoSlots('freed')

  a.increment()
  table.close(first.index, first.generation)
  equal(b.findBusy(0), 0)
  table.free(first.index, first.generation)

  equal(b.findBusy(0), -1)
})

test('a detached slot is refused', () => {
  const { first, words } = twoSlots()
  first.detach()

  throws(() => new PercpuCount(first, words, 0, 'closed'), { code: 'EINVAL' })
})
