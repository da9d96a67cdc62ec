/*
 * Counts that their owner and others change at once, at their limits, and from one owner to the
 * next. What waits for them is in percpu-ref.check.ts.
 */
import { load, store, type Words } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { PERCPU_COUNT_MAX, PercpuCount } from './percpu-count.ts'
import { Slot, Slots, tokenOf } from './slots.ts'

const COUNT = 0
/** No count, of the slot's second generation. */
const NEXT = 1 << 13

interface Face {
  readonly s: Words
  readonly c: Words
}

/** The counts of the thread that has slot `id`. */
function countsOf({ s, c }: Face, id: number): PercpuCount {
  return new PercpuCount(slotOf(s, id), c, COUNT, 'freed')
}

/** The counts of the thread that has the slot after the first. */
function nextOf({ s, c }: Face): PercpuCount {
  return new PercpuCount(new Slot(new Slots(s), 0, 1), c, COUNT, 'freed')
}

function require(ok: boolean, message: string): void {
  if (!ok) throw new Error(message)
}

/** Puts one in the name of slot 0's thread. */
function putter(face: Face): void {
  const isPut = countsOf(face, 1).decrementOf(tokenOf(0, 0))
  require(isPut, 'there was one')
}

/** Slot 0 has its second owner. */
function takenAgain(words: Words): void {
  aliveThreads(words)
  words[16] = (1 << 2) | 1
}

/** Its owner counts up and down while another counts down. */
function beside(name: string, count: number, body: (face: Face) => void) {
  return model({
    name,
    shared: t => ({
      c: t.int32({ COUNT }, { length: PercpuCount.words(2), init: w => void (w[COUNT] = count) }),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [
      { name: 'owner', body: face => body(face) },
      { name: 'putter', body: face => putter(face) },
    ],
    atEnd: s => s.c.COUNT === count - 1,
  })
}

function upAndDown(face: Face): void {
  const mine = countsOf(face, 0)
  mine.increment()
  const had = mine.decrement()
  require(had, 'it had counted')
}

/** Counts past the limit, which is refused unless the other was first. */
function tooFar(face: Face): void {
  const mine = countsOf(face, 0)
  try {
    mine.increment()
  } catch {
    return
  }
  mine.decrement()
}

/** Takes the word over, then counts one. */
function countsAnew(face: Face): void {
  const mine = nextOf(face)
  const before = mine.mine()
  require(before === 0, 'it begins at zero')
  mine.increment()
  const after = nextOf(face).mine()
  require(after === 1, 'a second object finds what was counted')
}

/** Puts what slot 0's first thread had, which may have gone meanwhile. */
function latePutter(face: Face): void {
  countsOf(face, 1).decrementOf(tokenOf(0, 0))
}

/** Forgets to look whose count it is. */
function blindPutter({ c }: Face): void {
  const word = load(c, COUNT)
  store(c, COUNT, word - 1)
}

function inherited(name: string, body: (face: Face) => void) {
  return model({
    name,
    shared: t => ({
      c: t.int32({ COUNT }, { length: PercpuCount.words(2), init: w => void (w[COUNT] = 2) }),
      s: t.int32(Slots.words(2), { init: takenAgain }),
    }),
    threads: [
      { name: 'next', body: face => countsAnew(face) },
      { name: 'putter', body: face => body(face) },
    ],
    atEnd: s => s.c.COUNT === NEXT + 1,
  })
}

/** What `npm run check` runs. */
export const models = [
  beside('percpu-count: up and down, and another down', 2, upAndDown),
  beside('percpu-count: past the limit, and another down', PERCPU_COUNT_MAX, tooFar),
  inherited('percpu-count: the next thread, and a late put', latePutter),
  model({
    name: 'percpu-count: below zero, while another looks',
    shared: t => ({
      c: t.int32({ COUNT }, { length: PercpuCount.words(2) }),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [
      {
        name: 'owner',
        body: face => {
          const had = countsOf(face, 0).decrement()
          require(!had, 'it had none')
        },
      },
      {
        name: 'looker',
        body: face => {
          const busy = countsOf(face, 1).findBusy(0)
          require(busy === -1, 'nobody counts')
        },
      },
    ],
    atEnd: s => s.c.COUNT === 0,
  }),
  model({
    name: 'percpu-count: put by two who own it',
    shared: t => ({
      c: t.int32({ COUNT }, { length: PercpuCount.words(3), init: w => void (w[COUNT] = 1) }),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      {
        name: 'putter',
        count: 2,
        body: face => {
          const isPut = countsOf(face, face.id + 1).decrementOf(tokenOf(0, 0))
          if (isPut) face.cs('put')
          load(face.c, COUNT)
        },
      },
    ],
    never: s => s.in('put') > 1,
    atEnd: s => s.c.COUNT === 0,
  }),
  mustFail(inherited('percpu-count: a put that looks at no owner', blindPutter), {
    kind: 'exception',
  }),
]
