import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { killAtEach } from '../../test/kill.ts'
import { sharedWords, TestThread } from '../../test/thread.ts'
import * as fault from './fault.ts'
import * as native from './native.ts'

const BODIES = new URL('../../test/bodies/victims.js', import.meta.url)

test('the twin has every operation of the seam', () => {
  const own = ['FAULT_WORDS', 'Fault', 'faultAt', 'faultOff', 'throwAt']

  const twins = Object.keys(fault).filter(name => !own.includes(name))

  deepEqual(twins.sort(), Object.keys(native).sort())
})

test('its operations do what the seam does', () => {
  const words = sharedWords(4)

  fault.store(words, 0, 5)
  equal(fault.load(words, 0), 5)
  equal(fault.add(words, 0, 2), 5)
  equal(fault.sub(words, 0, 1), 7)
  equal(fault.and(words, 0, 3), 6)
  equal(fault.or(words, 0, 1), 2)
  equal(fault.xor(words, 0, 1), 3)
  equal(fault.exchange(words, 0, 9), 2)
  equal(fault.compareExchange(words, 0, 9, 1), 9)
  equal(fault.wait(words, 0, 0), 'not-equal')
  equal(fault.wait(words, 0, 1, 1), 'timed-out')
  equal(fault.notify(words, 0), 0)
  fault.storePlain(words, 1, 4)
  equal(fault.loadPlain(words, 1), 4)
  fault.copyIn(words, 2, Int32Array.of(7, 8), 0, 2)
  const out = new Int32Array(2)
  fault.copyOut(out, 0, words, 2, 2)
  fault.fillPlain(words, 0, 3, 2)

  deepEqual([...words, ...out], [3, 3, 7, 8, 7, 8])
})

test('a thread dies just before each of its operations, and nothing after it happens', async () => {
  const left: number[] = []

  const nrOperations = await killAtEach({
    module: BODIES,
    name: 'countToThree',
    begin: () => ({ data: { words: sharedWords(1) } }),
    check: ({ data }, died) => {
      if (died) left.push(data.words[0] as number)
      else equal(data.words[0], 3)
    },
  })

  equal(nrOperations, 3)
  deepEqual(left.sort(), [0, 1, 2])
})

test('a thread without the condition is not counted', async () => {
  const data = { n: 1, control: sharedWords(fault.FAULT_WORDS), data: { words: sharedWords(1) } }

  equal(await new TestThread(BODIES, 'countToThree', data).result, 0)
})
