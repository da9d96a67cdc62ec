/*
 * Threads that are killed in the middle of a call; see ../kill.ts. Each prepares itself, then makes
 * one call that is counted.
 */
import { add } from '#atomics'
import { faultAt, faultOff } from '../../src/atomics/fault.ts'
import type { VictimData } from '../kill.ts'

/** Makes the call that is counted; resolves with how many operations it had. */
export async function counted<D>(victim: VictimData<D>, call: () => unknown): Promise<number> {
  faultAt(victim.n, victim.control)
  await call()
  return faultOff()
}

/** Three operations. */
export function countToThree(victim: VictimData<{ words: Int32Array }>): Promise<number> {
  const { words } = victim.data
  return counted(victim, () => {
    for (let i = 0; i < 3; i++) add(words, 0, 1)
  })
}
