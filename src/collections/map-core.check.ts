/*
 * One bucket of a map: writers that insert, replace and delete, growth, compaction, reuse of pages,
 * and a death, beside readers. A reader finds what is there at some moment of its search.
 */
import { add, copyWords, load, notify, store, type Words } from '#atomics'
import { onlineAll, PageFrames } from '../../test/litmus/page-frames.ts'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard, type GuardForm } from '../locking/guard.ts'
import { CACHE_LINE_WORDS, Slots } from '../locking/slots.ts'
import {
  type Geometry,
  type MemoryControl,
  VIRTUAL_RECORD_WORDS,
  WRITE_PROTECT_EVENT,
  WRITE_PROTECTED,
} from '../mm/geometry.ts'
import { VirtualPages } from '../mm/virtual-pages.ts'
import { Compactor } from './compactor.ts'
import { Growth } from './growth.ts'
import { COUNT, type CollectionsContext, SHARD_WORDS, TABLE } from './layout.ts'
import { MapCore, type MapParts } from './map-core.ts'
import { ABSENT } from './reader.ts'
import { ShardLocks } from './shard-locks.ts'

/** Pages of 8 units: six of them, beside two that hold the records. */
const TINY: Geometry = {
  pageSize: 128,
  blockSize: 1024,
  maxMemory: 1024,
  pageWords: 32,
  pageWordsShift: 5,
  blockWords: 256,
  pagesPerBlock: 8,
  pagesPerBlockShift: 3,
  nrBlocks: 1,
  nrFrames: 8,
  unitsPerPageShift: 3,
  nrVirtual: 7,
  memmapPages: 2,
}
const EVENT_WORDS = 4 * CACHE_LINE_WORDS
const OLD = 90
const POISON = -1
/** In `h`: a writer has ended. */
const DONE = 0

interface Face {
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

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

interface Setting {
  readonly form?: GuardForm
  readonly deaths?: number
  /** Keys that are there at first, on a sealed page. */
  readonly keys?: readonly number[]
  /** So many random schedules, not all: a page that is copied plainly has too many. */
  readonly runs?: number
  /** Key 1 is on a sealed page of its own. */
  readonly isApart?: boolean
}

function contextOf(face: Face): CollectionsContext {
  const slot = slotOf(face.s, face.id)
  const { b, t, e, f, c } = face
  const memory: MemoryControl = {
    geometry: TINY,
    zones: b,
    blocks: b,
    pageTable: t,
    events: e,
    percpu: b,
  }
  const frames = new PageFrames(slot, TINY, [f])
  return {
    slot,
    guard: new Guard(slot, face.g, 0),
    memory,
    control: { shards: c, nrShards: 1, registry: c, seed: 0 },
    frames,
    pages: new VirtualPages(slot, memory, frames, frames),
    lockdep: null,
    onNoRoom: () => false,
  }
}

function select(core: MapCore, key: number): void {
  core.key.words[0] = key
  core.key.adopt(4)
}

function set(core: MapCore, key: number, value: number): void {
  select(core, key)
  core.value[0] = value
  core.write(4, null)
}

/** Sets keys, one after another. */
function setter(pairs: readonly (readonly [number, number])[], parts?: MapParts) {
  return (face: Face): void => {
    const core = new MapCore(contextOf(face), 0, parts)
    for (const [key, value] of pairs) set(core, key, value)
    store(face.h, DONE, 1)
  }
}

function deleter(key: number) {
  return (face: Face): void => {
    const core = new MapCore(contextOf(face), 0)
    select(core, key)
    core.remove(null)
  }
}

/** Reads a key: one of `allowed`; the last of them if the writer had ended before. */
function reader(key: number, allowed: readonly number[]) {
  return (face: Face): void => {
    const core = new MapCore(contextOf(face), 0)
    const isDone = load(face.h, DONE)
    select(core, key)
    const nrBytes = core.read()
    const value = nrBytes === ABSENT ? ABSENT : core.value[0]!
    assert(allowed.includes(value), 'a reader found what nobody wrote')
    if (isDone === 1) assert(value === allowed.at(-1), 'a reader found what was over')
  }
}

/** Frees what was retired, after a grace period, and reuses it. */
function recycler(waits: boolean) {
  return (face: Face): void => {
    const { pages, guard } = contextOf(face)
    const retired = pages.takeRetired()
    if (retired.length === 0) return
    if (waits) guard.synchronize()
    for (const vpn of retired) {
      pages.release(vpn)
      // the second frame that was taken, where key 1 has its value on a page of its own
      if (vpn === 2) store(face.f, (TINY.memmapPages + 1) * TINY.pageWords + VALUE_AT, POISON)
    }
  }
}

function compactor(face: Face): void {
  new Compactor(contextOf(face)).compact({ maxPages: 1, below: 2 })
}

/** Moves page 1, table and all, to the last frame, and reuses the one that it had. */
function migrator(waits: boolean) {
  return (face: Face): void => {
    const { guard } = contextOf(face)
    const { t, f, e } = face
    const pte = load(t, VIRTUAL_RECORD_WORDS)
    const from = ((pte >>> 1) - 1) * TINY.pageWords
    const to = (TINY.nrFrames - 1) * TINY.pageWords
    store(t, VIRTUAL_RECORD_WORDS, pte | WRITE_PROTECTED)
    if (waits) guard.synchronize()
    copyWords(f, to, f, from, TINY.pageWords)
    store(t, VIRTUAL_RECORD_WORDS, TINY.nrFrames << 1)
    add(e, WRITE_PROTECT_EVENT, 1)
    notify(e, WRITE_PROTECT_EVENT)
    guard.synchronize()
    store(f, from + VALUE_AT, POISON)
  }
}

/** What the service thread does after a death; then the counts are made again. */
function recovery(face: Face): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  slots.close(dead, 0)
  const context = contextOf(face)
  context.pages.recoverDead()
  const core = new MapCore(context, 0)
  core.repair(0)
}

/** Where the value of a page's first entry is. */
const VALUE_AT = 4 + 3

/** A map in memory of its own, to begin with. */
function seedOf({ keys = [], form = 'asymmetric', isApart }: Setting, nrSlots: number): Face {
  const words = (nr: number): Words => new Int32Array(new SharedArrayBuffer(nr * 4))
  const face: Face = {
    s: words(Slots.words(nrSlots)),
    g: words(Guard.words(nrSlots)),
    b: words(CACHE_LINE_WORDS),
    t: words(TINY.nrVirtual * VIRTUAL_RECORD_WORDS),
    e: words(EVENT_WORDS),
    f: words(TINY.blockWords),
    c: words(SHARD_WORDS),
    h: words(1),
    id: 0,
    awaitDeath: () => 0,
  }
  aliveThreads(face.s)
  Guard.choose(face.g, 0, form)
  for (let id = 0; id < nrSlots; id++) new Guard(slotOf(face.s, id), face.g, 0)
  const context = contextOf(face)
  onlineAll(context.memory)
  const core = new MapCore(context, 0)
  for (const key of keys) set(core, key, OLD + key)
  core.heap.close()
  if (isApart) set(core, 1, OLD + 1)
  core.heap.close()
  return face
}

function bucket(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { form = 'asymmetric', deaths = 0 } = setting
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  const seed = seedOf(setting, nrSlots)
  const from = (words: Words) => ({ init: (view: Words) => view.set(words) })
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
        { LOCK: 0, TABLE, COUNT, USED: 3, LIMIT: 4 },
        { length: SHARD_WORDS, ...from(seed.c) },
      ),
      h: t.int32({ DONE }),
    }),
    threads,
    deaths,
    timeouts: true,
    search: setting.runs ? { pct: 3, runs: setting.runs, seed: 1 } : 'fingerprints',
    atEnd: s => isCounted(s),
  })
}

type View = Readonly<Record<number, number>>

/** COUNT is the number of slots that name an entry. All tables of these models are small. */
function isCounted(s: { readonly c: View; readonly t: View; readonly f: View }): boolean {
  const address = s.c[TABLE]!
  if (address === 0) return s.c[COUNT] === 0
  const pte = s.t[(address >>> 3) * VIRTUAL_RECORD_WORDS]!
  const at = ((pte >>> 1) - 1) * TINY.pageWords + (address & 7) * 4
  const nrSlots = s.f[at + 1]! >>> 16
  let count = 0
  const found = new Set<number>()
  for (let i = 0; i < nrSlots; i++) {
    const slot = s.f[at + 2 + i]!
    if (slot === 0 || slot === 1) continue
    count++
    const entry = slot & 63
    const entryPte = s.t[(entry >>> 3) * VIRTUAL_RECORD_WORDS]!
    found.add(s.f[((entryPte >>> 1) - 1) * TINY.pageWords + (entry & 7) * 4 + 2]!)
  }
  return count === s.c[COUNT] && found.size === count
}

/** Publishes the new table before anything is in it. */
class PublishesFirst extends Growth {
  override grow(shard: number, address: number): boolean {
    this.publish(shard, address)
    return super.grow(shard, address)
  }
}

/** Locks nothing. */
class WithoutLocks extends ShardLocks {
  override lock(): boolean {
    return false
  }
  override unlock(): void {}
}

/** Hides that an owner died. */
class HidesDeath extends ShardLocks {
  override lock(shard: number): boolean {
    super.lock(shard)
    return false
  }
}

const FULL = [1, 2, 3, 4]
const RECOVERY = { name: 'recovery', daemon: true, body: recovery }
const writer = (key: number, value: number, parts?: MapParts): Thread => ({
  name: `set ${key}`,
  body: setter([[key, value]], parts),
})
const insertBoth = (parts?: MapParts): Thread[] => [
  { name: 'first', body: setter([[5, 1]], parts) },
  { name: 'second', body: setter([[5, 2]], parts) },
]

export const models = [
  bucket(
    'one replaces, one reads',
    [writer(1, 7), { name: 'reader', body: reader(1, [OLD + 1, 7]) }],
    { keys: [1] },
  ),
  bucket(
    'one replaces, one reads',
    [writer(1, 7), { name: 'reader', body: reader(1, [OLD + 1, 7]) }],
    { keys: [1], form: 'portable' },
  ),
  bucket('two insert one key', insertBoth(), { keys: [1] }),
  bucket(
    'one deletes and one inserts a key, one reads another',
    [
      writer(5, 7),
      { name: 'deleter', body: deleter(1) },
      { name: 'reader', body: reader(2, [OLD + 2]) },
    ],
    { keys: [1, 2] },
  ),
  bucket(
    'the table grows beside a reader',
    [writer(5, 7), { name: 'reader', body: reader(2, [OLD + 2]) }],
    { keys: FULL },
  ),
  bucket('the table grows beside a writer', [writer(5, 7), { name: 'deleter', body: deleter(1) }], {
    keys: FULL,
  }),
  bucket(
    'a page is retired and reused beside a reader',
    [
      writer(1, 7),
      { name: 'reader', body: reader(1, [OLD + 1, 7]) },
      { name: 'recycler', body: recycler(true) },
    ],
    { keys: [1], isApart: true },
  ),
  bucket(
    'compaction beside a reader',
    [
      { name: 'reader', body: reader(1, [OLD + 1]) },
      { name: 'compactor', body: compactor },
    ],
    { keys: [1] },
  ),
  bucket('compaction beside a writer', [writer(1, 7), { name: 'compactor', body: compactor }], {
    keys: [1],
  }),
  bucket('one of two dies', [writer(1, 7), writer(5, 8), RECOVERY], { keys: [1], deaths: 1 }),
  bucket(
    'a page is moved beside a reader',
    [
      { name: 'reader', body: reader(1, [OLD + 1]) },
      { name: 'migrator', body: migrator(true) },
    ],
    { keys: [1] },
  ),
  bucket(
    'a page is moved beside a writer',
    [
      { name: 'deleter', body: deleter(1) },
      { name: 'migrator', body: migrator(true) },
    ],
    { keys: [1], runs: 5000 },
  ),
  mustFail(
    bucket(
      'a page is copied while it may be written',
      [
        { name: 'deleter', body: deleter(1) },
        { name: 'migrator', body: migrator(false) },
      ],
      { keys: [1] },
    ),
    { kind: 'atEnd' },
  ),
  mustFail(
    bucket(
      'a page is reused without a grace period',
      [
        writer(1, 7),
        { name: 'reader', body: reader(1, [OLD + 1, 7]) },
        { name: 'recycler', body: recycler(false) },
      ],
      { keys: [1], isApart: true },
    ),
    { kind: 'exception' },
  ),
  mustFail(
    bucket('without the lock', insertBoth({ Growth, ShardLocks: WithoutLocks }), { keys: [1] }),
    { kind: 'atEnd' },
  ),
  mustFail(
    bucket(
      'a new table is published empty',
      [
        writer(5, 7, { Growth: PublishesFirst, ShardLocks }),
        { name: 'reader', body: reader(2, [OLD + 2]) },
      ],
      { keys: FULL },
    ),
    { kind: 'exception' },
  ),
  mustFail(
    bucket(
      'counts of the dead stay',
      [
        writer(5, 7, { Growth, ShardLocks: HidesDeath }),
        writer(6, 8, { Growth, ShardLocks: HidesDeath }),
        {
          name: 'recovery',
          daemon: true,
          body: face => new Slots(face.s).close(face.awaitDeath(), 0),
        },
      ],
      { keys: [1], deaths: 1 },
    ),
    { kind: 'atEnd' },
  ),
]
