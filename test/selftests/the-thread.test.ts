/*
 * The thread of March 2017 on real threads: rows 6, 9 and 10 of docs/the-thread.md, and T10. Their
 * models are in litmus/the-thread.check.ts.
 */
import { deepEqual, equal } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { Slots } from '../../src/locking/slots.ts'
import { Locks } from '../../src/locking.ts'
import { testOracle } from '../bodies/locks.ts'
import {
  DONE,
  type OldLockData,
  oldLockWords,
  PINS,
  REGION,
  Region,
  type ThreadData,
} from '../bodies/the-thread.ts'
import { sharedWords, TestThread, until } from '../thread.ts'

const BODIES = new URL('../bodies/the-thread.js', import.meta.url)

/** Of the counter form's words: 1 while the thread of the second slot sleeps, and of the third. */
const SLEEPS = 6
const SLEEPS_TOO = 8

async function boot(t: TestContext): Promise<Locks> {
  const locks = await Locks.boot({ threads: 3 })
  t.after(() => locks.shutdown())
  return locks
}

function start(name: string, data: ThreadData): TestThread {
  return new TestThread(BODIES, name, data)
}

test('row 6: writers that lose each other do not if all of them hold the device lock', async () => {
  const { nrWords, meetings } = oldLockWords(3)
  const [slots, words] = [sharedWords(Slots.words(3)), sharedWords(nrWords)]

  const threads = ['write', 'write', 'readBeside'].map((name, i) => {
    const data: OldLockData = { slots, words, tid: i + 1, rounds: 2000, locksDevice: true }
    return new TestThread(BODIES, name, data)
  })
  await Promise.all(threads.map(({ result }) => result))

  equal(words[meetings], 0)
})

test('row 6: one call site that forgets it sleeps for ever', async () => {
  const [slots, words] = [sharedWords(Slots.words(3)), sharedWords(oldLockWords(3).nrWords)]
  const mine = new Slots(slots).attach(testOracle(1))
  const mems = new CounterRwsem(mine, words, 0, { privateMutex: false })
  const write = (tid: number, locksDevice: boolean): TestThread => {
    const data: OldLockData = { slots, words, tid, rounds: 1, locksDevice }
    return new TestThread(BODIES, 'write', data)
  }

  mems.downRead()
  const forgetful = write(2, false)
  await until('one waits for the reader', () => Atomics.load(words, SLEEPS) === 1)
  const other = write(3, true)
  await until('so does another', () => Atomics.load(words, SLEEPS_TOO) === 1)
  mems.upRead()
  await other.result

  equal(words[SLEEPS], 1)
  deepEqual([...words.subarray(0, 4)], [0, 0, 0, 0], 'nobody is there to wake it')
  await forgetful.kill()
})

test('row 9: nothing comes back between the stages, nor before a failed one is undone', async t => {
  const { handle } = await boot(t)
  const words = sharedWords(4)

  const operator = start('bringBack', { handle, words })
  const eject = start('ejectAgain', { handle, words, rounds: 200 })

  deepEqual([await eject.result, await operator.result], [0, 0])
  deepEqual([...words.subarray(REGION, REGION + 2)], [Region.Online, Region.Online])
})

test('row 9: an operator without the device lock brings back what is about to go', async t => {
  const { handle } = await boot(t)
  const words = sharedWords(4)

  const operator = start('bringBack', { handle, words, locksDevice: false })
  const eject = start('ejectSlowly', { handle, words })

  deepEqual([await eject.result, await operator.result], [1, 1])
})

test('row 10: pmem leaves once its pins are gone, whoever holds the device lock', async t => {
  const locks = await boot(t)
  const words = sharedWords(PINS + PercpuRef.words(locks.slot.slots.nrSlots))
  const pins = new PercpuRef(locks.slot, words, PINS)
  locks.lockDeviceHotplug()
  pins.tryGet()

  const removal = start('removePmem', { handle: locks.handle, words })
  await until('its pins are refused', () => Atomics.load(words, DONE) === 1)
  equal(pins.tryGet(), false)
  equal(words[REGION], Region.Online)
  pins.put()
  await removal.result

  equal(words[REGION], Region.Removed)
  locks.unlockDeviceHotplug()
})

test('T10: a CPU goes off and on 5,000 times beside a reader, and nobody hangs', async t => {
  const { handle } = await boot(t)
  const words = sharedWords(4)

  const reader = start('readCpus', { handle, words })
  await until('the reader reads', () => Atomics.load(words, DONE) > 0)
  const writer = start('offAndOn', { handle, words, rounds: 5000 })

  await Promise.all([writer.result, reader.result])
})
