/*
 * Readers and writers of the per-CPU semaphore in every order, with and without a death.
 *
 * Never: a writer inside with anybody else. Always: everybody gets in who asks, a death is told,
 * and the words end as they began. Four of the steps are left out to see it found; `npm run mutate`
 * leaves out the others.
 */
import { add, load, notify, store, sub, type Words, wait } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import type { Acquisition } from './acquire.ts'
import { ONE_READER, PLACES, READERS } from './percpu-gate.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from './slots.ts'

const HALF = 0
const LOOK = 1
const STAGE = 2
const TURNS = 3

const SICK = 1
const SHUT_BY_THE_DEAD = tokenOf(0, 5) << 2
const SHUT_BY_THE_FIRST = tokenOf(0, 0) << 2

const HELD = 1
const IN_LINE = 2

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

/** Leaves, and does not wake the writer that waits for it. */
class WithoutR4 extends PercpuRwsem {
  override upRead(): void {
    sub(this.words, placeOf(this.slot.index), ONE_READER)
  }
}

/** Counts itself, and does not look whether the gate is open. */
class WithoutR2 extends WithoutR4 {
  override downRead(): boolean {
    add(this.words, placeOf(this.slot.index), ONE_READER)
    return false
  }
}

/** Says that the gate is closed, and does not wait for the readers inside. */
class WithoutW2 extends PercpuRwsem {
  override downWrite(): boolean {
    store(this.words, 0, this.slot.token << 2)
    return false
  }

  override upWrite(): void {
    store(this.words, 0, 0)
  }
}

/** Tells nobody of a death. */
class WithoutRecovery extends PercpuRwsem {
  override recover(_token: number): void {}
}

function placeOf(slot: number): number {
  return PLACES + slot * CACHE_LINE_WORDS
}

function open(face: Face, Form = PercpuRwsem): PercpuRwsem {
  return new Form(slotOf(face.s, face.id), face.m, 0)
}

function inside(face: Face, label: string): void {
  face.cs(label)
  load(face.d, LOOK)
  face.cs('')
}

/** The label alone does not say when it leaves; its place does. */
function reader(face: Face, Form = PercpuRwsem): void {
  const sem = open(face, Form)
  sem.downRead()
  face.cs(`reads ${face.id}`)
  sem.upRead()
}

function writer(face: Face, Form = PercpuRwsem): void {
  const sem = open(face, Form)
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

/** Reads again while it reads, if no writer waits. */
function nestingReader(face: Face): void {
  const sem = open(face)
  sem.downRead()
  const held = sem.tryDownRead()
  held?.release()
  inside(face, 'R')
  sem.upRead()
}

/** As `nestingReader`, but does not look first: it is refused if a writer waits. */
function blindlyNestingReader(face: Face): void {
  const sem = open(face)
  sem.downRead()
  try {
    sem.downRead()
    sem.upRead()
  } catch (error) {
    assert(error instanceof HotplugError && error.code === 'EDEADLK', 'refused for another reason')
  }
  inside(face, 'R')
  sem.upRead()
}

/** An event loop: one operation reads, another comes, the first leaves. */
function twoOperations(face: Face): void {
  const sem = open(face)
  const first = sem.reading()
  if (!first.step()) {
    first.cancel()
    return
  }
  const one = sem.heldRead()
  const second = sem.reading()
  const isIn = second.step()
  one.release()
  if (!isIn) finish(second)
  const two = sem.heldRead()
  inside(face, 'R')
  two.release()
}

/** As `twoOperations`, but the other gives up if it has to wait. */
function twoOperationsOneHasty(face: Face): void {
  const sem = open(face)
  const first = sem.reading()
  if (!first.step()) {
    first.cancel()
    return
  }
  const one = sem.heldRead()
  if (isHasty(sem.reading())) sem.heldRead().release()
  inside(face, 'R')
  one.release()
}

function finish(acquisition: Acquisition): void {
  do wait(acquisition.words, acquisition.index, acquisition.value)
  while (!acquisition.step())
}

/** Keeps the gate shut until somebody stands in line. */
function holder(face: Face): void {
  const sem = open(face)
  sem.downWrite()
  reach(face.d, HELD)
  until(face.d, IN_LINE)
  sem.upWrite()
}

/** Stands in line first, and gets in first. */
function first(how: 'read' | 'write') {
  return (face: Face): void => {
    const sem = open(face)
    until(face.d, HELD)
    const acquisition = begin(sem, how)
    const isIn = acquisition.step()
    assert(!isIn, 'the first did not have to wait')
    reach(face.d, IN_LINE)
    finish(acquisition)
    const turn = add(face.d, TURNS, 1)
    assert(turn === 0, 'the second overtook the first')
    end(sem, how)
  }
}

/** As `first`, once it has given up twice. */
function firstAtLast(how: 'read' | 'write') {
  return (face: Face): void => {
    const sem = open(face)
    until(face.d, HELD)
    for (let i = 0; i < 2; i++) {
      const acquisition = begin(sem, how)
      const isIn = isHasty(acquisition)
      assert(!isIn, 'the first did not have to wait')
    }
    first(how)(face)
  }
}

/** Comes once the first stands in line. */
function second(how: 'read' | 'write') {
  return (face: Face): void => {
    const sem = open(face)
    until(face.d, IN_LINE)
    const acquisition = begin(sem, how)
    const isIn = acquisition.step()
    if (!isIn) finish(acquisition)
    add(face.d, TURNS, 1)
    end(sem, how)
  }
}

function begin(sem: PercpuRwsem, how: 'read' | 'write'): Acquisition {
  return how === 'read' ? sem.reading() : sem.writing()
}

function end(sem: PercpuRwsem, how: 'read' | 'write'): void {
  const held = how === 'read' ? sem.heldRead() : sem.heldWrite()
  held.release()
}

function reach(d: Words, stage: number): void {
  store(d, STAGE, stage)
  notify(d, STAGE)
}

function until(d: Words, stage: number): void {
  for (;;) {
    const now = load(d, STAGE)
    if (now >= stage) return
    wait(d, STAGE, now)
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

function reap(face: Face, Form = PercpuRwsem): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.register(new Form(slotOf(face.s, dead), face.m, 0))
  slots.close(dead, 0)
}

/** Reaps, and finds the lock free: it alone is left. */
function reaperThatTries(how: 'tryDownRead' | 'tryDownWrite') {
  return (face: Face): void => {
    reap(face)
    const held = open(face)[how]()
    assert(held !== null, 'the dead keep the lock')
    held.release()
  }
}

const REAPER: Thread = { name: 'reaper', daemon: true, body: face => reap(face) }

interface Setting {
  readonly deaths?: number
  readonly reaper?: Thread
  /** What the gate reads at first. */
  readonly gate?: number
  /** Random schedules; all if left out. */
  readonly search?: { readonly pct: number; readonly runs: number; readonly seed: number }
}

function sem(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { deaths = 0, reaper = REAPER, gate = 0 } = setting
  const all = deaths === 0 ? threads : [...threads, reaper]
  const nrSlots = all.reduce((sum, { count = 1 }) => sum + count, reaper === REAPER ? -deaths : 0)
  const ids = Array.from({ length: nrSlots }, (_, id) => id)
  return model({
    name,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      m: t.int32(placeNames(nrSlots), {
        length: PercpuRwsem.words(nrSlots),
        init: words => openEarly(words, gate),
      }),
      d: t.int32({ HALF: 0, LOOK: 1, STAGE: 2, TURNS: 3 }),
    }),
    threads: all,
    never: s => {
      const readers = (id: number): number => s.m[placeOf(id)]! & READERS
      const isRead = (id: number): boolean => s.in(`reads ${id}`) > 0 && readers(id) > 0
      return s.in('W') > 1 || (s.in('W') > 0 && (s.in('R') > 0 || ids.some(isRead)))
    },
    atEnd: s => {
      const owner = (s.m.GATE >>> 2) - 1
      return deaths === 0 ? isAtRest(s.m, nrSlots) : owner < 0 || s.dead(owner)
    },
    deaths,
    search: setting.search ?? 'all',
  })
}

function isAtRest(m: { readonly [index: number]: number }, nrSlots: number): boolean {
  let sum = m[0]!
  for (let slot = 0; slot < nrSlots; slot++) sum |= m[placeOf(slot)]!
  return sum === 0
}

function placeNames(nrSlots: number): { readonly GATE: 0; readonly QUEUE: 16 } {
  const names: Record<string, number> = { GATE: 0, TICKET: 1, QUEUE: CACHE_LINE_WORDS }
  for (let slot = 0; slot < nrSlots; slot++) {
    names[`PLACE[${slot}]`] = placeOf(slot)
    names[`TOKEN[${slot}]`] = placeOf(slot) + 1
  }
  return names as { readonly GATE: 0; readonly QUEUE: 16 }
}

/** Every thread has made its semaphore once before. */
function openEarly(words: Words, gate: number): void {
  words[0] = gate
  const nrSlots = words.length / CACHE_LINE_WORDS - 2
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  aliveThreads(s)
  for (let id = 0; id < nrSlots; id++) new PercpuRwsem(slotOf(s, id), words, 0)
}

const READER: Thread = { name: 'reader', body: face => reader(face) }
const WRITER: Thread = { name: 'writer', body: face => writer(face) }

function inTurn(one: 'read' | 'write', two: 'read' | 'write'): Thread[] {
  return [
    { name: 'second', body: second(two) },
    { name: 'first', body: first(one) },
    { name: 'holder', body: holder },
  ]
}
const TWO_AND_TWO = [
  { ...READER, count: 2 },
  { ...WRITER, count: 2 },
]
const CHANGER = { name: 'changer', body: changer }
const VIEWER = { name: 'viewer', body: viewer }
const HASTY_WRITER = { name: 'hasty writer', body: impatientWriter(isHasty) }
const ALONE = [{ ...WRITER, name: 'victim' }]

function pair(Form: typeof PercpuRwsem): Thread[] {
  return [
    { name: 'reader', body: face => reader(face, Form) },
    { name: 'writer', body: face => writer(face, Form) },
  ]
}

export const models = [
  mustFail(sem('percpu rwsem without R2', pair(WithoutR2)), { kind: 'never' }),
  mustFail(sem('percpu rwsem without R4', pair(WithoutR4)), { kind: 'deadlock' }),
  mustFail(sem('percpu rwsem without W2', pair(WithoutW2)), { kind: 'never' }),
  mustFail(
    sem('percpu rwsem without recovery', [READER, WRITER], {
      deaths: 1,
      reaper: { ...REAPER, body: face => reap(face, WithoutRecovery) },
    }),
    { kind: 'deadlock' },
  ),
  sem('percpu rwsem, 1+1', [READER, WRITER]),
  sem('percpu rwsem, 0+2', [{ ...WRITER, count: 2 }]),
  sem('percpu rwsem, 1+1, one dies', [READER, WRITER], { deaths: 1 }),
  sem('percpu rwsem, after a death, 0+2', [{ ...WRITER, count: 2 }], { gate: SICK }),
  sem('percpu rwsem, shut by the dead, 1+1', [READER, WRITER], { gate: SHUT_BY_THE_DEAD }),
  sem('percpu rwsem, shut by the dead, 0+2', [{ ...WRITER, count: 2 }], { gate: SHUT_BY_THE_DEAD }),
  sem('percpu rwsem, handed on by the dead', [WRITER, READER], { gate: SHUT_BY_THE_FIRST }),
  sem('percpu rwsem, a dead writer, and who tries to read', ALONE, {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatTries('tryDownRead') },
  }),
  sem('percpu rwsem, a dead writer, and who tries to write', ALONE, {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatTries('tryDownWrite') },
  }),
  sem('percpu rwsem, a reader comes again', [{ name: 'nesting', body: nestingReader }, WRITER]),
  sem('percpu rwsem, a reader comes again blindly', [
    { name: 'nesting', body: blindlyNestingReader },
    WRITER,
  ]),
  sem('percpu rwsem, two operations of one thread', [
    { name: 'event loop', body: twoOperations },
    { ...WRITER, count: 2 },
  ]),
  sem('percpu rwsem, of two operations of one thread one gives up', [
    { name: 'event loop', body: twoOperationsOneHasty },
    WRITER,
  ]),
  sem('percpu rwsem, a writer first', inTurn('write', 'write')),
  sem('percpu rwsem, a writer before a reader', inTurn('write', 'read')),
  sem('percpu rwsem, a reader before a writer', inTurn('read', 'write')),
  sem('percpu rwsem, tickets of those who gave up', [
    { name: 'second', body: second('write') },
    { name: 'first', body: firstAtLast('write') },
    { name: 'holder', body: holder },
    WRITER,
  ]),
  sem('percpu rwsem, a hasty writer, one dies', [HASTY_WRITER, WRITER], { deaths: 1 }),
  sem('percpu rwsem', TWO_AND_TWO),
  sem('percpu rwsem, one of 1+2 dies', [READER, { ...WRITER, count: 2 }], { deaths: 1 }),
  sem('percpu rwsem, one of 2+1 dies', [{ ...READER, count: 2 }, WRITER], { deaths: 1 }),
  sem('percpu rwsem, a writer is told of a death', [{ ...CHANGER, count: 2 }], { deaths: 1 }),
  sem('percpu rwsem, a reader is told of a death', [CHANGER, VIEWER], { deaths: 1 }),
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
    HASTY_WRITER,
    WRITER,
  ]),
  sem('percpu rwsem, one of 2+2 dies', TWO_AND_TWO, {
    deaths: 1,
    search: { pct: 4, runs: 10_000, seed: 1 },
  }),
]
