/*
 * Tables that are replaced, on entries pages and as whole pages, beside readers, writers and who
 * walks over the keys; cleared maps; and deaths meanwhile.
 */
import { load, loadPlain, store } from '#atomics'
import {
  bucket,
  contextOf,
  DONE,
  deleter,
  type Face,
  OLD,
  reader,
  recovery,
  recycler,
  select,
  set,
  setter,
  type Thread,
  writer,
} from '../../test/litmus/map.ts'
import { linear } from '../../test/litmus/map-history.ts'
import { codeOf, slotOf } from '../../test/litmus/threads.ts'
import { mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard } from '../locking/guard.ts'
import { Slots } from '../locking/slots.ts'
import { VirtualKind } from '../mm/geometry.ts'
import { pfnOf, pteAt } from '../mm/page-table.ts'
import { Growth } from './growth.ts'
import { Heap } from './heap.ts'
import { COUNT, LIMIT, TABLE, TOMBSTONE, USED } from './layout.ts'
import { MapCore } from './map-core.ts'
import { ShardLocks } from './shard-locks.ts'
import { Walker } from './walker.ts'

/** Publishes the new table before anything is in it. */
class PublishesFirst extends Growth {
  override grow(shard: number, address: number): boolean {
    this.publish(shard, address)
    return super.grow(shard, address)
  }
}

/** One table, and the one that replaces it, are walked over in three sections at most. */
class Impatient extends Guard {
  private left = 3
  override enter(): void {
    assert(this.left > 0, 'a walk does not end')
    this.left--
    super.enter()
  }
}

/** Walks over the keys: all of `always` are there, and maybe others of `known`. */
function walker(always: readonly number[], known: readonly number[]): Thread {
  return {
    name: 'walker',
    body: face => {
      const guard = new Impatient(slotOf(face.s, face.id), face.g, 0)
      const context = { ...contextOf(face), guard }
      const keys = new Walker(context, new Heap(context, 0), 0).keysOf(0)
      for (const key of always) assert(keys.has(nameOf(key)), 'a walk left out a key')
      let nrKnown = 0
      for (const key of known) if (keys.has(nameOf(key))) nrKnown++
      assert(nrKnown === keys.size, 'a walk found what nobody wrote')
    },
  }
}

/** A key as text: a number of one byte, and three zeros. */
function nameOf(key: number): string {
  return String.fromCharCode(key, 0, 0, 0)
}

/** Deletes all there is. */
const CLEARER: Thread = {
  name: 'clearer',
  body: face => new MapCore(contextOf(face), 0).clear(),
}

/** Asks for the size after a death: so the dead are counted again. */
const SIZER: Thread = {
  name: 'recovery',
  daemon: true,
  body: face => {
    const dead = face.awaitDeath()
    new Slots(face.s).close(dead, 0)
    const context = contextOf(face)
    context.pages.recoverDead()
    const size = new MapCore(context, 0).size()
    assert(size === load(face.c, COUNT), 'the size is not what was counted')
  },
}

/** A table is prepared, then so many keys come that it is too small; `h` says where it is. */
function seedOutgrown(face: Face): void {
  const core = new MapCore(contextOf(face, 0), 0)
  const spare = new Growth(contextOf(face), core.heap).prepare(0)
  for (let key = 1; key <= 8; key++) set(core, key, key)
  core.heap.close()
  store(face.h, DONE, spare)
}

function outgrown(face: Face): void {
  const context = contextOf(face)
  const growth = new Growth(context, new Heap(context, 0))
  const spare = load(face.h, DONE)
  assert(!growth.grow(0, spare), 'a table was replaced by one that is too small')
  growth.discard(spare)
}

/** A table of whole pages is prepared and discarded, then another is made. */
function spared(face: Face): void {
  const core = new MapCore(contextOf(face), 0)
  const growth = new Growth(contextOf(face), core.heap)
  const spare = growth.prepare(0)
  assert(growth.isRun(spare), 'a table that should fill a page does not')
  growth.discard(spare)
  set(core, 1, 7)
}

/** With room for keys, and none for a table, the one there is is used until it is full. */
function crowded(face: Face): void {
  const context = contextOf(face)
  const core = new MapCore(context, 0)
  const other = new MapCore(context, 0)
  for (let i = 0; i < 4; i++) set(core, 1, i)
  for (let i = 0; i < 4; i++) set(other, 1, i)
  while (context.pages.open(0, VirtualKind.Entries) >= 0) {}
  set(core, 4, 7)
  set(core, 5, 7)
  const code = codeOf(() => set(other, 6, 7))
  assert(code === 'ENOMEM', 'a full table took one more key')
  select(core, 6)
  assert(!core.has(), 'a key is there that was refused')
}

/** Fills the empty slots of a table of whole pages with tombstones until it should be replaced. */
function entomb(face: Face): void {
  const { memory } = contextOf(face)
  const { unitsPerPageShift, pageWords } = memory.geometry
  const pte = load(face.t, pteAt(load(face.c, TABLE) >>> unitsPerPageShift))
  const at = pfnOf(pte) * pageWords
  let used = load(face.c, USED)
  for (let i = 0; used < load(face.c, LIMIT); i++) {
    if (loadPlain(face.f, at + i) !== 0) continue
    store(face.f, at + i, TOMBSTONE)
    used++
  }
  store(face.c, USED, used)
}

const FOUR = [1, 2, 3, 4]
const OLD_FOUR = [
  [1, OLD + 1],
  [2, OLD + 2],
  [3, OLD + 3],
  [4, OLD + 4],
] as const
const GROWS = { keys: FOUR, changes: [1] }
const RUN = { keys: [1], isSmall: true, changes: [1], seed: entomb }

export const models = [
  bucket('the table grows beside a reader', [writer(5, 7), reader(2, [OLD + 2])], GROWS),
  bucket('the table grows beside one who deletes', [writer(5, 7), deleter(1)], {
    keys: FOUR,
    changes: [0, 1],
  }),
  linear('the table grows beside a writer and a reader', [['get'], ['delete']], {
    setting: { keys: FOUR, changes: [0, 1], form: 'portable' },
    others: [writer(5, 7)],
  }),
  bucket(
    'a full table grows',
    [
      {
        name: 'writer',
        body: setter([
          [5, 7],
          [6, 8],
        ]),
      },
    ],
    {
      ...GROWS,
      form: 'portable',
      content: [...OLD_FOUR, [5, 7], [6, 8]],
    },
  ),
  bucket('a table was prepared, and is too small', [{ name: 'writer', body: outgrown }], {
    seed: seedOutgrown,
  }),
  bucket('no page is left for a table', [{ name: 'writer', body: crowded }], {
    keys: [1, 2, 3],
    form: 'portable',
    also: (_, content) => content.size === 5,
  }),
  bucket('who replaces the table dies', [writer(5, 7), reader(2, [OLD + 2]), recovery()], {
    keys: FOUR,
    changes: [0, 1],
    deaths: 1,
    form: 'portable',
  }),
  bucket(
    'a table of whole pages was prepared, and is not needed',
    [{ name: 'writer', body: spared }],
    {
      isSmall: true,
      changes: [1],
    },
  ),
  bucket(
    'a table of whole pages is replaced and reused',
    [reader(1, [OLD + 1]), writer(5, 7), recycler()],
    { ...RUN, form: 'portable' },
  ),
  bucket('who replaces a table of whole pages dies', [writer(5, 7), recovery()], {
    ...RUN,
    changes: [0, 1],
    deaths: 1,
  }),
  bucket(
    'keys are walked over while the table is replaced',
    [walker([1], [1, 5]), writer(5, 7)],
    RUN,
  ),
  bucket('a map is cleared and reused', [reader(1, [OLD + 1, -1]), CLEARER, recycler()], {
    keys: [1],
    isApart: true,
    changes: [1],
    content: [],
  }),
  bucket('who clears a map dies', [CLEARER, recovery()], {
    keys: [1, 2],
    changes: [0, 1],
    deaths: 1,
  }),
  bucket('the size is asked after a death', [writer(5, 7), SIZER], {
    keys: [1],
    deaths: 1,
  }),
  mustFail(
    bucket(
      'a new table is published empty',
      [writer(5, 7, { Growth: PublishesFirst, ShardLocks }), reader(2, [OLD + 2])],
      GROWS,
    ),
    { kind: 'exception' },
  ),
]
