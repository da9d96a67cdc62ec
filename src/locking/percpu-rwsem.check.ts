/*
 * Readers and writers of the per-CPU semaphore in every order, with and without a death.
 *
 * Never: a writer inside with anybody else. Always: everybody gets in who asks, a death is told,
 * and the words end as they began. Each step that the essay argues with is left out once, and that
 * is found.
 */
import { load, store, type Words, wait } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import type { Acquisition } from './acquire.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import { CACHE_LINE_WORDS, Slots } from './slots.ts'

const HALF = 0
const LOOK = 1

interface Face {
  readonly s: Words
  readonly m: Words
  readonly d: Words
  readonly id: number
  cs(label: string): void
  awaitDeath(): number
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

function open(face: Face): PercpuRwsem {
  return new PercpuRwsem(slotOf(face.s, face.id), face.m, 0)
}

function inside(face: Face, label: string): void {
  face.cs(label)
  load(face.d, LOOK)
  face.cs('')
}

function reader(face: Face): void {
  const sem = open(face)
  sem.downRead()
  inside(face, 'R')
  sem.upRead()
}

function writer(face: Face): void {
  const sem = open(face)
  sem.downWrite()
  inside(face, 'W')
  sem.upWrite()
}

/** Changes two halves; who comes after a death in between is told. */
function changer(face: Face): void {
  const sem = open(face)
  const wasTold = sem.downWrite()
  const half = load(face.d, HALF)
  assert(half === 0 || wasTold, 'a writer was not told')
  store(face.d, HALF, 1)
  store(face.d, HALF, 0)
  sem.upWrite()
}

function viewer(face: Face): void {
  const sem = open(face)
  const wasTold = sem.downRead()
  const half = load(face.d, HALF)
  assert(half === 0 || wasTold, 'a reader was not told')
  sem.upRead()
}

function tryReader(face: Face): void {
  const held = open(face).tryDownRead()
  if (held === null) return
  inside(face, 'R')
  held.release()
}

function tryWriter(face: Face): void {
  const held = open(face).tryDownWrite()
  if (held === null) return
  inside(face, 'W')
  held.release()
}

function impatientReader(gets: (acquisition: Acquisition) => boolean) {
  return (face: Face): void => {
    const sem = open(face)
    if (!gets(sem.reading())) return
    const held = sem.heldRead()
    inside(face, 'R')
    held.release()
  }
}

function impatientWriter(gets: (acquisition: Acquisition) => boolean) {
  return (face: Face): void => {
    const sem = open(face)
    if (!gets(sem.writing())) return
    const held = sem.heldWrite()
    inside(face, 'W')
    held.release()
  }
}

/** Gives up once it is woken in vain. */
function isPatient(acquisition: Acquisition): boolean {
  if (acquisition.step()) return true
  wait(acquisition.words, acquisition.index, acquisition.value)
  if (acquisition.step()) return true
  acquisition.cancel()
  return false
}

/** Gives up at once. */
function isHasty(acquisition: Acquisition): boolean {
  if (acquisition.step()) return true
  acquisition.cancel()
  return false
}

function reaper(face: Face): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.register(new PercpuRwsem(slotOf(face.s, dead), face.m, 0))
  slots.close(dead, 0)
}

function sem(name: string, threads: readonly Thread[], deaths = 0) {
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  const withReaper: Thread[] = [...threads, { name: 'reaper', daemon: true, body: reaper }]
  return model({
    name,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      m: t.int32(placeNames(nrSlots), { length: PercpuRwsem.words(nrSlots), init: openEarly }),
      d: t.int32({ HALF: 0, LOOK: 1 }),
    }),
    threads: deaths === 0 ? threads : withReaper,
    never: s => s.in('W') > 1 || (s.in('W') > 0 && s.in('R') > 0),
    atEnd: s => deaths > 0 || s.m.GATE === 0,
    deaths,
  })
}

function placeNames(nrSlots: number): { readonly GATE: 0; readonly QUEUE: 16 } {
  const names: Record<string, number> = { GATE: 0, TICKET: 1, QUEUE: CACHE_LINE_WORDS }
  for (let slot = 0; slot < nrSlots; slot++) {
    names[`PLACE[${slot}]`] = (2 + slot) * CACHE_LINE_WORDS
    names[`TOKEN[${slot}]`] = (2 + slot) * CACHE_LINE_WORDS + 1
  }
  return names as { readonly GATE: 0; readonly QUEUE: 16 }
}

/** Every thread has made its semaphore once before. */
function openEarly(words: Words): void {
  const nrSlots = words.length / CACHE_LINE_WORDS - 2
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  aliveThreads(s)
  for (let id = 0; id < nrSlots; id++) new PercpuRwsem(slotOf(s, id), words, 0)
}

const READER = { name: 'reader', body: reader }
const WRITER = { name: 'writer', body: writer }

export const models = [
  sem('percpu rwsem, 1+1', [READER, WRITER]),
  sem('percpu rwsem, 0+2', [{ ...WRITER, count: 2 }]),
  sem('percpu rwsem, 1+1, one dies', [READER, WRITER], 1),
  sem('percpu rwsem', [
    { ...READER, count: 2 },
    { ...WRITER, count: 2 },
  ]),
  sem('percpu rwsem, one of 1+2 dies', [READER, { ...WRITER, count: 2 }], 1),
  sem('percpu rwsem, one of 2+1 dies', [{ ...READER, count: 2 }, WRITER], 1),
  sem(
    'percpu rwsem, a death is told',
    [
      { name: 'changer', count: 2, body: changer },
      { name: 'viewer', body: viewer },
    ],
    1,
  ),
  sem('percpu rwsem, tries', [
    { name: 'try reader', body: tryReader },
    { name: 'try writer', body: tryWriter },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, a reader gives up', [
    { name: 'impatient', body: impatientReader(isPatient) },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, a writer gives up', [
    { name: 'impatient', body: impatientWriter(isPatient) },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, two give up at once', [
    { name: 'hasty reader', body: impatientReader(isHasty) },
    { name: 'hasty writer', body: impatientWriter(isHasty) },
    WRITER,
  ]),
  sem(
    'percpu rwsem, one gives up and one dies',
    [{ name: 'hasty writer', body: impatientWriter(isHasty) }, READER, WRITER],
    1,
  ),
]
