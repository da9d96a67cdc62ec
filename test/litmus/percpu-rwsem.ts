/*
 * What the threads of the per-CPU semaphore's models do, and what must never be seen of them.
 */
import { add, load, notify, store, sub, type Words, wait } from '#atomics'
import type { Search } from '../../src/check/describe.ts'
import type { Declare } from '../../src/check/layout.ts'
import { model } from '../../src/check/model.ts'
import { assert } from '../../src/lib/assert.ts'
import { HotplugError } from '../../src/lib/errors.ts'
import type { Acquisition } from '../../src/locking/acquire.ts'
import { ONE_READER, PLACES, READERS } from '../../src/locking/percpu-gate.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import { CACHE_LINE_WORDS, type Slot, Slots, tokenOf } from '../../src/locking/slots.ts'
import { aliveThreads, codeOf, namesLiving, slotOf } from './threads.ts'

const HALF = 0
const LOOK = 1
const STAGE = 2
const TURNS = 3

/** A gate whose last writer died inside. */
export const SICK = 1
/** A gate closed by a thread that is not alive. */
export const SHUT_BY_THE_DEAD = tokenOf(0, 5) << 2
/** A gate closed by thread 0, which lives. */
export const SHUT_BY_THE_FIRST = tokenOf(0, 0) << 2

const SUCCESSOR_TID = 99

const HELD = 1
const IN_LINE = 2

/** Of a place: readers inside, the record of who stands in line, the mark of a sleeping writer. */
const WITHOUT_DEATHS = 0xfffffff

interface Face {
  readonly s: Words
  readonly m: Words
  readonly d: Words
  readonly id: number
  cs(label: string): void
  awaitDeath(): number
}

/** A thread of a model. */
export interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  readonly mortal?: boolean
  body(face: Face): void
}

/** Leaves, and does not wake the writer that waits for it. */
export class WithoutR4 extends PercpuRwsem {
  override upRead(): void {
    sub(this.words, placeOf(this.slot.index), ONE_READER)
  }
}

/** Counts itself, and does not look whether the gate is open. */
export class WithoutR2 extends WithoutR4 {
  override downRead(): boolean {
    add(this.words, placeOf(this.slot.index), ONE_READER)
    return false
  }
}

/** Says that the gate is closed, and does not wait for the readers inside. */
export class WithoutW2 extends PercpuRwsem {
  override downWrite(): boolean {
    store(this.words, 0, this.slot.token << 2)
    return false
  }

  override upWrite(): void {
    store(this.words, 0, 0)
  }
}

/** Tells nobody of a death. */
export class WithoutRecovery extends PercpuRwsem {
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
export function reader(face: Face, Form = PercpuRwsem): void {
  const sem = open(face, Form)
  sem.downRead()
  face.cs(`reads ${face.id}`)
  sem.upRead()
}

/** Goes in as a writer, and out. */
export function writer(face: Face, Form = PercpuRwsem): void {
  const sem = open(face, Form)
  sem.downWrite()
  inside(face, 'W')
  sem.upWrite()
}

/** Writes once, and is gone: alive no more, though nobody has died. */
export function leaver(face: Face): void {
  const slot = slotOf(face.s, face.id)
  writeWith(slot, face)
  slot.detach()
}

/** Takes the slot of thread 0 if that has left it, and writes. */
export function successor(face: Face): void {
  const oracle = { tid: SUCCESSOR_TID, start: 1, exists: () => true }
  const code = codeOf(() => writeWith(new Slots(face.s).attach(oracle, 0, 1), face))
  assert(code === '' || code === 'ENOSPC', 'refused for another reason')
}

function writeWith(slot: Slot, face: Face): void {
  const sem = new PercpuRwsem(slot, face.m, 0)
  sem.downWrite()
  inside(face, 'W')
  sem.upWrite()
}

/** Comes again: what its first round left is there in the second. */
export function twice(one: 'read' | 'write', two: 'read' | 'write') {
  return (face: Face): void => {
    const sem = open(face)
    goOnce(sem, one, face)
    goOnce(sem, two, face)
  }
}

function goOnce(sem: PercpuRwsem, how: 'read' | 'write', face: Face): void {
  if (how === 'read') {
    sem.downRead()
    face.cs(`reads ${face.id}`)
    sem.upRead()
    face.cs('')
    return
  }
  sem.downWrite()
  inside(face, 'W')
  sem.upWrite()
}

/** Changes two halves; who comes after a death in between is told. */
export function changer(face: Face): void {
  const sem = open(face)
  const wasTold = sem.downWrite()
  const half = load(face.d, HALF)
  assert(half === 0 || wasTold, 'a writer was not told')
  store(face.d, HALF, 1)
  store(face.d, HALF, 0)
  sem.upWrite()
}

/** As `changer`, as a reader. */
export function viewer(face: Face): void {
  const sem = open(face)
  const wasTold = sem.downRead()
  const half = load(face.d, HALF)
  assert(half === 0 || wasTold, 'a reader was not told')
  sem.upRead()
}

/** Reads if it can at once. */
export function tryReader(face: Face): void {
  const held = open(face).tryDownRead()
  if (held === null) return
  inside(face, 'R')
  held.release()
}

/** Writes if it can at once. */
export function tryWriter(face: Face): void {
  const held = open(face).tryDownWrite()
  if (held === null) return
  inside(face, 'W')
  held.release()
}

/** Reads if it gets in before it gives up. */
export function impatientReader(gets: (acquisition: Acquisition) => boolean) {
  return (face: Face): void => {
    const sem = open(face)
    if (!gets(sem.reading())) return
    const held = sem.heldRead()
    inside(face, 'R')
    held.release()
  }
}

/** Writes if it gets in before it gives up. */
export function impatientWriter(gets: (acquisition: Acquisition) => boolean) {
  return (face: Face): void => {
    const sem = open(face)
    if (!gets(sem.writing())) return
    const held = sem.heldWrite()
    inside(face, 'W')
    held.release()
  }
}

/** Reads again while it reads, if no writer waits. */
export function nestingReader(face: Face): void {
  const sem = open(face)
  sem.downRead()
  const held = sem.tryDownRead()
  held?.release()
  inside(face, 'R')
  sem.upRead()
}

/** As `nestingReader`, but does not look first: it is refused if a writer waits. */
export function blindlyNestingReader(face: Face): void {
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
export function twoOperations(face: Face): void {
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
export function twoOperationsOneHasty(face: Face): void {
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
export function holder(face: Face): void {
  const sem = open(face)
  sem.downWrite()
  reach(face.d, HELD)
  until(face.d, IN_LINE)
  sem.upWrite()
}

/** Stands in line first, and gets in first. */
export function first(how: 'read' | 'write') {
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
export function firstAtLast(how: 'read' | 'write') {
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
export function second(how: 'read' | 'write') {
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
export function isPatient(acquisition: Acquisition): boolean {
  if (acquisition.step()) return true
  wait(acquisition.words, acquisition.index, acquisition.value)
  if (acquisition.step()) return true
  acquisition.cancel()
  return false
}

/** Gives up at once. */
export function isHasty(acquisition: Acquisition): boolean {
  if (acquisition.step()) return true
  acquisition.cancel()
  return false
}

/** Recovers from a death. */
export function reap(face: Face, Form = PercpuRwsem): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.register(new Form(slotOf(face.s, dead), face.m, 0))
  slots.close(dead, 0)
}

/** Reaps, and finds the lock free: it alone is left. */
export function reaperThatTries(how: 'tryDownRead' | 'tryDownWrite') {
  return (face: Face): void => {
    reap(face)
    const held = open(face)[how]()
    assert(held !== null, 'the dead keep the lock')
    held.release()
  }
}

/** Reaps, takes the slot of the dead, and writes. */
export function reaperThatWrites(face: Face): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.register(new PercpuRwsem(slotOf(face.s, dead), face.m, 0))
  slots.close(dead, 0)
  slots.free(dead, 0)
  const oracle = { tid: SUCCESSOR_TID, start: 1, exists: () => true }
  writeWith(slots.attach(oracle, dead, dead + 1), face)
}

/** The recovery that most models have. */
export const REAPER: Thread = { name: 'reaper', daemon: true, body: face => reap(face) }

interface Setting {
  readonly deaths?: number
  readonly reaper?: Thread
  /** What the gate reads at first. */
  readonly gate?: number
  /** Every schedule, exactly, if left out. */
  readonly search?: Search
  readonly maxStates?: number
}

/** A model of threads over one semaphore. */
export function sem(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { deaths = 0, reaper = REAPER, gate = 0, search = 'all', maxStates } = setting
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
      const living = ids.filter(id => !s.dead(id))
      if (living.some(id => (s.m[placeOf(id)]! & WITHOUT_DEATHS) !== 0)) return false
      const { GATE, QUEUE } = s.m
      if (living.length === nrSlots) return GATE === 0 && QUEUE === 0
      return ![GATE >>> 2, QUEUE >>> 2].some(token => namesLiving(token, s.dead))
    },
    deaths,
    search,
    maxStates,
  })
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
