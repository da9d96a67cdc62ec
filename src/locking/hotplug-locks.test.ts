import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { Locks } from '../locking.ts'
import { HotplugLocks } from './hotplug-locks.ts'
import { PLACES } from './percpu-gate.ts'
import { CACHE_LINE_WORDS, Slots } from './slots.ts'

const BODIES = new URL('../../test/bodies/machine.js', import.meta.url)
const MUTEXES = ['deviceHotplugLock', 'cpuAddRemoveLock', 'memAddRemoveLock'] as const
const RWSEMS = ['cpuHotplugLock', 'memHotplugLock'] as const

/** Of each word that threads sleep on while they wait for a lock of the machine: its name. */
function wordsSleptOn(locks: HotplugLocks): { name: string; words: Int32Array; index: number }[] {
  const { nrSlots } = locks.slot.slots
  const mutexes = MUTEXES.map(name => ({ ...pick(locks[name]), name }))
  const rwsems = RWSEMS.flatMap(name => {
    const { words, index } = locks[name]
    const places = Array.from({ length: nrSlots }, (_, slot) => ({
      name: `${name}, the place of slot ${slot}`,
      words,
      index: index + PLACES + slot * CACHE_LINE_WORDS,
    }))
    return [{ name: `${name}, its queue`, words, index: index + CACHE_LINE_WORDS }, ...places]
  })
  return [...mutexes, ...rwsems]
}

function pick({ words, index }: { words: Int32Array; index: number }) {
  return { words, index }
}

/** Sleeps on each of them from now on, and for ever: no heartbeat. */
function sleepers(locks: HotplugLocks): { asleep(): string[] } {
  const names = new Set<string>()
  for (const { name, words, index } of wordsSleptOn(locks)) {
    names.add(name)
    const sleep = Atomics.waitAsync(words, index, Atomics.load(words, index))
    void Promise.resolve(sleep.value).then(woken => woken === 'ok' && names.delete(name))
  }
  return { asleep: () => [...names] }
}

/** Waits until all are awake, or long enough to say who is not. */
async function untilAwake({ asleep }: { asleep(): string[] }): Promise<void> {
  await until('all sleepers wake', () => asleep().length === 0).catch(() => {})
  deepEqual(asleep(), [], 'these sleep on')
}

test('every word that threads sleep on for a lock is notified of any death', async () => {
  const table = new Slots(sharedWords(Slots.words(3)))
  const words = sharedWords(HotplugLocks.words(3))
  const locks = new HotplugLocks(table.attach(testOracle(1)), words, null)
  const victim = table.attach(testOracle(2)) // holds nothing, and waits for nothing

  const sleeping = sleepers(locks)
  table.close(victim.index, victim.generation)

  await untilAwake(sleeping)
})

test('every such word of a machine is notified of the death of a worker', async t => {
  const locks = await Locks.boot({ threads: 3 })
  t.after(() => locks.shutdown())
  const data = { handle: locks.handle, words: sharedWords(4) }
  const worker = new TestThread(BODIES, 'stay', data)
  await until('it is attached', () => data.words[0] === 1)

  const sleeping = sleepers(locks)
  await worker.kill()

  await untilAwake(sleeping)
})
