/*
 * Migration beside readers and writers: nobody reads a frame that was freed (frees poison), no
 * reader sees time go back, no write is lost, nobody sleeps for ever. A reader, a writer or the
 * service thread dies anywhere; the service thread's successor recovers.
 */
import { barrierAll, load, loadPlain, store, storePlain, type Words, wait } from '#atomics'
import {
  controlOf,
  Declared,
  type MemoryFace,
  memoryViews,
  ownSlot,
  TINY,
} from '../../test/litmus/memory.ts'
import {
  FIRST,
  FIRST_TARGET,
  hasPages,
  ModelFrames,
  nrLeft,
  POISON,
  Rings,
  ring,
  SECOND,
  Walk,
  withPages,
  writtenAt,
} from '../../test/litmus/migration.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard, type GuardForm } from '../locking/guard.ts'
import { Slots } from '../locking/slots.ts'
import { type Frames, type MemoryControl, VirtualKind, WRITE_PROTECTED } from './geometry.ts'
import { Migration, type Targets, waitUnprotected } from './migration.ts'
import { pteAt } from './page-table.ts'
import { VirtualPages } from './virtual-pages.ts'

const SERVICE = 0
const TRIES = 2
/** How often a writer sleeps before it gives up, where sleeps may time out again and again. */
const SLEEPS_MAX = 2

/** How the service thread works, or is broken. */
interface Parts {
  readonly Migrator: typeof Migration
  readonly ServiceGuard: typeof Guard
  /** Frames that there are to move to. */
  readonly nrTargets: number
}

const SHIPPED: Parts = { Migrator: Migration, ServiceGuard: Guard, nrTargets: 2 }

interface Face extends MemoryFace {
  /** What was written last, as its writer knows. */
  readonly w: Words
}

/** A thread's hand on all that moves pages. */
function openService(face: Face, { Migrator, ServiceGuard, nrTargets }: Parts) {
  const slot = ownSlot(face)
  const control = controlOf(face, TINY)
  const frames = new Declared(face)
  const guard = new ServiceGuard(slot, face.g, 0)
  const source = new ModelFrames(slot, frames, FIRST_TARGET, FIRST_TARGET + nrTargets)
  const migration = new Migrator(control, frames, guard, {
    take: () => source.take(),
    give: pfns => {
      for (let i = 0; i < pfns.length; i++) source.freePage(pfns[i]!)
    },
    populate: () => {},
  })
  const pages = new VirtualPages(slot, control, frames, source)
  return { guard, source, migration, pages }
}

/** Empties blocks 0 to `nrBlocks - 1`. */
function empty({ migration }: ReturnType<typeof openService>, nrBlocks: number): void {
  for (let block = 0; block < nrBlocks; block++) {
    for (let i = 0; i < TRIES; i++) {
      const { stopped } = migration.batch(block)
      if (stopped !== 'inside') break
    }
  }
  if (migration.trySettle() !== -1) migration.settle()
}

/** As `MemoryDuties.recover`. */
function recover(hands: ReturnType<typeof openService>): void {
  hands.migration.settle()
  hands.migration.recover()
  hands.pages.recoverDead()
  hands.source.recoverDead()
  hands.guard.synchronize()
  hands.pages.freeStale()
}

function service(nrBlocks: number, parts: Parts) {
  return (face: Face): void => empty(openService(face, parts), nrBlocks)
}

/** Recovers while nobody is dead, or somebody is whom it does not know of; then empties. */
function serviceThatRecovers(nrBlocks: number, parts: Parts) {
  return (face: Face): void => {
    const hands = openService(face, parts)
    recover(hands)
    empty(hands, nrBlocks)
    recover(hands)
  }
}

/** Releases what the dead held, and recovers what the service thread left. */
function successor(parts: Parts) {
  return (face: Face): void => {
    const dead = face.awaitDeath()
    barrierAll() // the dead are told of when they run no more: nothing of theirs is on its way
    new Slots(face.s).close(dead, 0)
    ring(face.g, dead)
    if (dead !== SERVICE) return
    recover(openService(face, parts))
  }
}

/** Reads a page so many times. */
function reader(vpn: number, rounds: number) {
  return (face: Face): void => {
    const guard = new Rings(ownSlot(face), face.g, 0)
    const walk = new Walk(face)
    let newest = 0
    for (let i = 0; i < rounds; i++) {
      guard.enter()
      walk.to(vpn)
      const value = loadPlain(walk.words, walk.at)
      guard.leave()
      assert(value !== POISON, 'a reader read a frame that was freed')
      assert(value >= newest, 'a reader saw time go back')
      newest = value
    }
  }
}

/** A virtual page, a word of it, what it is to be. */
type Writing = readonly [number, number, number]

/** U1 to U3. @returns What was there before; -1: it gave up. */
function write(face: Face, guard: Guard, [vpn, word, value]: Writing): number {
  const walk = new Walk(face)
  for (let i = 0; ; i++) {
    if (i > SLEEPS_MAX) return -1
    guard.enter()
    walk.to(vpn)
    if (!walk.isProtected) break
    guard.leave()
    waitUnprotected(controlOf(face, TINY), vpn)
  }
  const before = loadPlain(walk.words, walk.at + word)
  storePlain(walk.words, walk.at + word, value)
  guard.leave()
  return before
}

/** Counts up a word of a page. */
function writer(vpn: number, rounds: number, word = 0) {
  return (face: Face): void => {
    const guard = new Rings(ownSlot(face), face.g, 0)
    for (let i = 1; i <= rounds; i++) {
      const before = write(face, guard, [vpn, word, i])
      if (before === -1) return
      assert(before === i - 1, 'a write was lost')
      store(face.w, writtenAt(vpn, word), i)
    }
  }
}

/** Opens two pages in block 0, where there is a frame for one, and so gives that back. */
function opener(face: Face): void {
  const slot = ownSlot(face)
  const frames = new Declared(face)
  const source = new ModelFrames(slot, frames, TINY.pagesPerBlock - 1, TINY.pagesPerBlock)
  const pages = new VirtualPages(slot, controlOf(face, TINY), frames, source)
  const opened = pages.openRun(1, VirtualKind.Table, 2)
  assert(opened === -1, 'there was room')
}

/** Writes whatever the page table says. */
function writerThatDoesNotLook(face: Face): void {
  const guard = new Rings(ownSlot(face), face.g, 0)
  const walk = new Walk(face)
  guard.enter()
  walk.to(FIRST)
  storePlain(walk.words, walk.at, 1)
  guard.leave()
  store(face.w, writtenAt(FIRST, 0), 1)
}

/** Sleeps on what EVENT is once the page is known to be protected. */
function writerThatLooksTooLate(face: Face): void {
  const guard = new Rings(ownSlot(face), face.g, 0)
  const walk = new Walk(face)
  for (;;) {
    guard.enter()
    walk.to(FIRST)
    const event = walk.isProtected ? load(face.e, 0) : 0
    if (!walk.isProtected) break
    guard.leave()
    wait(face.e, 0, event)
  }
  storePlain(walk.words, walk.at, 1)
  guard.leave()
  store(face.w, writtenAt(FIRST, 0), 1)
}

/** Protects nothing. */
class WithoutM2 extends Migration {
  override protect(): void {}
}

/** Switches, then copies. */
class M4AfterM5 extends Migration {
  override copy(): void {}

  override switchTo(from: readonly number[], to: readonly number[]): void {
    super.switchTo(from, to)
    if (from !== to) super.copy(from, to)
  }
}

/** Wakes before the pages can be written. */
class M6BeforeM5 extends Migration {
  override switchTo(from: readonly number[], to: readonly number[]): void {
    super.wakeWriters()
    super.switchTo(from, to)
  }

  override wakeWriters(): void {}
}

/** Wakes nobody. */
class WithoutM6 extends Migration {
  override wakeWriters(): void {}
}

/** Frees the old frames before the grace period that they share with the next batch. */
class M7BeforeM3 extends Migration {
  override protect(pfns: readonly number[]): void {
    super.protect(pfns)
    this.freeOld()
  }
}

/** Wakes as soon as the first page of a batch can be written. */
class M6BeforeNextM5 extends Migration {
  private isWoken = false

  override switchTo(from: readonly number[], to: readonly number[]): void {
    for (let i = 0; i < from.length; i++) super.switchTo([from[i]!], [to[i]!])
  }

  override wakeWriters(): void {
    if (!this.isWoken) super.wakeWriters()
    this.isWoken = true
  }
}

/** Frees the old frames after a grace period that begins as the first page is switched. */
class M7BeforeNextM5 extends Migration {
  private readonly waiter: Guard

  constructor(control: MemoryControl, frames: Frames, guard: Guard, targets: Targets) {
    super(control, frames, guard, targets)
    this.waiter = guard
  }

  override switchTo(from: readonly number[], to: readonly number[]): void {
    super.switchTo(from.slice(0, 1), to.slice(0, 1))
    this.waiter.synchronize()
    super.switchTo(from.slice(1), to.slice(1))
  }

  override trySettle(): number {
    this.freeOld()
    return -1
  }
}

/** Does not unprotect what its predecessor protected. */
class RecoversNothing extends Migration {
  override recover(): void {}
}

/** M3 waits for nobody. */
class WithoutM3 extends Guard {
  override trySynchronize(): number {
    return -1
  }
}

/** M7 waits for nobody. */
class WithoutM7 extends Migration {
  override trySettle(): number {
    this.freeOld()
    return -1
  }
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

interface Setting {
  readonly form?: GuardForm
  /** Blocks to be emptied: 1 or 2. */
  readonly nrBlocks?: number
  /** Pages that are in each of them: 1 if left out. */
  readonly perBlock?: number
  readonly deaths?: number
  readonly parts?: Parts
  /** Whether sleeps may end by themselves: then a batch may be given up. */
  readonly timeouts?: boolean
  /** A service thread has died after M2. */
  readonly isLeft?: boolean
}

function moving(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { form = 'asymmetric', nrBlocks = 1, perBlock = 1, deaths = 0 } = setting
  const { timeouts = false, isLeft = false, parts = SHIPPED } = setting
  const canStay = timeouts || deaths > 0
  const nrPages = nrBlocks * perBlock
  const nrStay = Math.max(0, nrPages - parts.nrTargets)
  const all = [...threads]
  const body = successor(parts)
  if (deaths > 0) all.push({ name: 'successor', daemon: true, body })
  const nrSlots = all.reduce((sum, { count = 1 }) => sum + count, 0)
  return model({
    name: `migration, ${form}: ${name}`,
    shared: (t: Declare) => ({
      ...memoryViews(t, () => {
        const prepared = withPages(nrSlots, form, { nrBlocks, perBlock })
        if (isLeft) prepared.control.pageTable[pteAt(FIRST)]! |= WRITE_PROTECTED
        return prepared
      }),
      w: t.int32({ WRITTEN: [0, writtenAt(FIRST + nrPages, 0)] }),
    }),
    threads: all,
    deaths,
    timeouts,
    atEnd: s => hasPages(s, nrPages) && (canStay || nrLeft(s, nrBlocks) === nrStay),
  })
}

const SERVICE_ONE = { name: 'service', body: service(1, SHIPPED) }
const SERVICE_TWO = { name: 'service', body: service(2, SHIPPED) }
const SERVICE_RECOVERS = { name: 'service', body: serviceThatRecovers(1, SHIPPED) }
const READ_TWICE = { name: 'reader', body: reader(FIRST, 2) }
const READ_ONCE = { name: 'reader', body: reader(FIRST, 1) }
const READ_SECOND = { name: 'reader of another', body: reader(SECOND, 1) }
const WRITE_TWICE = { name: 'writer', body: writer(FIRST, 2) }
const WRITE_ONCE = { name: 'writer', body: writer(FIRST, 1) }
const WRITE_NEXT = { name: 'writer of another word', body: writer(FIRST, 1, 1) }
const WRITE_SECOND = { name: 'writer of another', body: writer(SECOND, 1) }
const OPENER = { name: 'opener', body: opener }
const ONE_TARGET: Parts = { ...SHIPPED, nrTargets: 1 }
const SHORT = { name: 'service', body: service(1, ONE_TARGET) }
const TWO = { nrBlocks: 2 } as const
/** A batch of two pages. */
const PAIR = { perBlock: 2 } as const
const PORTABLE = { form: 'portable' } as const
const DEATH = { deaths: 1, timeouts: true } as const

const good = [
  moving('a reader and a writer', [SERVICE_ONE, READ_TWICE, WRITE_ONCE]),
  moving('a reader and a writer', [SERVICE_ONE, READ_TWICE, WRITE_ONCE], PORTABLE),
  moving('a writer writes twice', [SERVICE_ONE, WRITE_TWICE]),
  moving('two writers', [SERVICE_ONE, WRITE_ONCE, WRITE_NEXT]),
  moving('a page that is about to be opened', [SERVICE_ONE, OPENER]),
  moving('two batches, a reader of each', [SERVICE_TWO, READ_ONCE, READ_SECOND], TWO),
  moving('two batches, a writer', [SERVICE_TWO, WRITE_TWICE], TWO),
  moving('a reader stays, a batch is given up', [SERVICE_ONE, READ_TWICE], { timeouts: true }),
  moving('recovers while nobody is dead', [SERVICE_RECOVERS, READ_ONCE, WRITE_ONCE]),
  moving('a predecessor left it protected', [SERVICE_RECOVERS, WRITE_TWICE], { isLeft: true }),
  moving('a reader or the service thread dies', [SERVICE_ONE, READ_TWICE], DEATH),
  moving('a writer or the service thread dies', [SERVICE_ONE, WRITE_ONCE], DEATH),
  moving('a writer or the service thread dies', [SERVICE_ONE, WRITE_ONCE], {
    ...DEATH,
    ...PORTABLE,
  }),
  moving('two batches, one of two dies', [SERVICE_TWO, READ_ONCE], { ...DEATH, ...TWO }),
  moving('a batch of two, a reader and a writer', [SERVICE_ONE, READ_ONCE, WRITE_SECOND], PAIR),
  moving('a batch of two, a reader and a writer', [SERVICE_ONE, READ_ONCE, WRITE_SECOND], {
    ...PAIR,
    ...PORTABLE,
  }),
  moving('a batch of two, a reader of the second', [SERVICE_ONE, READ_SECOND, WRITE_ONCE], PAIR),
  moving('a batch of two, a writer of each', [SERVICE_ONE, WRITE_ONCE, WRITE_SECOND], PAIR),
  moving('a batch of two, one of two dies', [SERVICE_ONE, WRITE_SECOND], { ...DEATH, ...PAIR }),
  moving('a batch of two, room for one', [SHORT, WRITE_ONCE, WRITE_SECOND], {
    ...PAIR,
    parts: ONE_TARGET,
  }),
  moving('a batch of two, room for one, a death', [SHORT, WRITE_SECOND], {
    ...DEATH,
    ...PAIR,
    parts: ONE_TARGET,
  }),
]

/** A model of a broken service thread. */
function broken(
  name: string,
  beside: Thread,
  [kind, parts]: ['exception' | 'atEnd' | 'deadlock', Partial<Parts>],
  { nrBlocks = 1, ...setting }: Setting = {},
) {
  const all = { ...SHIPPED, ...parts }
  const threads = [{ name: 'service', body: service(nrBlocks, all) }, beside]
  return mustFail(moving(name, threads, { ...setting, nrBlocks, parts: all }), { kind })
}

/** Broken for batches of two pages; of one, it moves them as it should. */
function brokenForTwo(name: string, Migrator: typeof Migration, kind: 'exception' | 'deadlock') {
  const parts = { ...SHIPPED, Migrator }
  const one = { name: 'service', body: service(1, parts) }
  return [
    moving(`${name}, where there is none`, [one, READ_ONCE, WRITE_ONCE], { parts }),
    broken(name, kind === 'deadlock' ? WRITE_SECOND : READ_SECOND, [kind, { Migrator }], PAIR),
  ]
}

/** What `npm run check` runs. */
export const models = [
  ...good,
  broken('without M2', WRITE_ONCE, ['atEnd', { Migrator: WithoutM2 }]),
  broken('without M3', WRITE_ONCE, ['atEnd', { ServiceGuard: WithoutM3 }]),
  broken('M4 after M5', WRITE_TWICE, ['exception', { Migrator: M4AfterM5 }]),
  broken('M6 before M5', WRITE_ONCE, ['deadlock', { Migrator: M6BeforeM5 }]),
  broken('without M6', WRITE_ONCE, ['deadlock', { Migrator: WithoutM6 }]),
  broken('without M7', READ_ONCE, ['exception', { Migrator: WithoutM7 }]),
  broken('M7 before M3', READ_ONCE, ['exception', { Migrator: M7BeforeM3 }], { nrBlocks: 2 }),
  ...brokenForTwo('M6 before the next M5', M6BeforeNextM5, 'deadlock'),
  ...brokenForTwo('M7 before the next M5', M7BeforeNextM5, 'exception'),
  broken('a writer that does not look', { name: 'writer', body: writerThatDoesNotLook }, [
    'atEnd',
    {},
  ]),
  broken('U2 after U3', { name: 'writer', body: writerThatLooksTooLate }, ['deadlock', {}]),
  broken(
    'a successor that unprotects nothing',
    WRITE_ONCE,
    ['atEnd', { Migrator: RecoversNothing }],
    DEATH,
  ),
]
