/* The thread that is killed in the sweeps of deaths: prepares itself, makes one counted call. */
import { Slots } from '../../src/locking/slots.ts'
import { testOracle } from '../bodies/locks.ts'
import { counted } from '../bodies/victims.ts'
import type { VictimData } from '../kill.ts'
import { KINDS, wayOf } from './ways.ts'

/** What the victim is to do. */
export interface LockVictim {
  readonly slots: Int32Array
  readonly words: Int32Array
  /** [0] is set when it is ready, [1] when it shall begin, [2] when its signal is aborted. */
  readonly turns: Int32Array
  readonly kind: string
  readonly way: string
  /** Which half of the way is the call: the other is done before, or not at all. */
  readonly half: 'begin' | 'end'
  /** By what it gives up in the end; null: it does not. */
  readonly limit: 'timeout' | 'signal' | null
}

/** The thread id of every victim. */
export const VICTIM_TID = 9

/** Waits for what ends in vain. @throws {Error} It did not. */
export async function givesUp(call: unknown): Promise<void> {
  const how = await Promise.resolve(call).then(
    () => 'granted',
    ({ code, name }) => (code === 'ETIMEDOUT' || name === 'AbortError' ? '' : `${code} ${name}`),
  )
  if (how !== '') throw new Error(`it did not give up: ${how}`)
}

/** Goes into a lock, or out of it, or in vain. */
export async function goes(victim: VictimData<LockVictim>): Promise<number> {
  const { slots, words, turns, kind, way, half, limit } = victim.data
  const slot = new Slots(slots).attach(testOracle(VICTIM_TID))
  const lock = wayOf(KINDS[kind]!.open(slot, words), way)
  const held = half === 'end' ? await lock.begin() : null
  const options = limit === 'signal' ? { signal: signalAt(turns) } : { timeoutMs: 1 }
  Atomics.store(turns, 0, 1)
  Atomics.notify(turns, 0)
  Atomics.wait(turns, 1, 0)
  return counted(victim, () => {
    if (half === 'end') return lock.end(held)
    return limit === null ? lock.begin() : givesUp(lock.begin(options))
  })
}

function signalAt(turns: Int32Array): AbortSignal {
  const controller = new AbortController()
  const told = Promise.resolve(Atomics.waitAsync(turns, 2, 0).value)
  void told.then(() => controller.abort())
  return controller.signal
}
