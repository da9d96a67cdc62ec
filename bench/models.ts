/*
 * The model that SPIN and the checker are both given: bench/spin/counter-rwsem.pml.
 */
import { load } from '#atomics'
import { type Checkable, model } from '../src/check/model.ts'
import { CounterRwsem } from '../src/locking/counter-rwsem.ts'
import { Slots } from '../src/locking/slots.ts'
import { aliveThreads, slotOf } from '../test/litmus/threads.ts'

/** The counter form with the private mutex: each thread goes in once. */
function counterRwsem(nrReaders: number, nrWriters: number): Checkable {
  const nrThreads = nrReaders + nrWriters
  return model({
    name: `counter-rwsem: ${nrReaders} readers + ${nrWriters} writers`,
    shared: t => ({
      m: t.int32(CounterRwsem.words(nrThreads)),
      s: t.int32(Slots.words(nrThreads), { init: aliveThreads }),
      d: t.int32({ DATA: 0 }),
    }),
    threads: [
      {
        name: 'reader',
        count: nrReaders,
        body({ m, s, d, id, cs }) {
          const mems = new CounterRwsem(slotOf(s, id), m, 0, { privateMutex: true })
          mems.downRead()
          cs('R')
          load(d, 0)
          cs('')
          mems.upRead()
        },
      },
      {
        name: 'writer',
        count: nrWriters,
        body({ m, s, d, id, cs }) {
          const mems = new CounterRwsem(slotOf(s, id), m, 0, { privateMutex: true })
          mems.downWrite()
          cs('W')
          load(d, 0)
          cs('')
          mems.upWrite()
        },
      },
    ],
    never: s => s.in('W') > 1 || (s.in('W') > 0 && s.in('R') > 0),
    livelock: false,
    maxStates: 200_000_000,
  })
}

/** By size. */
export const models = [counterRwsem(2, 2), counterRwsem(3, 2)]
