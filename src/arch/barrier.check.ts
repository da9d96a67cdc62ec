/*
 * Requests for barriers: everybody who asks gets one that began after it asked, also from the
 * successor of a service thread that died.
 */
import { add, load, notify, store, type Words, wait } from '#atomics'
import { model, mustFail } from '../check/model.ts'
import { BarrierRequests } from './barrier.ts'

const REQUESTED = 0
const DONE = 1
const BELL = 0
/** Counts the barriers: an asking thread must find it higher than before it asked. */
const BARRIERS = 1
/** Which askers need no more. */
const SERVED = 2

const WORDS = { BELL, BARRIERS, SERVED: [SERVED, SERVED + 2] } as const

type Kind = typeof BarrierRequests

interface Face {
  readonly b: Words
  readonly d: Words
  readonly id: number
}

/** Rings as slots do. */
class Bell {
  readonly words: Words

  constructor(words: Words) {
    this.words = words
  }

  ring(): void {
    add(this.words, BELL, 1)
    notify(this.words, BELL)
  }
}

function asker({ b, d, id }: Face, Requests: Kind, times = 1): void {
  for (let i = 0; i < times; i++) {
    const before = load(d, BARRIERS)
    new Requests(b, 0).request(new Bell(d), () => {})
    const after = load(d, BARRIERS)
    if (after === before) throw new Error('no barrier since it asked')
  }
  served(d, id)
}

function served(d: Words, id: number): void {
  store(d, SERVED + id, 1)
  new Bell(d).ring()
}

function areAllServed(d: Words, nrAskers: number): boolean {
  for (let id = 0; id < nrAskers; id++) {
    const isServed = load(d, SERVED + id)
    if (isServed === 0) return false
  }
  return true
}

/** Serves until `nrAskers` are served. */
function service({ b, d }: Face, Requests: Kind, nrAskers: number): void {
  const requests = new Requests(b, 0)
  requests.start()
  for (;;) {
    const bell = load(d, BELL)
    if (areAllServed(d, nrAskers)) return
    requests.serve(() => add(d, BARRIERS, 1))
    wait(d, BELL, bell)
  }
}

/** Two askers, the second of whom asks so many times. */
function askers(name: string, Requests: Kind, times = 1) {
  return model({
    name,
    shared: t => ({ b: t.int32({ REQUESTED, DONE }), d: t.int32(WORDS) }),
    threads: [
      { name: 'asker', body: face => asker(face, Requests) },
      { name: 'another', body: face => asker(face, Requests, times) },
      { name: 'service', body: face => service(face, Requests, 2) },
    ],
  })
}

/** The first service thread dies anywhere; main starts the second. */
function successor(name: string, Requests: Kind) {
  return model({
    name,
    shared: t => ({ b: t.int32({ REQUESTED, DONE }), d: t.int32(WORDS) }),
    threads: [
      { name: 'asker', count: 2, body: face => asker(face, Requests) },
      { name: 'service', body: face => service(face, Requests, 2) },
      {
        name: 'successor',
        daemon: true,
        body: face => {
          const dead = face.awaitDeath()
          if (dead === 2) service(face, Requests, 2)
          else served(face.d, dead)
        },
      },
    ],
    deaths: 1,
  })
}

/** Says that all are served who have asked by the end. */
class CountsTooLate extends BarrierRequests {
  override serve(barrier: () => void): void {
    const words = wordsOf(this)
    const done = load(words, DONE)
    if (load(words, REQUESTED) === done) return
    barrier()
    store(words, DONE, load(words, REQUESTED))
    notify(words, DONE)
  }
}

/** Wakes one of those whom it serves. */
class WakesOne extends BarrierRequests {
  override serve(barrier: () => void): void {
    const words = wordsOf(this)
    const all = load(words, REQUESTED)
    if (all === load(words, DONE)) return
    barrier()
    store(words, DONE, all)
    notify(words, DONE, 1)
  }
}

/** Does not look for those whom its predecessor left asleep. */
class StartsBlindly extends BarrierRequests {
  override start(): void {}
}

/** Rings before it asks. */
class RingsFirst extends BarrierRequests {
  override request(bell: { ring(): void }, onHeartbeat: () => void): void {
    bell.ring()
    super.request({ ring: () => {} }, onHeartbeat)
  }
}

function wordsOf(requests: BarrierRequests): Words {
  return (requests as unknown as { words: Words }).words
}

/** What `npm run check` runs. */
export const models = [
  askers('barrier: 2 ask', BarrierRequests),
  askers('barrier: 2 ask, one of them twice', BarrierRequests, 2),
  successor('barrier: 2 ask, the service thread dies or one of them', BarrierRequests),
  mustFail(askers('barrier: counts who asked too late', CountsTooLate), { kind: 'exception' }),
  mustFail(askers('barrier: wakes one of all', WakesOne), { kind: 'deadlock' }),
  mustFail(askers('barrier: rings before it asks', RingsFirst), { kind: 'deadlock' }),
  mustFail(successor('barrier: leaves the sleepers of its predecessor', StartsBlindly), {
    kind: 'deadlock',
  }),
]
