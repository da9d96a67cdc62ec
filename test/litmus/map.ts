/*
 * One bucket of a map for models: memory of a few small pages, what threads do to the map, and what
 * a model of it is made of. What must hold at the end is in map-ends.ts.
 */
import { add, copyWords, load, notify, or, store, type Words } from '#atomics'
import type { Declare } from '../../src/check/layout.ts'
import { type Checkable, model } from '../../src/check/model.ts'
import { Compactor, type MoverParts } from '../../src/collections/compactor.ts'
import {
  COUNT,
  type CollectionsContext,
  EPOCH,
  SHARD_WORDS,
  TABLE,
  USED,
} from '../../src/collections/layout.ts'
import { MapCore, type MapParts } from '../../src/collections/map-core.ts'
import { Orphans } from '../../src/collections/orphans.ts'
import { ABSENT } from '../../src/collections/reader.ts'
import { assert } from '../../src/lib/assert.ts'
import { Guard, type GuardForm } from '../../src/locking/guard.ts'
import { CACHE_LINE_WORDS, Slots } from '../../src/locking/slots.ts'
import {
  type MemoryControl,
  VIRTUAL_RECORD_WORDS,
  WRITE_PROTECT_EVENT,
  WRITE_PROTECTED,
} from '../../src/mm/geometry.ts'
import { pfnOf, pteAt, pteOf } from '../../src/mm/page-table.ts'
import { VirtualPages } from '../../src/mm/virtual-pages.ts'
import { tinyGeometry } from './geometry.ts'
import { type EndOptions, isWhole, type Seen } from './map-ends.ts'
import { Rings } from './migration.ts'
import { onlineAll, PageFrames } from './page-frames.ts'
import { aliveThreads, slotOf } from './threads.ts'

/** Pages of 8 units: six of them, beside two that hold the records. */
const TINY = tinyGeometry({ pagesPerBlock: 8, memmapPages: 2, pageWords: 32, nrVirtual: 7 })
/** Pages of 4 units: every table is a whole page, and values of more than 36 bytes are large. */
const SMALL = tinyGeometry({ pagesPerBlock: 16, memmapPages: 4, pageWords: 16, nrVirtual: 8 })
const EVENT_WORDS = 5 * CACHE_LINE_WORDS
/** Pages that maps begin with, at most: the next ones are those that threads take first. */
const SEEDED = 2
/** What a key has at first: so much more than itself. */
export const OLD = 90
/** What is on frames that nobody has. */
export const POISON = -1
/** Where the value of a page's first entry is. */
export const VALUE_AT = 4 + 3
/** In `h`, which begins as a registry of one map: a writer has ended. */
export const DONE = 2
/** In `h`: what operations did; see map-history.ts. */
export const HISTORY = 3
const NR_MAPS = 1

/** What a thread is given: slots, guard, blocks, page table, events, frames, shards, and `h`. */
export interface Face {
  readonly s: Words
  readonly g: Words
  readonly b: Words
  readonly t: Words
  readonly e: Words
  readonly f: Words
  readonly c: Words
  readonly h: Words
  readonly id: number
  awaitDeath(): number
}

/** A thread of a model. */
export interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

/** What a model of a map begins with, and how it must end. */
export interface Setting extends EndOptions {
  readonly form?: GuardForm
  readonly deaths?: number
  /** Keys that are there at first, on a sealed page. */
  readonly keys?: readonly number[]
  /** Whether sleeps may end by themselves; they do if left out. */
  readonly timeouts?: boolean
  /** Key 1 is on a sealed page of its own. */
  readonly isApart?: boolean
  /** Pages are so small that every table is a whole page. */
  readonly isSmall?: boolean
  /** Does something more to the map before the threads start. */
  seed?(face: Face): void
}

/**
 * What a map needs of a machine, as one thread of a model has it.
 *
 * @param skips Frames that are not the first that it takes.
 */
export function contextOf(face: Face, skips = SEEDED + face.id): CollectionsContext {
  const slot = slotOf(face.s, face.id)
  const { b, t, e, f, c, h } = face
  const geometry = t.length === TINY.nrVirtual * VIRTUAL_RECORD_WORDS ? TINY : SMALL
  const memory: MemoryControl = {
    geometry,
    zones: b,
    blocks: b,
    pageTable: t,
    events: e,
    percpu: b,
  }
  const frames = new PageFrames(slot, geometry, [f], geometry.memmapPages + skips)
  return {
    slot,
    guard: new Guard(slot, face.g, 0),
    memory,
    control: { shards: c, nrShards: 1, registry: h, seed: 0 },
    frames,
    pages: new VirtualPages(slot, memory, frames, frames),
    lockdep: null,
    onNoRoom: () => false,
  }
}

/** As `contextOf`, where sleeps last: who leaves the guard wakes who waits for that. */
export function ringingContextOf(face: Face): CollectionsContext {
  const context = contextOf(face)
  return { ...context, guard: new Rings(context.slot, face.g, 0) }
}

/** The core's key is that number. */
export function select(core: MapCore, key: number): void {
  core.key.words[0] = key
  core.key.adopt(4)
}

/** Sets a key to a value of one word. */
export function set(core: MapCore, key: number, value: number): void {
  select(core, key)
  core.value[0] = value
  core.write(4, null)
}

/** Sets keys, one after another. */
export function setter(pairs: readonly (readonly [number, number])[], parts?: MapParts) {
  return (face: Face): void => {
    const core = new MapCore(contextOf(face), 0, parts)
    for (const [key, value] of pairs) set(core, key, value)
    store(face.h, DONE, 1)
  }
}

/** A thread that sets one key. */
export function writer(key: number, value: number, parts?: MapParts): Thread {
  return { name: `set ${key}`, body: setter([[key, value]], parts) }
}

/** A thread that deletes a key. */
export function deleter(key: number, open: typeof contextOf = contextOf): Thread {
  return {
    name: 'deleter',
    body: face => {
      const core = new MapCore(open(face), 0)
      select(core, key)
      core.remove(null)
    },
  }
}

/** Reads a key: one of `allowed`; the last of them if the writer had ended before. */
export function reader(key: number, allowed: readonly number[]): Thread {
  return {
    name: 'reader',
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      const isDone = load(face.h, DONE)
      select(core, key)
      const nrBytes = core.read()
      const value = nrBytes === ABSENT ? ABSENT : core.value[0]!
      assert(allowed.includes(value), 'a reader found what nobody wrote')
      if (isDone === 1) assert(value === allowed.at(-1), 'a reader found what was over')
    },
  }
}

/** Frees what was retired, after a grace period, and reuses it. */
export function recycle(face: Face, waits = true): void {
  const { pages, guard, memory } = contextOf(face)
  const { pageWords } = memory.geometry
  const retired = pages.takeRetired()
  if (retired.length === 0) return
  if (waits) guard.synchronize()
  for (const vpn of retired) {
    const pte = load(face.t, pteAt(vpn))
    pages.release(vpn)
    store(face.f, pfnOf(pte) * pageWords + VALUE_AT, POISON)
  }
}

/** A thread that does so once. */
export function recycler(waits = true): Thread {
  return { name: 'recycler', body: face => recycle(face, waits) }
}

/** Compacts one page; if `waits` is not null, then reuses it: after a grace period, or at once. */
export function compactor(waits: boolean | null = null, parts?: MoverParts): Thread {
  return {
    name: 'compactor',
    body: face => {
      new Compactor(contextOf(face), parts).compact({ maxPages: 1, below: 2 })
      if (waits !== null) recycle(face, waits)
    },
  }
}

/** What the service thread does after a death: its own, or another's. */
export function recovery(): Thread {
  return {
    name: 'recovery',
    daemon: true,
    body: face => {
      const dead = face.awaitDeath()
      const slots = new Slots(face.s)
      slots.close(dead, 0)
      const context = contextOf(face)
      context.pages.recoverDead()
      const orphans = new Orphans(context)
      orphans.recount()
      orphans.sweep()
    },
  }
}

/** Moves page `vpn` to the last frame, and reuses the one that it had. */
export function migrate(face: Face, vpn: number, nrWords: number, waits = true): void {
  const { guard, memory } = contextOf(face)
  const { pageWords, nrFrames } = memory.geometry
  const { t, f, e } = face
  const index = pteAt(vpn)
  const pte = load(t, index)
  const from = pfnOf(pte) * pageWords
  const to = (nrFrames - 1) * pageWords
  store(t, index, pte | WRITE_PROTECTED)
  if (waits) guard.synchronize()
  copyWords(f, to, f, from, nrWords)
  store(t, index, pteOf(nrFrames - 1))
  add(e, WRITE_PROTECT_EVENT, 1)
  notify(e, WRITE_PROTECT_EVENT)
  guard.synchronize()
  store(f, from + VALUE_AT, POISON)
}

/** A thread that moves page 1, table and all. */
export function migrator(waits = true): Thread {
  return { name: 'migrator', body: face => migrate(face, 1, TINY.pageWords, waits) }
}

/** A map in memory of its own, to begin with. */
function seedOf(setting: Setting, nrSlots: number): Face {
  const { keys = [], form = 'asymmetric', isApart, isSmall = false, seed } = setting
  const geometry = isSmall ? SMALL : TINY
  const words = (nr: number): Words => new Int32Array(new SharedArrayBuffer(nr * 4))
  const face: Face = {
    s: words(Slots.words(nrSlots)),
    g: words(Guard.words(nrSlots)),
    b: words(CACHE_LINE_WORDS),
    t: words(geometry.nrVirtual * VIRTUAL_RECORD_WORDS),
    e: words(EVENT_WORDS),
    f: words(geometry.blockWords),
    c: words(SHARD_WORDS),
    h: words(HISTORY + 1),
    id: 0,
    awaitDeath: () => 0,
  }
  aliveThreads(face.s)
  Guard.choose(face.g, 0, form)
  for (let id = 0; id < nrSlots; id++) new Guard(slotOf(face.s, id), face.g, 0)
  face.f.fill(POISON, geometry.memmapPages * geometry.pageWords)
  face.h[NR_MAPS] = 1
  const context = contextOf(face, 0)
  onlineAll(context.memory)
  const core = new MapCore(context, 0)
  for (const key of keys) set(core, key, OLD + key)
  core.heap.close()
  if (isApart) set(core, 1, OLD + 1)
  core.heap.close()
  seed?.(face)
  return face
}

/** A model of one bucket: it ends whole. */
export function bucket(name: string, threads: readonly Thread[], setting: Setting = {}): Checkable {
  const { form = 'asymmetric', deaths = 0, timeouts = true } = setting
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  const seed = seedOf(setting, nrSlots)
  const from = (words: Words) => ({ init: (view: Words) => view.set(words) })
  const geometry = setting.isSmall ? SMALL : TINY
  const options = { isDeadly: deaths > 0, ...setting }
  const end = { ...options, geometry, epoch: seed.c[EPOCH]! }
  return model({
    name: `map, ${form}: ${name}`,
    shared: (t: Declare) => ({
      s: t.int32(seed.s.length, from(seed.s)),
      g: t.int32(seed.g.length, from(seed.g)),
      b: t.int32(seed.b.length, from(seed.b)),
      t: t.int32(seed.t.length, from(seed.t)),
      e: t.int32(seed.e.length, from(seed.e)),
      f: t.int32(seed.f.length, from(seed.f)),
      c: t.int32(
        { LOCK: 0, TABLE, COUNT, USED, LIMIT: 4, FULL: 5, EPOCH, STAMPS: 7 },
        { length: SHARD_WORDS, ...from(seed.c) },
      ),
      h: t.int32({ REGISTRY: [0, 2], DONE, HISTORY }, from(seed.h)),
    }),
    threads,
    deaths,
    timeouts,
    search: 'fingerprints',
    atEnd: (s: Seen) => isWhole(s, end),
  })
}

/** Says in `h` that a bit of the history is so. */
export function tell(face: Face, bits: number): void {
  or(face.h, HISTORY, bits)
}
