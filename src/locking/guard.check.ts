/*
 * Readers that look up one of two boxes and read it, while a waiter publishes the other box,
 * waits, and poisons the first: nobody reads poison. With store buffers as on x86-64, and with
 * stores that overtake loads as on arm64; and broken without either barrier, or without waiting.
 */
import { exchange, loadPlain, store, type Words } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard, type GuardForm } from './guard.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from './slots.ts'

const PUBLISHED = 0
const BOXES = 1
const POISON = -1

interface Face {
  readonly s: Words
  readonly g: Words
  readonly d: Words
  readonly id: number
  awaitDeath(): number
}

/** Leaves the first barrier out. */
class WithoutS1 extends Guard {
  override barrier(step: 'S1' | 'S3'): void {
    if (step === 'S3') super.barrier(step)
  }
}

/** Leaves the second barrier out. */
class WithoutS3 extends Guard {
  override barrier(step: 'S1' | 'S3'): void {
    if (step === 'S1') super.barrier(step)
  }
}

/** Waits for nobody. */
class WithoutS2 extends Guard {
  override synchronize(): void {
    this.barrier('S1')
    this.barrier('S3')
  }
}

/**
 * Looks up what is published and reads it, `rounds` times. It judges outside: a branch inside would
 * keep the store that leaves from overtaking the load.
 */
function reader(rounds: number) {
  return (face: Face): void => {
    const guard = new Guard(slotOf(face.s, face.id), face.g, 0)
    for (let i = 0; i < rounds; i++) {
      guard.enter()
      const box = loadPlain(face.d, PUBLISHED)
      const value = loadPlain(face.d, BOXES + box)
      guard.leave()
      assert(value !== POISON, 'a reader read what was reused')
    }
  }
}

/** Makes its guard a second time while it is inside, in the form that was chosen. */
function readerWithTwo(form: GuardForm) {
  return (face: Face): void => {
    const guard = new Guard(slotOf(face.s, face.id), face.g, 0)
    guard.enter()
    const box = loadPlain(face.d, PUBLISHED)
    const again = new Guard(slotOf(face.s, face.id), face.g, 0)
    assert(again.isInside() && again.form === form, 'the second guard is another')
    const value = loadPlain(face.d, BOXES + box)
    guard.leave()
    assert(value !== POISON, 'a reader read what was reused')
  }
}

/** Publishes box `box` in place of another, waits, and reuses that. */
function waiter(Form: typeof Guard, box: number) {
  return (face: Face): void => {
    const guard = new Form(slotOf(face.s, face.id), face.g, 0)
    const before = exchange(face.d, PUBLISHED, box)
    guard.synchronize()
    store(face.d, BOXES + before, POISON)
  }
}

function reaper(face: Face): void {
  const dead = face.awaitDeath()
  new Slots(face.s).close(dead, 0)
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

interface Setting {
  readonly form: GuardForm
  readonly memory: 'tso' | 'arm'
  readonly deaths?: number
  /** The first slot's last thread died inside. */
  readonly isSlotUsed?: boolean
}

function guarded(name: string, threads: readonly Thread[], setting: Setting) {
  const { form, memory, deaths = 0, isSlotUsed = false } = setting
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  const ids = Array.from({ length: nrSlots }, (_, id) => id)
  const withReaper: Thread[] = [...threads, { name: 'reaper', daemon: true, body: reaper }]
  return model({
    name: `guard, ${form}, ${memory}: ${name}`,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      g: t.int32(names(nrSlots), {
        length: Guard.words(nrSlots),
        init: words => (isSlotUsed ? leaveBehind(words, form) : openEarly(words, form)),
      }),
      d: t.int32({ PUBLISHED: 0, BOX: [1, 4] }),
    }),
    threads: deaths === 0 ? threads : withReaper,
    memory,
    deaths,
    timeouts: true,
    atEnd: s => ids.every(id => s.dead(id) || s.g[(1 + id) * CACHE_LINE_WORDS]! % 2 === 0),
  })
}

function names(nrSlots: number): Record<string, number> {
  const names: Record<string, number> = { FORM: 0 }
  for (let slot = 0; slot < nrSlots; slot++) {
    names[`SEQUENCE[${slot}]`] = (1 + slot) * CACHE_LINE_WORDS
    names[`TOKEN[${slot}]`] = (1 + slot) * CACHE_LINE_WORDS + 1
  }
  return names
}

/** Every thread has made its guard once before. */
function openEarly(words: Words, form: GuardForm): void {
  const nrSlots = words.length / CACHE_LINE_WORDS - 1
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  aliveThreads(s)
  Guard.choose(words, 0, form)
  for (let id = 0; id < nrSlots; id++) new Guard(slotOf(s, id), words, 0)
}

function leaveBehind(words: Words, form: GuardForm): void {
  openEarly(words, form)
  words[CACHE_LINE_WORDS] = 7
  words[CACHE_LINE_WORDS + 1] = tokenOf(0, 5)
}

const READER = { name: 'reader', body: reader(1) }
const WAITER = { name: 'waiter', body: waiter(Guard, 1) }
const TWO_AND_TWO = [{ ...READER, count: 2 }, WAITER, { name: 'second', body: waiter(Guard, 2) }]

function brokenPair(Form: typeof Guard): Thread[] {
  return [READER, { name: 'waiter', body: waiter(Form, 1) }]
}

const TSO = { form: 'asymmetric', memory: 'tso' } as const
const ARM = { form: 'asymmetric', memory: 'arm' } as const
const PORTABLE = { form: 'portable', memory: 'arm' } as const

const good = [TSO, ARM, PORTABLE].flatMap(setting => [
  guarded('one reader', [READER, WAITER], setting),
  guarded('a reader comes back', [{ name: 'reader', body: reader(2) }, WAITER], setting),
  guarded(
    'made again inside',
    [{ name: 'reader', body: readerWithTwo(setting.form) }, WAITER],
    setting,
  ),
  guarded('two readers', [{ ...READER, count: 2 }, WAITER], setting),
  guarded('two readers, two waiters', TWO_AND_TWO, setting),
  guarded('in the slot of one that died inside', [READER, WAITER], {
    ...setting,
    isSlotUsed: true,
  }),
  guarded('one of two readers and two waiters dies', TWO_AND_TWO, { ...setting, deaths: 1 }),
])

const broken = [
  mustFail(guarded('without S1', brokenPair(WithoutS1), TSO), { kind: 'exception' }),
  mustFail(guarded('without S2', brokenPair(WithoutS2), TSO), { kind: 'exception' }),
  mustFail(guarded('without S3', brokenPair(WithoutS3), ARM), { kind: 'exception' }),
  guarded('x86-64 needs no S3', brokenPair(WithoutS3), TSO),
  mustFail(guarded('without S2', brokenPair(WithoutS2), PORTABLE), { kind: 'exception' }),
]

export const models = [...good, ...broken]
