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
  /** [0] is set when it is ready, [1] when it shall begin. */
  readonly turns: Int32Array
  readonly kind: string
  readonly way: string
  /** Which half of the way is the call: the other is done before, or not at all. */
  readonly half: 'begin' | 'end'
}

/** The thread id of every victim. */
export const VICTIM_TID = 9

/** Goes into a lock, or out of it. */
export async function goes(victim: VictimData<LockVictim>): Promise<number> {
  const { slots, words, turns, kind, way, half } = victim.data
  const slot = new Slots(slots).attach(testOracle(VICTIM_TID))
  const lock = wayOf(KINDS[kind]!.open(slot, words), way)
  const held = half === 'end' ? await lock.begin() : null
  Atomics.store(turns, 0, 1)
  Atomics.notify(turns, 0)
  Atomics.wait(turns, 1, 0)
  return counted(victim, () => (half === 'end' ? lock.end(held) : lock.begin()))
}
