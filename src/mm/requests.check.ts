/*
 * Requests to the service thread: two clients in turn, each of whom gets the answer to its own; a
 * bell that is lost; a death of a client, or of the service thread, whose successor serves again.
 */
import { add, load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { Mutex } from '../locking/mutex.ts'
import { Slots } from '../locking/slots.ts'
import { type Request, type RequestBell, Requests } from './requests.ts'

/** Words of the requests. */
const POSTED = 0
const DONE = 1
const KIND = 2
const RESULTS = 8
/** What is beside it. */
const LOCK = 0
const BELL = 1
const TRIED = 2
const STOP = 3
/** Which clients have ended. */
const ENDED = 4
const NR_CLIENTS = 2

interface Face {
  readonly s: Words
  readonly r: Words
  readonly d: Words
  readonly id: number
  awaitDeath(): number
}

type Kind = typeof Requests

/** Rings as slots do. */
class ModelBell implements RequestBell {
  readonly words: Words

  constructor(words: Words) {
    this.words = words
  }

  ring(): void {
    add(this.words, BELL, 1)
    notify(this.words, BELL)
  }
}

/** Rings, and nobody hears it. */
class LostBell extends ModelBell {
  override ring(): void {}
}

interface Parts {
  readonly K: Kind
  readonly B: typeof ModelBell
}

const SHIPPED: Parts = { K: Requests, B: ModelBell }

function open({ r, d }: Face, { K, B }: Parts): Requests {
  return new K(r, 0, new B(d), d.subarray(STOP))
}

/** A request that no other client has, and its answer. */
function requestOf(id: number): Request {
  return { kind: id + 1, args: [id + 1, 0, 0, id + 1] }
}

/** Asks under the lock that makes clients come one after another. */
function client(parts: Parts) {
  return (face: Face): void => {
    const lock = new Mutex(slotOf(face.s, face.id), face.d, LOCK)
    const requests = open(face, parts)
    lock.lock()
    const answer = requests.ask(requestOf(face.id))
    assert(answer[0] === answer[1], 'half an answer')
    assert(answer[0] === 10 * (face.id + 1), "another's answer")
    lock.unlock()
    end(face, face.id)
  }
}

/** Asks for what cannot be done at the first try. */
function clientOfWhatFails(parts: Parts) {
  return (face: Face): void => {
    const requests = open(face, parts)
    const code = codeOfAnswer(requests, FAILS - 1)
    const nrTried = load(face.d, TRIED)
    const expected = nrTried === 1 ? 'EBUSY' : ''
    assert(code === expected, `${code} after ${nrTried} tries`)
    end(face, face.id)
  }
}

function codeOfAnswer(requests: Requests, id: number): string {
  try {
    requests.ask(requestOf(id))
    return ''
  } catch (error) {
    if (!(error instanceof HotplugError)) throw error
    return error.code
  }
}

function end({ d }: Face, id: number): void {
  store(d, ENDED + id, 1)
  new ModelBell(d).ring()
}

function haveEnded({ d }: Face, nrClients: number): boolean {
  for (let id = 0; id < nrClients; id++) {
    const hasEnded = load(d, ENDED + id)
    if (hasEnded === 0) return false
  }
  return true
}

/** Serves until the clients have ended. */
function serve(face: Face, parts: Parts, nrClients: number): void {
  const requests = open(face, parts)
  requests.start()
  for (;;) {
    const bell = load(face.d, BELL)
    const request = requests.next()
    if (request !== null) {
      answer(face, requests, request)
      continue
    }
    if (haveEnded(face, nrClients)) return
    wait(face.d, BELL, bell, 50)
  }
}

function answer({ d }: Face, requests: Requests, { kind, args }: Request): void {
  assert(kind === args[0] && kind === args[3], 'a request of two clients')
  const nrTried = kind === FAILS ? load(d, TRIED) : 0
  if (kind === FAILS && nrTried < 2) store(d, TRIED, nrTried + 1)
  if (kind === FAILS && nrTried === 0) requests.fail('EBUSY')
  else requests.finish([10 * kind, 10 * kind])
}

/** The kind that fails when it is tried first. */
const FAILS = 9

/** Releases what a dead client held; serves in place of a dead service thread. */
function successor(parts: Parts, service: number) {
  return (face: Face): void => {
    const dead = face.awaitDeath()
    const slots = new Slots(face.s)
    slots.register(new Mutex(slotOf(face.s, face.id), face.d, LOCK))
    slots.close(dead, 0)
    if (dead === service) serve(face, parts, service)
    else end(face, dead)
  }
}

interface Setting {
  readonly parts?: Parts
  readonly deaths?: number
  readonly timeouts?: boolean
}

const WORDS = {
  shared: { LOCK, BELL, TRIED, STOP, ENDED: [ENDED, ENDED + NR_CLIENTS] },
  requests: { POSTED, DONE, KIND, ARGUMENT: [3, 7], FAILURE: 7, RESULT: [RESULTS, Requests.WORDS] },
} as const

/** Two clients, and whom they ask. */
function requests(name: string, setting: Setting = {}) {
  const { parts = SHIPPED, deaths = 0, timeouts = false } = setting
  const next = { name: 'successor', daemon: true, body: successor(parts, NR_CLIENTS) }
  return model({
    name: `requests: ${name}`,
    shared: t => ({
      s: t.int32(Slots.words(NR_CLIENTS + 2), { init: aliveThreads }),
      r: t.int32(WORDS.requests),
      d: t.int32(WORDS.shared),
    }),
    threads: [
      { name: 'client', body: client(parts) },
      { name: 'another', body: client(parts) },
      { name: 'service', body: (face: Face) => serve(face, parts, NR_CLIENTS) },
      ...(deaths === 0 ? [] : [next]),
    ],
    deaths,
    timeouts,
    atEnd: s => s.r.POSTED === s.r.DONE || s.dead(0) || s.dead(1),
  })
}

/** One client asks for what fails when it is tried first, and succeeds when it is done again. */
function failing(name: string, parts: Parts = SHIPPED) {
  return model({
    name: `requests: ${name}`,
    shared: t => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      r: t.int32(WORDS.requests),
      d: t.int32(WORDS.shared),
    }),
    threads: [
      { name: 'client', body: clientOfWhatFails(parts) },
      { name: 'service', body: (face: Face) => serve(face, parts, 1) },
      {
        name: 'successor',
        daemon: true,
        body: successor(parts, 1),
      },
    ],
    deaths: 1,
  })
}

/** A client asks while the machine is shut down: nobody serves. */
const shutDown = model({
  name: 'requests: the machine is shut down',
  shared: t => ({
    s: t.int32(Slots.words(2), { init: aliveThreads }),
    r: t.int32(WORDS.requests),
    d: t.int32(WORDS.shared),
  }),
  threads: [
    {
      name: 'client',
      body: (face: Face) => {
        const code = codeOfAnswer(open(face, SHIPPED), 0)
        assert(code === 'ENODEV', `${code} of nobody`)
      },
    },
    { name: 'main', body: ({ d }: Face) => store(d, STOP, 1) },
  ],
  timeouts: true,
})

/** Posts over what a dead client has asked for. */
class WithoutC1 extends Requests {
  override ask(request: Request): number[] {
    this.post(request)
    this.settle()
    return this.answer()
  }
}

/** Says that there is a request, then which. */
class C3BeforeC2 extends Requests {
  override post(request: Request): void {
    add(this.words, POSTED, 1)
    fill(this.words, request)
    this.bell.ring()
  }
}

function fill(words: Words, { kind, args }: Request): void {
  store(words, KIND, kind)
  for (let i = 0; i < args.length; i++) store(words, KIND + 1 + i, args[i]!)
}

/** Rings before it posts. */
class C4BeforeC3 extends Requests {
  override post(request: Request): void {
    this.bell.ring()
    fill(this.words, request)
    add(this.words, POSTED, 1)
  }
}

/** Does not wait for the answer. */
class WithoutC5 extends Requests {
  override ask(request: Request): number[] {
    this.settle()
    this.post(request)
    return this.answer()
  }
}

/** Says that it is done, then with what result. */
class S3BeforeS2 extends Requests {
  override finish(results: readonly number[]): void {
    const posted = load(this.words, POSTED)
    store(this.words, DONE, posted)
    super.finish(results)
  }
}

/** Wakes nobody. */
class WithoutS4 extends Requests {
  override finish(results: readonly number[]): void {
    for (let i = 0; i < results.length; i++) store(this.words, RESULTS + i, results[i]!)
    const posted = load(this.words, POSTED)
    store(this.words, DONE, posted)
  }
}

/** Does not look for those whom its predecessor left asleep. */
class WithoutS0 extends Requests {
  override start(): void {}
}

/** What `npm run check` runs. */
export const models = [
  requests('2 clients'),
  requests('2 clients, their bell is lost', {
    parts: { K: Requests, B: LostBell },
    timeouts: true,
  }),
  requests('2 clients, one dies or the service thread', { deaths: 1 }),
  failing('what failed is done again by a successor'),
  shutDown,
  broken('without C1', WithoutC1, 'exception', { deaths: 1 }),
  broken('C3 before C2', C3BeforeC2, 'exception'),
  broken('without C5', WithoutC5, 'exception'),
  broken('S3 before S2', S3BeforeS2, 'exception'),
  broken('without S4', WithoutS4, 'deadlock'),
  broken('without S0', WithoutS0, 'deadlock', { deaths: 1 }),
  broken('C4 before C3', C4BeforeC3, 'deadlock'),
]

function broken(
  name: string,
  K: Kind,
  kind: 'exception' | 'deadlock',
  { deaths = 0 }: Setting = {},
) {
  return mustFail(requests(name, { deaths, parts: { K, B: ModelBell } }), { kind })
}
