/*
 * The mutex with four threads, and with deaths of whoever holds it, waits for it, or lets it go.
 */
import { compareExchange, exchange, load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, codeOf, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Mutex } from './mutex.ts'
import { Slots } from './slots.ts'

const LOCK = 0
const DATA = 1
const WAITERS = 1
const DIED = 2
const MINE = 4

interface Face {
  readonly s: Words
  readonly m: Words
  readonly id: number
  cs(label: string): void
}

/** Locks, changes DATA in two steps, unlocks. Who finds it half changed must have been told. */
function locker({ s, m, id, cs }: Face, Lock: typeof Mutex): void {
  const mutex = new Lock(slotOf(s, id), m, LOCK)
  const ownerDied = mutex.lock()
  cs('inside')
  const half = load(m, DATA)
  if (half !== 0 && !ownerDied) throw new Error('half changed, and nobody said so')
  store(m, DATA, 1)
  store(m, DATA, 0)
  cs('')
  mutex.unlock()
}

/** Takes it if that needs no waiting. */
function tryer({ s, m, id, cs }: Face): void {
  const held = new Mutex(slotOf(s, id), m, LOCK).tryLock()
  if (held === null) return
  cs('inside')
  store(m, DATA, 0)
  cs('')
  held.release()
}

/** Gives up after the first sleep, as an aborted operation does. */
function quitter({ s, m, id, cs }: Face): void {
  const mutex = new Mutex(slotOf(s, id), m, LOCK)
  if (!mutex.step()) {
    wait(m, LOCK, mutex.value)
    mutex.cancel()
    return
  }
  cs('inside')
  store(m, DATA, 0)
  cs('')
  mutex.unlock()
}

/** What each call says while nobody else comes. */
function alone({ s, m, id }: Face): void {
  const mutex = new Mutex(slotOf(s, id), m, LOCK)
  const another = new Mutex(slotOf(s, id + 1), m, LOCK)
  assert(!mutex.isHeld(), 'held at first')
  mutex.lock()
  assert(mutex.isHeld() && !another.isHeld(), 'held by another')
  assert(codeOf(() => mutex.lock()) === 'EDEADLK', 'locked twice')
  assert(another.tryLock() === null, 'locked by two')
  assert(codeOf(() => another.unlock()) === 'EPERM', 'unlocked by another')
  mutex.unlock()
  assert(codeOf(() => mutex.unlock()) === 'EPERM', 'unlocked twice')
}

/** Closes the slot of whoever dies, which tells the mutex. */
function reaper({ s, m, id }: Face, dead: number, Lock: typeof Mutex): void {
  const slots = new Slots(s)
  slots.register(new Lock(slotOf(s, id), m, LOCK))
  slots.close(dead, 0)
}

/** Unlocks without a look at who sleeps. */
class ForgetsSleepers extends Mutex {
  override unlock(): void {
    exchange(this.words, this.index, 0)
  }
}

/** Takes a mutex for which others sleep as if nobody did. */
class ForgetsWaiters extends Mutex {
  override step(): boolean {
    const word = load(this.words, this.index)
    const mine = this.slot.token << 2
    if (word === 0) return compareExchange(this.words, this.index, 0, mine) === 0
    this.value = word | WAITERS
    compareExchange(this.words, this.index, word, this.value)
    return false
  }
}

/** Sleeps after it was beaten to a free word. */
class SleepsOnFreeWord extends Mutex {
  override step(): boolean {
    const word = load(this.words, this.index)
    const mine = (this.slot.token << 2) | WAITERS
    if (word < MINE && compareExchange(this.words, this.index, word, mine) === word) return true
    this.value = word | WAITERS
    compareExchange(this.words, this.index, word, this.value)
    return false
  }
}

/** Wakes whoever sleeps for the dead, but lets others fall asleep after it. */
class LeavesTheWord extends Mutex {
  override recover(): void {
    notify(this.words, this.index)
  }
}

/** Changes the word of the dead once, whatever became of it. */
class TriesOnce extends Mutex {
  override recover(token: number): void {
    const word = load(this.words, this.index)
    if (word >>> 2 === token) compareExchange(this.words, this.index, word, DIED)
    notify(this.words, this.index)
  }
}

/** Wakes nobody unless the dead held it. */
class ForgetsLostWakeUps extends Mutex {
  override recover(token: number): void {
    if (load(this.words, this.index) >>> 2 === token) super.recover(token)
  }
}

/** Does not say that an owner has died. */
class HidesDeath extends Mutex {
  override lock(): boolean {
    super.lock()
    return false
  }
}

function lockers(name: string, Lock: typeof Mutex, count = 4) {
  return model({
    name,
    shared: t => ({
      m: t.int32({ LOCK, DATA }),
      s: t.int32(Slots.words(count), { init: aliveThreads }),
    }),
    threads: [{ name: 'locker', count, body: face => locker(face, Lock) }],
    never: s => s.in('inside') > 1,
    atEnd: s => s.m.LOCK === 0,
  })
}

function dying(name: string, Lock: typeof Mutex, count: number) {
  return model({
    name,
    shared: t => ({
      m: t.int32({ LOCK, DATA }),
      s: t.int32(Slots.words(count + 1), { init: aliveThreads }),
    }),
    threads: [
      { name: 'locker', count, body: face => locker(face, Lock) },
      {
        name: 'reaper',
        daemon: true,
        body: face => reaper(face, face.awaitDeath(), Lock),
      },
    ],
    deaths: 1,
    never: s => s.in('inside') > 1,
    atEnd: s => Lock !== Mutex || s.m.LOCK < MINE,
  })
}

/** What `npm run check` runs. */
export const models = [
  lockers('mutex: 2 threads', Mutex, 2),
  lockers('mutex: 4 threads', Mutex),
  model({
    name: 'mutex: each call, alone',
    shared: t => ({
      m: t.int32({ LOCK }),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [{ name: 'alone', body: face => alone(face) }],
    atEnd: s => s.m.LOCK === 0,
  }),
  model({
    name: 'mutex: 2 threads wait, 1 tries, 1 gives up',
    shared: t => ({
      m: t.int32({ LOCK, DATA }),
      s: t.int32(Slots.words(4), { init: aliveThreads }),
    }),
    threads: [
      { name: 'locker', count: 2, body: face => locker(face, Mutex) },
      { name: 'tryer', body: face => tryer(face) },
      { name: 'quitter', body: face => quitter(face) },
    ],
    never: s => s.in('inside') > 1,
    atEnd: s => s.m.LOCK === 0,
  }),
  dying('mutex: 3 threads, one dies', Mutex, 3),
  dying('mutex: 4 threads, one dies', Mutex, 4),
  model({
    name: 'mutex: 2 threads, 1 tries, 1 gives up, one dies',
    shared: t => ({
      m: t.int32({ LOCK, DATA }),
      s: t.int32(Slots.words(5), { init: aliveThreads }),
    }),
    threads: [
      { name: 'locker', count: 2, body: face => locker(face, Mutex) },
      { name: 'tryer', body: face => tryer(face) },
      { name: 'quitter', body: face => quitter(face) },
      { name: 'reaper', daemon: true, body: face => reaper(face, face.awaitDeath(), Mutex) },
    ],
    deaths: 1,
    never: s => s.in('inside') > 1,
    atEnd: s => s.m.LOCK < MINE,
  }),
  mustFail(lockers('mutex: unlock wakes nobody', ForgetsSleepers, 2), { kind: 'deadlock' }),
  mustFail(lockers('mutex: takes it without WAITERS', ForgetsWaiters, 3), { kind: 'deadlock' }),
  mustFail(lockers('mutex: sleeps on a free word', SleepsOnFreeWord, 3), { kind: 'deadlock' }),
  mustFail(dying('mutex: a death changes no word', LeavesTheWord, 2), { kind: 'deadlock' }),
  mustFail(dying('mutex: a death is told once', TriesOnce, 3), { kind: 'deadlock' }),
  mustFail(dying('mutex: a wake-up dies', ForgetsLostWakeUps, 3), { kind: 'deadlock' }),
  mustFail(dying('mutex: a death is hidden', HidesDeath, 2), { kind: 'exception' }),
]
