/*
 * Slots: threads that attach and detach, die at it, and are reaped by two at once who die too.
 *
 * The table has one slot. Thread ids are given again: whoever comes after a dead thread has its id,
 * and another start time, as the kernel may do at worst.
 */
import { compareExchange, load, store, type Words, wait } from '#atomics'
import { model, mustFail } from '../check/model.ts'
import { HotplugError } from '../lib/errors.ts'
import { type Slot, Slots, type ThreadOracle, TID_MAX, tokenOf } from './slots.ts'

const STATE = 16
const CLAIM = 17
const START = 18
const ALIVE = 1
const GONE = 2
const TABLE = { DOORBELL: 0, STATE, CLAIM, START } as const

/** The id and start time of the thread that is dead from the beginning. */
const DEAD = { tid: 1, start: 1 }

interface Face {
  readonly s: Words
  readonly id: number
  cs(label: string): void
}

/** An oracle that knows which of the model's threads is dead. */
class Oracle implements ThreadOracle {
  readonly tid: number
  readonly start: number
  readonly dead: number

  constructor(tid: number, start: number, dead = 0) {
    this.tid = tid
    this.start = start
    this.dead = dead
  }

  exists(tid: number, start: number): boolean {
    if (tid === DEAD.tid && start === DEAD.start) return false
    return tid !== this.dead
  }
}

/** Recovery must come after the close, and may come twice. */
class Recovery {
  readonly slots: Slots

  constructor(slots: Slots) {
    this.slots = slots
  }

  recover(token: number): void {
    if (this.slots.isAlive(token)) throw new Error('recovered from a living thread')
  }
}

/** Attaches if there is room, is inside, detaches. */
function taker({ s, cs }: Face, tid: number, Table: typeof Slots): void {
  const slot = attachTo(new Table(s), new Oracle(tid, 2))
  if (slot === null) return
  cs('attached')
  const isAlive = slot.slots.isAlive(slot.token)
  if (!isAlive) throw new Error('taken for dead')
  cs('')
  slot.detach()
}

function attachTo(slots: Slots, oracle: ThreadOracle): Slot | null {
  try {
    return slots.attach(oracle)
  } catch (error) {
    if (error instanceof HotplugError) return null // ENOSPC
    throw error
  }
}

/** Reaps the thread that has died, if it has the slot. */
function reaper({ s }: Face, dead: number, Table: typeof Slots): void {
  const slots = new Table(s)
  slots.register(new Recovery(slots))
  slots.reap(0, new Oracle(0, 0, dead))
}

/** Closes the slot by a hint. */
function hinter({ s }: Face, Table: typeof Slots): void {
  const slots = new Table(s)
  slots.close(0, 0)
}

/** The slot is the dead thread's. */
function takenByTheDead(words: Words): void {
  words[STATE] = ALIVE
  words[CLAIM] = DEAD.tid
  words[START] = DEAD.start
}

function isFree({ STATE, CLAIM, START }: Readonly<Record<keyof typeof TABLE, number>>): boolean {
  return CLAIM === 0 && (STATE & 3) === 0 && START === 0
}

function isTaken({ STATE, CLAIM, START }: Readonly<Record<keyof typeof TABLE, number>>): boolean {
  return CLAIM !== 0 && START !== 0 && (STATE & 3) === ALIVE
}

/** A dead thread's slot; two reapers, one of which may die; and the next user of its id. */
function reused(name: string, Table: typeof Slots, deaths: number) {
  return model({
    name,
    shared: t => ({
      s: t.int32(TABLE, { length: Slots.words(1), init: takenByTheDead }),
    }),
    threads: [
      { name: 'reaper', count: 2, body: face => reaper(face, -1, Table) },
      { name: 'taker', body: face => taker(face, DEAD.tid, Table) },
    ],
    deaths,
    never: s => s.in('attached') > 0 && !isTaken(s.s),
    atEnd: s => Table !== Slots || deaths > 0 || isFree(s.s),
  })
}

/** Sleeps on the doorbell until two slots are taken: whoever attaches tells the service thread. */
function service({ s }: Face): void {
  const slots = new Slots(s)
  for (;;) {
    const bell = load(s, 0)
    const first = slots.tokenAt(0)
    const second = slots.tokenAt(1)
    if (first !== 0 && second !== 0) return
    wait(s, 0, bell)
  }
}

/** Sleeps on the doorbell until there is room; attaches and detaches. */
function patient({ s, id }: Face): void {
  const slots = new Slots(s)
  const oracle = new Oracle(id + 2, 2)
  for (;;) {
    const bell = load(s, 0)
    const slot = attachTo(slots, oracle)
    if (slot !== null) {
      slot.detach()
      return
    }
    wait(s, 0, bell)
  }
}

/** Reaps by what it saw of two owners. */
class LooksOnce extends Slots {
  override reap(index: number, oracle: ThreadOracle): boolean {
    const claim = load(this.words, CLAIM)
    const start = load(this.words, START)
    const state = load(this.words, STATE)
    if (claim === 0 || oracle.exists(claim & TID_MAX, start)) return false
    this.close(index, state >>> 2)
    this.free(index, state >>> 2)
    return true
  }
}

/** Leaves the start time of who has gone. */
class LeavesStart extends Slots {
  override free(_index: number, generation: number): void {
    const claim = load(this.words, CLAIM)
    const gone = (generation << 2) | GONE
    const next = (generation + 1) << 2
    if (compareExchange(this.words, STATE, gone, next) !== gone) return
    compareExchange(this.words, CLAIM, claim, 0)
  }
}

/** Opens the slot to others before it is whole. */
class FreesTooEarly extends Slots {
  override free(_index: number, generation: number): void {
    const start = load(this.words, START)
    const claim = load(this.words, CLAIM)
    compareExchange(this.words, START, start, 0)
    compareExchange(this.words, CLAIM, claim, 0)
    store(this.words, STATE, (generation + 1) << 2)
  }
}

/** Recovers before it closes. */
class RecoversFirst extends Slots {
  override close(index: number, generation: number): boolean {
    new Recovery(this).recover(tokenOf(index, generation))
    return super.close(index, generation)
  }
}

/** What `npm run check` runs. */
export const models = [
  model({
    name: 'slots: 2 attach and detach, one dies, 2 reap',
    shared: t => ({ s: t.int32(TABLE, { length: Slots.words(1) }) }),
    threads: [
      { name: 'taker', count: 2, body: face => taker(face, face.id + 2, Slots) },
      {
        name: 'reaper',
        count: 2,
        daemon: true,
        body: face => reaper(face, face.awaitDeath() + 2, Slots),
      },
    ],
    deaths: 1,
    never: s => s.in('attached') > 1,
    atEnd: s => isFree(s.s),
  }),
  reused('slots: a dead thread, 2 reap, 1 has its id', Slots, 0),
  reused('slots: a dead thread, 2 reap, 1 has its id, one dies', Slots, 1),
  model({
    name: 'slots: a hint about the one before, 2 attach',
    shared: t => ({ s: t.int32(TABLE, { length: Slots.words(1), init: takenByTheDead }) }),
    threads: [
      { name: 'hinter', body: face => hinter(face, Slots) },
      { name: 'reaper', body: face => reaper(face, -1, Slots) },
      { name: 'taker', count: 2, body: face => taker(face, face.id + 2, Slots) },
    ],
    never: s => s.in('attached') > 1 || (s.in('attached') > 0 && !isTaken(s.s)),
    atEnd: s => isFree(s.s),
  }),
  model({
    name: 'slots: 2 attach, the service thread hears of it',
    shared: t => ({ s: t.int32(Slots.words(2)) }),
    threads: [
      {
        name: 'taker',
        count: 2,
        body: ({ s, id }) => void attachTo(new Slots(s), new Oracle(id + 2, 2)),
      },
      { name: 'service', body: face => service(face) },
    ],
  }),
  model({
    name: 'slots: 2 wait for room',
    shared: t => ({ s: t.int32(TABLE, { length: Slots.words(1) }) }),
    threads: [{ name: 'patient', count: 2, body: face => patient(face) }],
    atEnd: s => isFree(s.s),
  }),
  model({
    name: 'slots: known for dead by its start time',
    shared: t => ({ s: t.int32(TABLE, { length: Slots.words(1) }) }),
    threads: [
      {
        name: 'mortal',
        body: ({ s }) => void attachTo(new Slots(s), new Oracle(DEAD.tid, DEAD.start)),
      },
      {
        name: 'reaper',
        body: face => {
          wait(face.s, 0, 0)
          reaper(face, -1, Slots)
        },
      },
    ],
    atEnd: s => isFree(s.s),
  }),
  mustFail(reused('slots: looks at two owners at once', LooksOnce, 0), { kind: 'exception' }),
  mustFail(reused('slots: leaves the start time of the dead', LeavesStart, 0), {
    kind: 'never',
  }),
  mustFail(reused('slots: lets others in before it is whole', FreesTooEarly, 0), {
    kind: 'exception',
  }),
  mustFail(reused('slots: recovers before it closes', RecoversFirst, 0), { kind: 'exception' }),
]
