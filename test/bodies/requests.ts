/* Threads that ask a service thread; see src/mm/requests.test.ts. */
import { Requests } from '../../src/mm/requests.ts'
import type { VictimData } from '../kill.ts'
import { counted } from './victims.ts'

/** Shared memory of a test of requests. */
export interface RequestData {
  readonly words: Int32Array
  /** Its first word is not 0 once nobody serves. */
  readonly stop: Int32Array
  readonly rounds: number
}

/** Requests whose service thread looks by itself. */
export function openRequests({ words, stop }: RequestData): Requests {
  return new Requests(words, 0, { ring: () => {} }, stop)
}

/** Asks for the square of each number. */
export function askSquares(data: RequestData): number[] {
  const requests = openRequests(data)
  return Array.from({ length: data.rounds }, (_, i) => {
    const [square] = requests.ask({ kind: 1, args: [i] })
    return square!
  })
}

/** One request, to be killed at each operation. */
export function askOnce(victim: VictimData<RequestData>): Promise<number> {
  const requests = openRequests(victim.data)
  return counted(victim, () => {
    requests.ask({ kind: 1, args: [5] })
  })
}
