/*
 * The reference count: who is drained is left by all; with deaths of users, killers and drainers.
 *
 * USERS counts, beside the references, who is using the thing. A dead thread's use goes on, by its
 * I/O, until its slot is freed.
 */
import { add, load, store, type Words } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { HotplugError } from '../lib/errors.ts'
import { PercpuCount } from './percpu-count.ts'
import { PercpuRef } from './percpu-ref.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from './slots.ts'

const STATE = 0
const EVENTS = 1
const COUNTS = 16
const FREED = 1
const IO = 2
const KILLS = 0
const REVIVALS = 1
const NR_SLOTS = 5

interface Face {
  readonly s: Words
  readonly r: Words
  readonly d: Words
  readonly id: number
  cs(label: string): void
}

/** The reference count at a model's end. */
interface Counted {
  readonly STATE: number
  readonly COUNTS: readonly number[]
}

/** How it is done: by the methods, or by a broken form of one. */
interface Ways {
  readonly tryGet: (ref: PercpuRef) => boolean
  readonly put: (ref: PercpuRef) => void
  readonly drain: (ref: PercpuRef) => void
  readonly recover: (ref: PercpuRef) => void
}

const REAL: Ways = {
  tryGet: ref => ref.tryGet(),
  put: ref => ref.put(),
  drain: ref => ref.drain(),
  recover: ref => ref.recover(),
}

function refOf({ s, r, id }: Face): PercpuRef {
  return new PercpuRef(slotOf(s, id), r, STATE)
}

function ownWord(ref: PercpuRef): number {
  return ref.index + COUNTS + ref.slot.index * 16
}

/** Gets, uses, puts. */
function user(face: Face, ways: Ways): void {
  const ref = refOf(face)
  if (!ways.tryGet(ref)) return
  face.cs('uses')
  load(face.d, 0)
  face.cs('')
  ways.put(ref)
}

/** Gets, and has its reference put by `putter`. */
function giver(face: Face): void {
  const ref = refOf(face)
  if (!ref.tryGet()) return
  store(face.d, 0, ref.slot.token)
}

function putter(face: Face): void {
  const token = load(face.d, 0)
  if (token === 0) return
  refOf(face).put(token)
}

/** Kills, drains, and then nobody may use it. */
function killer(face: Face, ways: Ways): void {
  const ref = refOf(face)
  if (!ref.kill()) return
  ways.drain(ref)
  face.cs('drained')
  load(face.d, 0)
  face.cs('')
}

/** Closes the slot of whoever dies, waits for its I/O (a step), frees the slot. */
function reaper({ s, r, d, id }: Face, dead: number, ways: Ways): void {
  const slots = new Slots(s)
  const ref = new PercpuRef(slotOf(s, id), r, STATE)
  slots.register({ recover: () => ways.recover(ref) })
  slots.close(dead, 0)
  store(d, FREED, 1)
  slots.free(dead, 0)
}

function shared(t: Declare) {
  return {
    r: t.int32({ STATE, EVENTS, COUNTS: [COUNTS, PercpuRef.words(NR_SLOTS)] }),
    d: t.int32({ TOKEN: 0, FREED, IO }),
    s: t.int32(Slots.words(NR_SLOTS), { init: aliveThreads }),
  }
}

/** Two users, two killers: one of these kills, the other is told. */
function twoAndTwo(name: string, ways: Ways, deaths = 0) {
  return model({
    name,
    shared,
    threads: [
      { name: 'user', count: 2, body: face => user(face, ways) },
      { name: 'killer', count: 2, body: face => killer(face, ways) },
      { name: 'reaper', daemon: true, body: face => reaper(face, face.awaitDeath(), ways) },
    ],
    deaths,
    never: s => s.in('drained') > 0 && s.in('uses') > 0,
    atEnd: s => isLeft(s.r, s.dead),
  })
}

/** Killed, and no living thread counts a reference. */
function isLeft(r: Counted, isDead: (id: number) => boolean): boolean {
  const counts = r.COUNTS.filter((_, at) => !isDead(at / CACHE_LINE_WORDS))
  return (r.STATE & 1) === 1 && counts.every(count => count === 0)
}

/** Looks whether it is killed, then counts. */
const looksFirst: Ways = {
  ...REAL,
  tryGet: ref => {
    const state = load(ref.words, ref.index)
    if ((state & 1) !== 0) return false
    add(ref.words, ownWord(ref), 1)
    return true
  },
}

/** Puts, and tells nobody. */
const tellsNobody: Ways = { ...REAL, put: ref => void add(ref.words, ownWord(ref), -1) }

/** Looks at the state before it counts one less. */
const looksTooEarly: Ways = {
  ...REAL,
  put: ref => {
    const state = load(ref.words, ref.index)
    add(ref.words, ownWord(ref), -1)
    if ((state & 1) !== 0) ref.recover()
  },
}

/** Takes what the dead have counted for put, though their I/O goes on. */
const forgetsTheDead: Ways = {
  ...REAL,
  drain: ref => {
    const counts = new PercpuCount(ref.slot, ref.words, ref.index + COUNTS, 'closed')
    if (counts.findBusy(0) !== -1) ref.drain()
  },
}

/** Tells nobody of deaths. */
const deaf: Ways = { ...REAL, recover: () => {} }

/** A user that may die using it, whose I/O goes on until its slot is about to be freed. */
function dyingUser(name: string, ways: Ways) {
  return model({
    name,
    shared,
    threads: [
      { name: 'user', body: face => doesIo(face, ways) },
      { name: 'killer', body: face => drainsAfterIo(face, ways) },
      { name: 'reaper', daemon: true, body: face => reaper(face, face.awaitDeath(), ways) },
    ],
    deaths: 1,
    atEnd: s => s.dead(1) || isLeft(s.r, s.dead),
  })
}

function doesIo(face: Face, ways: Ways): void {
  const ref = refOf(face)
  if (!ways.tryGet(ref)) return
  store(face.d, IO, 1)
  store(face.d, IO, 0)
  ways.put(ref)
}

function drainsAfterIo(face: Face, ways: Ways): void {
  const ref = refOf(face)
  if (!ref.kill()) return
  ways.drain(ref)
  const io = load(face.d, IO)
  if (io === 0) return
  const freed = load(face.d, FREED)
  if (freed === 0) throw new Error('drained while the I/O of the dead goes on')
}

/** Drains what is killed; being told of a revival is an end, too. */
function drainer(face: Face, isRevived: boolean): void {
  const ref = refOf(face)
  const isKilled = ref.isKilled()
  if (!isKilled && !isRevived) throw new Error('nobody has revived it')
  try {
    ref.drain()
  } catch (error) {
    if (!(error instanceof HotplugError) || !isRevived) throw error
  }
}

function killedWithOne(words: Words): void {
  words[STATE] = 1
  words[COUNTS] = 1
}

/** The count is killed and has one reference, slot 0's; two drain. */
function twoDrain(name: string, body: (face: Face) => void, isRevived = false) {
  return model({
    name,
    shared: t => ({
      r: t.int32(
        { STATE, EVENTS, COUNTS: [COUNTS, PercpuRef.words(NR_SLOTS)] },
        { init: killedWithOne },
      ),
      d: t.int32({ TOKEN: 0, FREED, IO }),
      s: t.int32(Slots.words(NR_SLOTS), { init: aliveThreads }),
    }),
    threads: [
      { name: 'owner', body: face => body(face) },
      { name: 'drainer', count: 2, body: face => drainer(face, isRevived) },
    ],
  })
}

/** Kills, then revives; counts what it did. */
function toggler(face: Face): void {
  const ref = refOf(face)
  const killed = ref.kill()
  if (killed) add(face.d, KILLS, 1)
  const revived = ref.revive()
  if (revived) add(face.d, REVIVALS, 1)
}

/** What `npm run check` runs. */
export const models = [
  twoAndTwo('percpu-ref: 2 use, 2 kill', REAL),
  twoAndTwo('percpu-ref: 2 use, 2 kill, one dies', REAL, 1),
  model({
    name: 'percpu-ref: 1 uses, 1 gives to another, 1 kills and revives',
    shared,
    threads: [
      { name: 'user', body: face => user(face, REAL) },
      { name: 'giver', body: face => giver(face) },
      { name: 'putter', body: face => putter(face) },
      {
        name: 'killer',
        body: face => {
          const ref = refOf(face)
          ref.kill()
          if (ref.tryDrain()) {
            face.cs('drained')
            load(face.d, 0)
            face.cs('')
          }
          ref.revive()
        },
      },
    ],
    never: s => s.in('drained') > 0 && s.in('uses') > 0,
    atEnd: s => (s.r.STATE & 1) === 0,
  }),
  dyingUser('percpu-ref: 1 uses, 1 kills, one dies', REAL),
  twoDrain('percpu-ref: 2 drain, the last is put', face => refOf(face).put()),
  twoDrain('percpu-ref: 2 drain, the last is put by another', face => {
    new PercpuRef(slotOf(face.s, 3), face.r, STATE).put(tokenOf(0, 0))
  }),
  twoDrain('percpu-ref: 2 drain, the owner of the last has died', face => {
    const slots = new Slots(face.s)
    slots.register(refOf(face))
    slots.close(0, 0)
    slots.free(0, 0)
  }),
  twoDrain('percpu-ref: 2 drain, it is revived', face => void refOf(face).revive(), true),
  model({
    name: 'percpu-ref: 2 kill and revive',
    shared: t => ({
      r: t.int32({ STATE, EVENTS }, { length: PercpuRef.words(2) }),
      d: t.int32({ KILLS, REVIVALS }),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [{ name: 'toggler', count: 2, body: face => toggler(face) }],
    atEnd: s => s.d.KILLS === s.d.REVIVALS && s.r.STATE === 2 * s.d.KILLS,
  }),
  mustFail(twoAndTwo('percpu-ref: looks before it counts', looksFirst), { kind: 'never' }),
  mustFail(twoAndTwo('percpu-ref: tells nobody', tellsNobody), { kind: 'deadlock' }),
  mustFail(twoAndTwo('percpu-ref: looks before it puts', looksTooEarly), { kind: 'deadlock' }),
  mustFail(dyingUser('percpu-ref: tells nobody of deaths', deaf), { kind: 'deadlock' }),
  mustFail(dyingUser('percpu-ref: forgets the I/O of the dead', forgetsTheDead), {
    kind: 'exception',
  }),
]
