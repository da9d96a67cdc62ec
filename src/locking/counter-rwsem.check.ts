/*
 * The memory hotplug lock before and after the fix of 2017.
 *
 * Before it, two writers lose each other in ACTIVE_WRITER: the ways in which the kernel's writers
 * did (T2 to T5 of docs/the-thread.md) are found, by their shortest schedules. (Where the kernel's
 * thread waited for its own mutex, ours is refused: T4 and T5 end in an exception.) With the
 * private mutex, everything that two readers and two writers can do is proved; with a death, what
 * three of them can do, and all four in test/litmus/long-checks.ts.
 */
import { load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, namesLiving, slotOf } from '../../test/litmus/threads.ts'
import type { Search } from '../check/describe.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { CounterRwsem } from './counter-rwsem.ts'
import { Slots } from './slots.ts'

const HALF = 0
const LOOK = 1
const STAGE = 2
const SICK = 1 << 30

interface Face {
  readonly s: Words
  readonly m: Words
  readonly d: Words
  readonly id: number
  cs(label: string): void
  awaitDeath(): number
}

function memHotplug(face: Face, privateMutex: boolean): CounterRwsem {
  return new CounterRwsem(slotOf(face.s, face.id), face.m, 0, { privateMutex })
}

/** What threads do, with or without the private mutex. */
function roles(privateMutex: boolean) {
  const open = (face: Face) => memHotplug(face, privateMutex)
  return {
    reader(face: Face): void {
      const mems = open(face)
      mems.downRead()
      inside(face, 'R')
      mems.upRead()
    },
    writer(face: Face): void {
      const mems = open(face)
      mems.downWrite()
      inside(face, 'W')
      mems.upWrite()
    },
    /** Calls what takes the lock for reading, as slab does. */
    nestingWriter(face: Face): void {
      const mems = open(face)
      mems.downWrite()
      mems.downRead()
      mems.upRead()
      mems.upWrite()
    },
    /** Says when it is inside, or when it has read there. */
    earlyWriter(face: Face, nests: boolean): void {
      const mems = open(face)
      mems.downWrite()
      if (nests) mems.downRead()
      store(face.d, STAGE, 1)
      notify(face.d, STAGE)
      if (nests) mems.upRead()
      mems.upWrite()
    },
    /** Says when it is inside. */
    earlyReader(face: Face): void {
      const mems = open(face)
      mems.downRead()
      store(face.d, STAGE, 1)
      notify(face.d, STAGE)
      mems.upRead()
    },
  }
}

/** What threads do that only the fixed form can bear. */
function laterRoles() {
  const open = (face: Face) => memHotplug(face, true)
  return {
    /** Gives up if it is woken once in vain. */
    impatientWriter(face: Face): void {
      const mems = open(face)
      const beginning = mems.beginning()
      let hasBegun = beginning.step()
      if (!hasBegun) {
        wait(beginning.words, beginning.index, beginning.value)
        hasBegun = beginning.step()
      }
      if (!hasBegun) {
        beginning.cancel()
        return
      }
      const held = mems.heldWrite()
      inside(face, 'W')
      held.release()
    },
    /** Changes two halves; who comes after a death in between is told. */
    changer(face: Face): void {
      const mems = open(face)
      const wasTold = mems.downWrite()
      const half = load(face.d, HALF)
      assert(half === 0 || wasTold, 'a writer was not told')
      store(face.d, HALF, 1)
      store(face.d, HALF, 0)
      mems.upWrite()
    },
    viewer(face: Face): void {
      const mems = open(face)
      const wasTold = mems.downRead()
      const half = load(face.d, HALF)
      assert(half === 0 || wasTold, 'a reader was not told')
      mems.upRead()
    },
  }
}

/** Comes when one of the early is inside. */
function late(body: (face: Face) => void) {
  return (face: Face): void => {
    wait(face.d, STAGE, 0)
    body(face)
  }
}

function inside(face: Face, label: string): void {
  face.cs(label)
  load(face.d, LOOK)
  face.cs('')
}

/** Ends a read that it has not begun: P3 warns and repairs the count. */
function putsTooMany(face: Face): void {
  const mems = memHotplug(face, false)
  mems.upRead()
  assert(mems.nrWarnings === 1, 'no warning')
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

/** Any threads over one lock. */
function mems(name: string, threads: readonly Thread[], deaths = 0, search: Search = 'all') {
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  const ids = Array.from({ length: nrSlots }, (_, id) => id)
  const reaper: Thread = { name: 'reaper', daemon: true, body: reap }
  return model({
    name,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      m: t.int32({
        ACTIVE_WRITER: 0,
        REFCOUNT: 1,
        LOCK: 2,
        ADD_REMOVE_LOCK: 3,
        TASK: [4, CounterRwsem.words(nrSlots)],
      }),
      d: t.int32({ HALF: 0, LOOK: 1, STAGE: 2 }),
    }),
    threads: deaths === 0 ? threads : [...threads, reaper],
    never: s => s.in('W') > 1 || (s.in('W') > 0 && s.in('R') > 0),
    atEnd: s => {
      const { ACTIVE_WRITER, REFCOUNT, LOCK, ADD_REMOVE_LOCK, TASK } = s.m
      const living = ids.filter(id => !s.dead(id))
      if (living.some(id => TASK[2 * id] !== 0 || TASK[2 * id + 1] !== 0)) return false
      if (living.length === nrSlots) return ACTIVE_WRITER + REFCOUNT + LOCK + ADD_REMOVE_LOCK === 0
      const owners = [ACTIVE_WRITER & ~SICK, LOCK >>> 2, ADD_REMOVE_LOCK >>> 2]
      return REFCOUNT <= 1 && !owners.some(token => namesLiving(token, s.dead))
    },
    deaths,
    search,
  })
}

/** A reader and a writer, after a reader has died whom REFCOUNT still counts. */
function afterDeath(name: string) {
  const dead = 2
  const slots = (words: Words): void => {
    aliveThreads(words)
    new Slots(words).close(dead, 0)
  }
  const read = (words: Words): void => {
    words[1] = 1
    words[4 + 2 * dead + 1] = 1
  }
  return model({
    name,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(3), { init: slots }),
      m: t.int32(
        { ACTIVE_WRITER: 0, REFCOUNT: 1, LOCK: 2, ADD_REMOVE_LOCK: 3, TASK: [4, 10] },
        { init: read },
      ),
      d: t.int32({ HALF: 0, LOOK: 1, STAGE: 2 }),
    }),
    threads: threadsOf(1, 1, fixed),
    never: s => s.in('W') > 0 && s.in('R') > 0,
  })
}

function reap(face: Face): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.register(new CounterRwsem(slotOf(face.s, dead), face.m, 0, { privateMutex: true }))
  slots.close(dead, 0)
  slots.free(dead, 0)
}

const old = roles(false)
const fixed = roles(true)
const later = laterRoles()

function threadsOf(nrReaders: number, nrWriters: number, role: typeof old): Thread[] {
  return [
    { name: 'reader', count: nrReaders, body: role.reader },
    { name: 'writer', count: nrWriters, body: role.writer },
  ]
}

/** T2: the last reader wakes the second writer only. */
const wakesOne = (role: typeof old) => [
  { name: 'reader', body: role.earlyReader },
  { name: 'writer', count: 2, body: late(role.writer) },
]

/** T3: the first writer's end erases the second. */
const erases = (role: typeof old) => [
  { name: 'first', body: (face: Face) => role.earlyWriter(face, false) },
  { name: 'second', body: role.writer },
  { name: 'reader', body: late(role.reader) },
]

/** T4: the first writer, overwritten, reads. */
const nests = (role: typeof old) => [
  { name: 'first', body: role.nestingWriter },
  { name: 'second', body: role.writer },
]

/** T5: the first writer, overwritten, ends a read that it began as itself. */
const putsLate = (role: typeof old) => [
  { name: 'first', body: (face: Face) => role.earlyWriter(face, true) },
  { name: 'second', body: late(role.writer) },
]

/** T5's variant: the second writer, erased by the first one's end, reads. */
const nestsErased = (role: typeof old) => [
  { name: 'first', body: (face: Face) => role.earlyWriter(face, false) },
  { name: 'second', body: late(role.nestingWriter) },
]

/** By their shortest schedules, which docs/the-thread.md draws. */
const before = [
  mustFail(mems('T2, before: wakes one of two', wakesOne(old)), {
    kind: 'deadlock',
    message: /writer1 sleeps for ever.* ACTIVE_WRITER 2 -> 3 .*reader +notify +TASK\[4\]/s,
    steps: 26,
  }),
  mustFail(mems('T3, before: erases the other', erases(old)), {
    kind: 'deadlock',
    message: /second sleeps for ever.*first +store +ACTIVE_WRITER 2 -> 0 /s,
    steps: 23,
  }),
  mustFail(mems('T4, before: waits for its own lock', nests(old)), {
    kind: 'exception',
    message: /first throws.*EDEADLK.*second +store +ACTIVE_WRITER 1 -> 2 /s,
    steps: 6,
  }),
  mustFail(mems('T5, before: puts what it did not get', putsLate(old)), {
    kind: 'exception',
    message: /first throws.*EDEADLK.*second +store +ACTIVE_WRITER 1 -> 2 /s,
    steps: 10,
  }),
  mustFail(mems('T5, before: erased, it gets', nestsErased(old)), {
    kind: 'exception',
    message: /second throws.*EDEADLK.*first +store +ACTIVE_WRITER 2 -> 0 /s,
    steps: 13,
  }),
]

/** For test/litmus/long-checks.ts. */
export const oneOfFourDies = () =>
  mems('counter rwsem, one of 2+2 dies', threadsOf(2, 2, fixed), 1, 'fingerprints')

export const models = [
  ...before,
  mems('T2, fixed', wakesOne(fixed)),
  mems('T3, fixed', erases(fixed)),
  mems('T4, fixed', nests(fixed)),
  mems('T5, fixed', putsLate(fixed)),
  mems('T5, fixed: nobody is erased', nestsErased(fixed)),

  mems('before, one writer', threadsOf(2, 1, old)),
  mems('before, a put too many', [{ name: 'putter', count: 2, body: putsTooMany }]),

  mems('counter rwsem, 1+1, one dies', threadsOf(1, 1, fixed), 1),
  afterDeath('counter rwsem, 1+1 after a death'),
  mems('counter rwsem, a writer is told', [{ name: 'changer', count: 2, body: later.changer }], 1),
  mems('counter rwsem', threadsOf(2, 2, fixed)),
  mems('counter rwsem, one dies', threadsOf(1, 2, fixed), 1),
  mems('counter rwsem, one reader of two dies', threadsOf(2, 1, fixed), 1),
  mems(
    'counter rwsem, a death is told',
    [
      { name: 'changer', count: 2, body: later.changer },
      { name: 'viewer', body: later.viewer },
    ],
    1,
  ),
  mems('counter rwsem, a writer gives up', [
    { name: 'impatient', body: later.impatientWriter },
    ...threadsOf(1, 1, fixed),
  ]),
]
