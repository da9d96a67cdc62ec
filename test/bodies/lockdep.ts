/* What threads of lockdep's tests do. */
import { HotplugError } from '../../src/lib/errors.ts'
import { Lockdep } from '../../src/locking/lockdep.ts'
import { LockdepGraph } from '../../src/locking/lockdep-graph.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import type { Slot } from '../../src/locking/slots.ts'
import { withLockdep } from '../../src/locking/with-lockdep.ts'
import type { VictimData } from '../kill.ts'
import { attach, type LockData } from './locks.ts'
import { counted } from './victims.ts'

const NR_CLASSES = 3
/** Words of a graph that is small enough for a sweep over its operations. */
export const LOCKDEP_WORDS = LockdepGraph.words(NR_CLASSES, 4096)

/** Mutexes at words[0], words[1], ... named by one letter each, and what watches them. */
export interface WatchedData extends LockData {
  readonly lockdep: Int32Array
  /** Names of the mutexes, in the order to take them. */
  readonly order: string
}

/** The mutex of a letter, watched. */
export function watchedMutex(slot: Slot, data: WatchedData, lockdep: Lockdep, name: string): Mutex {
  const mutex = new Mutex(slot, data.words, name.charCodeAt(0) - 'a'.charCodeAt(0), name)
  return withLockdep(mutex, lockdep, name)
}

/** Takes the mutexes in order and lets go of them; returns what was complained about, or ''. */
export function takeInOrder(data: WatchedData): string {
  const slot = attach(data)
  const lockdep = new Lockdep(slot, data.lockdep, NR_CLASSES)
  const mutexes = [...data.order].map(name => watchedMutex(slot, data, lockdep, name))
  const held: Mutex[] = []
  try {
    for (const mutex of mutexes) {
      mutex.lock()
      held.push(mutex)
    }
    return ''
  } catch (error) {
    if (!(error instanceof HotplugError) || error.code !== 'EDEADLK') throw error
    return error.message
  } finally {
    for (const mutex of held.reverse()) mutex.unlock()
  }
}

/** Makes the mutexes known and takes them all; the last is counted, its class's naming included. */
export function dieTakingTheLast(victim: VictimData<WatchedData>): Promise<number> {
  const { data } = victim
  const slot = attach(data)
  const lockdep = new Lockdep(slot, data.lockdep, NR_CLASSES)
  for (const name of data.order.slice(0, -1)) watchedMutex(slot, data, lockdep, name).lock()
  return counted(victim, () => watchedMutex(slot, data, lockdep, data.order.at(-1)!).lock())
}
