import { deepEqual, equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { Mode } from './lockdep-graph.ts'
import { HeldLocks, isSame, placeOf, type Taking, type Tracked } from './lockdep-held.ts'

function tracked(className: string, memory: object = {}): Tracked {
  return { className, class: 0, memory, byteOffset: 0, ownerMayRead: false, isRegion: false }
}

function taking(lock: Tracked, mode: Mode = Mode.Exclusive): Taking {
  return { lock, mode, place: placeOf(taking) }
}

test('a lock is the same under any class, and another one at another place', () => {
  const memory = {}
  const lock = tracked('a', memory)

  equal(isSame(lock, tracked('a/1', memory)), true)
  equal(isSame(lock, { ...lock, byteOffset: 4 }), false)
  equal(isSame(lock, tracked('a')), false)
})

test('an operation keeps its own while it waits, a thread that blocks keeps all', () => {
  const held = new HeldLocks()
  const [mine, ones, others] = [tracked('mine'), tracked('ones'), tracked('others')].map(lock =>
    taking(lock),
  ) as [Taking, Taking, Taking]
  const [one, other] = [{}, {}]

  held.add(null, mine)
  held.add(one, ones)
  held.add(other, others)

  deepEqual(held.keptBy(one), [ones])
  deepEqual(held.keptBy({}), [])
  deepEqual(held.keptBy(null), [mine, ones, others])
})

test('what an operation is in line for counts for a thread that blocks, but is not held', () => {
  const held = new HeldLocks()
  const [first, second] = [taking(tracked('first')), taking(tracked('second'))]

  held.queue(first)
  held.queue(second)
  held.unqueue(first)

  deepEqual(held.inLine(null), [second])
  deepEqual(held.inLine({}), [])
  deepEqual(held.keptBy(null), [])
  equal(held.find(second.lock, null), undefined)
})

test('what is released is kept no more, in whatever order', () => {
  const held = new HeldLocks()
  const lock = tracked('a')
  const [first, second, ones] = [taking(lock), taking(lock), taking(lock)]
  const one = {}
  held.add(null, first)
  held.add(null, second)
  held.add(one, ones)

  equal(held.remove(first), true)
  equal(held.remove(first), false)
  equal(held.remove(ones), true)

  deepEqual(held.keptBy(null), [second])
  deepEqual(held.keptBy(one), [])
})

test('a lock is found by how it is held, and by whose it is', () => {
  const held = new HeldLocks()
  const lock = tracked('a')
  const [read, written] = [taking(lock, Mode.Shared), taking(lock)]
  held.add(null, read)
  held.add({}, written)

  equal(held.find(lock, true), written)
  equal(held.find(lock, false), read)
  equal(held.find(lock, null), written)
  equal(held.find(tracked('a'), null), undefined)
  equal(held.findOwn(lock, true), undefined)
  equal(held.findOwn(lock, false), read)
})

test('a place begins where the function that was named was called', () => {
  const inner = (): string => placeOf(inner).stack
  const outer = (): string => inner()

  match(outer().split('\n')[1]!, /at outer /)
})
