/*
 * The completion: waiters, one that gives up, completers, and a death of any of them.
 */
import { exchange, load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, codeOf, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { Completion } from './completion.ts'
import { Slots } from './slots.ts'

const DONE = 0
const COMPLETER = 1
const PASSED = 2
const ONE = 256
const ALL = 0x7fffff00
const WORDS = { DONE, COMPLETER, PASSED } as const
/** The slot of whoever is declared: the first waiterless thread. */
const COMPLETER_ID = 2

interface Face {
  readonly s: Words
  readonly c: Words
  readonly id: number
  cs(label: string): void
}

function completionOf({ s, c, id }: Face, Kind: typeof Completion): Completion {
  return new Kind(slotOf(s, id), c, DONE)
}

/** Waits; being told that the completer is dead is an end, too. */
function waiter(face: Face, Kind: typeof Completion): void {
  try {
    completionOf(face, Kind).wait()
  } catch (error) {
    if (!(error instanceof HotplugError) || error.code !== 'EOWNERDEAD') throw error
    face.cs('told')
    return
  }
  face.cs('passed')
  load(face.c, PASSED)
}

/** Completes so many times. */
function completer(face: Face, Kind: typeof Completion, times: number): void {
  const completion = completionOf(face, Kind)
  for (let i = 0; i < times; i++) completion.complete()
}

/** Sleeps once, then gives up. */
function quitter(face: Face, Kind: typeof Completion): void {
  const completion = completionOf(face, Kind)
  if (completion.step()) {
    completion.complete()
    return
  }
  wait(face.c, DONE, completion.value)
  completion.cancel()
}

/** What each call says while nobody else comes. */
function alone(face: Face): void {
  const completion = completionOf(face, Completion)
  completion.expect()
  assert(codeOf(() => completion.wait()) === 'EDEADLK', 'waited for itself')
  completion.complete()
  completion.complete()
  assert(completion.isDone(), 'not done after two')
  completion.wait()
  assert(completion.tryWait() && !completion.tryWait(), 'not done twice')
  assert(!completion.isDone(), 'done after two passed')
  completion.completeAll()
  assert(completion.tryWait() && completion.tryWait(), 'not all pass')
  completion.complete()
  completion.reinit()
  assert(!completion.tryWait(), 'passed after reinit')
  const completer = load(face.c, COMPLETER)
  assert(completer === 0, 'declared after reinit')
}

function reaper({ s, c, id }: Face, dead: number, Kind: typeof Completion): void {
  const slots = new Slots(s)
  slots.register(new Kind(slotOf(s, id), c, DONE))
  slots.close(dead, 0)
}

/** Two waiters, two completers; each completes twice if one may die. */
function twoAndTwo(name: string, Kind: typeof Completion, deaths = 0) {
  return model({
    name,
    shared: t => ({
      c: t.int32(WORDS),
      s: t.int32(Slots.words(5), { init: aliveThreads }),
    }),
    threads: [
      { name: 'waiter', count: 2, body: face => waiter(face, Kind) },
      { name: 'completer', count: 2, body: face => completer(face, Kind, 1 + deaths) },
      {
        name: 'reaper',
        daemon: true,
        body: face => reaper(face, face.awaitDeath(), Kind),
      },
    ],
    deaths,
    atEnd: s => {
      const completions = Math.floor(s.c.DONE / ONE) + s.in('passed')
      const most = 2 * (1 + deaths)
      const hasWaiterDied = s.dead(0) || s.dead(1)
      const least = hasWaiterDied ? most - 1 : nrLiving(s.dead, 2, 3) * (1 + deaths)
      return Kind !== Completion || (least <= completions && completions <= most)
    },
  })
}

function nrLiving(isDead: (id: number) => boolean, ...ids: readonly number[]): number {
  return ids.filter(id => !isDead(id)).length
}

/** Two waiters, and one declared completer who dies, or lets all through. */
function declared(name: string, Kind: typeof Completion, deaths = 1) {
  return model({
    name,
    shared: t => ({
      c: t.int32(WORDS, { init: words => words.fill(COMPLETER_ID + 1, COMPLETER, PASSED) }),
      s: t.int32(Slots.words(4), { init: aliveThreads }),
    }),
    threads: [
      { name: 'waiter', count: 2, body: face => waiter(face, Kind) },
      { name: 'completer', body: face => completionOf(face, Kind).completeAll() },
      {
        name: 'reaper',
        daemon: true,
        body: face => reaper(face, face.awaitDeath(), Kind),
      },
    ],
    deaths,
    never: s => (s.c.DONE === ALL ? s.in('told') : s.in('passed')) > 0,
    atEnd: s => {
      const isTold = s.in('told') + s.in('passed') === nrLiving(s.dead, 0, 1)
      return isTold && (s.c.DONE === ALL || s.dead(COMPLETER_ID))
    },
  })
}

/** A waiter, one that gives up, and a single wake-up. */
function quitting(name: string, Kind: typeof Completion) {
  return model({
    name,
    shared: t => ({
      c: t.int32(WORDS),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      { name: 'waiter', body: face => waiter(face, Kind) },
      { name: 'quitter', daemon: true, body: face => quitter(face, Kind) },
      { name: 'completer', body: face => completer(face, Kind, 1) },
    ],
  })
}

/** Another completes while the death of the declared completer is counted. */
function undeclared(name: string) {
  return model({
    name,
    shared: t => ({
      c: t.int32(WORDS, { init: words => words.fill(COMPLETER_ID + 1, COMPLETER, PASSED) }),
      s: t.int32(Slots.words(4), { init: aliveThreads }),
    }),
    threads: [
      { name: 'waiter', body: face => waiter(face, Completion) },
      { name: 'completer', daemon: true, body: face => completer(face, Completion, 1) },
      { name: 'declared', body: ({ c }) => load(c, PASSED) },
      {
        name: 'reaper',
        daemon: true,
        body: face => reaper(face, face.awaitDeath(), Completion),
      },
    ],
    deaths: 1,
    atEnd: s => !s.dead(COMPLETER_ID) || Math.floor(s.c.DONE / ONE) + s.in('passed') === 1,
  })
}

/** Says that it is done, and wakes nobody. */
class WakesNobody extends Completion {
  override complete(): void {
    store(this.words, this.index, load(this.words, this.index) + ONE)
  }
}

/** Counts one more without looking whether another does. */
class CountsBlindly extends Completion {
  override complete(): void {
    const word = load(this.words, this.index)
    store(this.words, this.index, word + ONE)
    notify(this.words, this.index, 1)
  }
}

/** Wakes one of all. */
class WakesOne extends Completion {
  override completeAll(): void {
    exchange(this.words, this.index, ALL)
    notify(this.words, this.index, 1)
  }
}

/** Keeps the wake-up that it gave up on. */
class KeepsWakeUp extends Completion {
  override cancel(): void {}
}

/** Wakes those who wait for the dead, but lets others fall asleep after it. */
class LeavesTheWord extends Completion {
  override recover(): void {
    notify(this.words, this.index)
  }
}

/** What `npm run check` runs. */
export const models = [
  twoAndTwo('completion: 2 wait, 2 complete', Completion),
  twoAndTwo('completion: 2 wait, 2 complete, one dies', Completion, 1),
  model({
    name: 'completion: 2 wait, 1 gives up, 2 complete',
    shared: t => ({
      c: t.int32(WORDS),
      s: t.int32(Slots.words(5), { init: aliveThreads }),
    }),
    threads: [
      { name: 'waiter', count: 2, body: face => waiter(face, Completion) },
      { name: 'quitter', body: face => quitter(face, Completion) },
      { name: 'completer', body: face => completer(face, Completion, 3) },
    ],
    atEnd: s => s.c.DONE <= ONE,
  }),
  model({
    name: 'completion: each call, alone',
    shared: t => ({
      c: t.int32(WORDS),
      s: t.int32(Slots.words(1), { init: aliveThreads }),
    }),
    threads: [{ name: 'alone', body: face => alone(face) }],
  }),
  quitting('completion: 1 waits, 1 gives up, 1 completes', Completion),
  undeclared('completion: 1 completes, another who should dies'),
  declared('completion: 2 wait for 1 to complete all', Completion, 0),
  declared('completion: 2 wait for 1 to complete all, one dies', Completion),
  mustFail(twoAndTwo('completion: wakes nobody', WakesNobody), { kind: 'deadlock' }),
  mustFail(twoAndTwo('completion: counts blindly', CountsBlindly), { kind: 'deadlock' }),
  mustFail(declared('completion: wakes one of all', WakesOne, 0), { kind: 'deadlock' }),
  mustFail(declared('completion: a death changes no word', LeavesTheWord), { kind: 'deadlock' }),
  mustFail(quitting('completion: keeps the wake-up that it gave up on', KeepsWakeUp), {
    kind: 'deadlock',
  }),
]
