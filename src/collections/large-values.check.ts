/*
 * Values on pages of their own, and writes that expect something: replaced, deleted and cleared
 * beside a reader while pages are reused, and deaths meanwhile.
 */
import {
  bucket,
  contextOf,
  type Face,
  HISTORY,
  recovery,
  recycle,
  recycler,
  select,
  type Thread,
  tell,
} from '../../test/litmus/map.ts'
import { codeOf } from '../../test/litmus/threads.ts'
import { assert } from '../lib/assert.ts'
import { VirtualKind } from '../mm/geometry.ts'
import { STAMPS } from './layout.ts'
import { MapCore } from './map-core.ts'
import { Orphans } from './orphans.ts'
import { ABSENT, LARGE } from './reader.ts'

/** Too much for an entries page. */
const LARGE_BYTES = 40

/** Sets a key to a large value: so many bytes that are all the same. */
function setLarge(core: MapCore, key: number, byte: number): void {
  select(core, key)
  core.writeLarge(new Uint8Array(LARGE_BYTES).fill(byte), null)
}

/** A thread that does so. */
function writer(key: number, byte: number): Thread {
  return {
    name: `set ${key}`,
    body: face => setLarge(new MapCore(contextOf(face), 0), key, byte),
  }
}

/** A thread that reads key 1: bytes that are all one of `allowed`, or nothing. */
function largeReader(allowed: readonly number[]): Thread {
  return {
    name: 'reader',
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      select(core, 1)
      const nrBytes = core.read()
      assert(nrBytes === LARGE || allowed.includes(nrBytes), 'a large value is not there')
      const value = nrBytes === LARGE ? core.readLarge() : null
      if (value === null) return
      const byte = value[0]!
      assert(allowed.includes(byte), 'a reader found what nobody wrote')
      for (const other of value) assert(other === byte, 'a value is of two')
    },
  }
}

/** Nobody replaces it: it is read. */
const SURE_READER: Thread = {
  name: 'reader',
  body: face => {
    const core = new MapCore(contextOf(face), 0)
    select(core, 1)
    const { value } = core.readLocked()
    assert(value !== null && value.at(-1) === 1, 'a large value cannot be read')
  },
}

const DELETER: Thread = {
  name: 'deleter',
  body: face => {
    const core = new MapCore(contextOf(face), 0)
    select(core, 1)
    core.remove(null)
  },
}

/** Deletes all there is. */
const CLEARER: Thread = {
  name: 'clearer',
  body: face => new MapCore(contextOf(face), 0).clear(),
}

/** Looks for what nobody names. */
const SWEEPER: Thread = {
  name: 'sweeper',
  body: face => {
    new Orphans(contextOf(face)).sweep()
    recycle(face)
  },
}

/** Large values are written until no page is left. */
function crowded(face: Face): void {
  const context = contextOf(face)
  const core = new MapCore(context, 0)
  setLarge(core, 1, 2)
  while (context.pages.open(0, VirtualKind.Entries) >= 0) {}
  const code = codeOf(() => setLarge(core, 1, 3))
  assert(code === 'ENOMEM', 'a value was written where there is no room')
  context.pages.release(context.pages.end() - 1)
  const again = codeOf(() => setLarge(core, 2, 3))
  assert(again === 'ENOMEM', 'an entry was written where there is no room')
}

/** Key 1 has a large value of ones. */
function seedLarge(face: Face): void {
  const core = new MapCore(contextOf(face), 0)
  setLarge(core, 1, 1)
  core.heap.close()
}

/** And no page is left. */
function seedCrowded(face: Face): void {
  seedLarge(face)
  const { pages } = contextOf(face)
  while (pages.open(0, VirtualKind.Entries) >= 0) {}
}

/** A thread that finds no room for a large value. */
function refused(key: number): Thread {
  return {
    name: `set ${key}`,
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      const code = codeOf(() => setLarge(core, key, 1))
      assert(code === 'ENOMEM', 'a value was written where there is no room')
    },
  }
}

/** Five bytes: a word, and a part of one. */
const COUNTER_BYTES = 5

function seedCounter(face: Face): void {
  const core = new MapCore(contextOf(face), 0)
  select(core, 1)
  core.value[0] = 1
  core.value[1] = 1
  core.write(COUNTER_BYTES, null)
  core.heap.close()
}

/** Adds 1 to both words of key 1 if nobody does so meanwhile; says in `h` whether it did. */
function counter(nr: number): Thread {
  return {
    name: `counter ${nr}`,
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      select(core, 1)
      const expected = core.remember(core.read())
      core.value[0] = core.value[0]! + 1
      core.value[1] = core.value[1]! + 1
      if (core.write(COUNTER_BYTES, expected)) tell(face, 1 << nr)
    },
  }
}

const ONE = { isSmall: true, form: 'portable', seed: seedLarge } as const

export const models = [
  bucket('a large value is read', [SURE_READER, SWEEPER], ONE),
  bucket(
    'a large value is replaced and reused beside a reader',
    [largeReader([1, 2]), writer(1, 2), recycler()],
    ONE,
  ),
  bucket(
    'a large value is deleted and reused beside a reader',
    [largeReader([ABSENT, 1]), DELETER, recycler()],
    { ...ONE, content: [] },
  ),
  bucket(
    'large values are cleared and reused beside a reader',
    [largeReader([ABSENT, 1]), CLEARER, recycler()],
    { ...ONE, changes: [1], content: [] },
  ),
  bucket('two begin large values, and find no room', [refused(2), refused(3)], {
    ...ONE,
    seed: seedCrowded,
    also: s => s.c[STAMPS] === 3,
  }),
  bucket('orphans are swept beside a writer', [writer(1, 2), SWEEPER], ONE),
  bucket('who writes a large value dies', [writer(1, 2), recovery()], { ...ONE, deaths: 1 }),
  bucket('no page is left for a large value', [{ name: 'writer', body: crowded }], {
    ...ONE,
    isMoved: true,
  }),
  bucket('two count, if nobody does meanwhile', [counter(0), counter(1)], {
    form: 'portable',
    seed: seedCounter,
    also: (s, content) => {
      const told = s.h[HISTORY]!
      return told !== 0 && content.get(1) === 1 + (told & 1) + (told >>> 1)
    },
  }),
]
