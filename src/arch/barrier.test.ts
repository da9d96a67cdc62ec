import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { sharedWords } from '../../test/thread.ts'
import { BarrierRequests } from './barrier.ts'

test('a request is served once, by the ring of its bell', () => {
  const requests = new BarrierRequests(sharedWords(2), 0)
  let nrBarriers = 0
  const bell = { ring: () => requests.serve(() => nrBarriers++) }

  requests.request(bell, () => {})
  requests.request(bell, () => {})
  requests.serve(() => nrBarriers++)

  equal(nrBarriers, 2)
})

test('one barrier serves all who asked before it', () => {
  const words = sharedWords(2)
  const requests = new BarrierRequests(words, 0)
  let nrBarriers = 0

  words[0] = 3
  requests.serve(() => nrBarriers++)

  equal(nrBarriers, 1)
  deepEqual([...words], [3, 3])
})

test('counters that overflow go on', () => {
  const words = sharedWords(2)
  words.fill(0x7fffffff)
  const requests = new BarrierRequests(words, 0)
  let nrBarriers = 0

  requests.request({ ring: () => requests.serve(() => nrBarriers++) }, () => {})

  equal(nrBarriers, 1)
  deepEqual([...words], [-0x80000000, -0x80000000])
})

test('who waits long is called back, and can help itself', () => {
  const requests = new BarrierRequests(sharedWords(2), 0)
  let nrBarriers = 0

  requests.request({ ring: () => {} }, () => requests.serve(() => nrBarriers++))

  equal(nrBarriers, 1)
})
