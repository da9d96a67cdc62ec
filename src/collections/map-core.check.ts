/*
 * One bucket of a map: writers that insert, replace and delete, also the same key, reuse and moves
 * of pages, and deaths, beside readers. What they find is linearizable.
 */

import { load, store } from '#atomics'
import {
  bucket,
  contextOf,
  deleter,
  HISTORY,
  migrate,
  migrator,
  OLD,
  reader,
  recovery,
  recycler,
  ringingContextOf,
  select,
  set,
  setter,
  type Thread,
  writer,
} from '../../test/litmus/map.ts'
import type { Seen } from '../../test/litmus/map-ends.ts'
import { linear } from '../../test/litmus/map-history.ts'
import { mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Slots } from '../locking/slots.ts'
import {
  STATE_MASK,
  UNIT_WORDS,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
  WRITE_PROTECTED,
} from '../mm/geometry.ts'
import { pteAt } from '../mm/page-table.ts'
import { Growth } from './growth.ts'
import { Heap } from './heap.ts'
import { unitsOf, VALUE_BYTES_SHIFT } from './layout.ts'
import { MapCore, type MapParts } from './map-core.ts'
import { LONG } from './reader.ts'
import { ShardLocks } from './shard-locks.ts'

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

/** Moves the page that the first thread opens, with one entry on it. */
const OPEN_MIGRATOR: Thread = {
  name: 'migrator',
  body: face => {
    const { pages } = contextOf(face)
    const state = pages.stateOf(OPENED)
    if ((state & STATE_MASK) === VirtualState.Open) migrate(face, OPENED, OPENED_WORDS)
  },
}
const OPENED = 2
const OPENED_WORDS = 2 * UNIT_WORDS

/** An entry of one word each, with its key, by a thread of its own. */
const ENTRY = 4 | (4 << VALUE_BYTES_SHIFT)

/** Appends two entries to one page, tells where the first is, and leaves the page. */
const APPENDER: Thread = {
  name: 'appender',
  body: face => {
    const { heap, key, value } = new MapCore(contextOf(face), 0)
    const first = heap.append(1, ENTRY, key.words, value)
    store(face.h, HISTORY, first)
    heap.append(2, ENTRY, key.words, value)
    heap.close()
  },
}

/** Drops the first of them. */
function dropper(HeapOrBroken = Heap): Thread {
  return {
    name: 'dropper',
    body: face => {
      const heap = new HeapOrBroken(contextOf(face), 0)
      const first = load(face.h, HISTORY)
      if (first !== 0) heap.drop(first, unitsOf(ENTRY))
    },
  }
}

/** Goes by what was left when it dropped an entry, though more may have come since. */
class RetiresByOldCount extends Heap {
  override dropInside(address: number, units: number): void {
    const vpn = address >>> this.geometry.unitsPerPageShift
    const live = this.pages.liveOf(vpn)
    super.dropInside(address, units)
    if (live === units && this.pages.isSealed(vpn)) this.pages.retire(vpn)
  }
}

/** The appender's page stays: its second entry is not dropped. */
const STAYS = {
  keys: [1],
  isDeadly: true, // no table names the entries
  also: ({ t }: Seen) => {
    const state = t[OPENED * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE]!
    return (state & STATE_MASK) === VirtualState.Sealed
  },
}

/** Reads key 1 as a text: one of the values, as four bytes. */
function textReader(values: readonly number[]): Thread {
  return {
    name: 'reader',
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      select(core, 1)
      const text = core.reader.text()
      const isOne = values.some(value => text === String.fromCharCode(value, 0, 0, 0))
      assert(isOne, 'a reader found what nobody wrote')
    },
  }
}

/** Reads key 1 into a buffer, and into one that is too small. */
function intoReader(values: readonly number[]): Thread {
  return {
    name: 'reader',
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      select(core, 1)
      const target = new Uint8Array(4)
      const nrBytes = core.reader.into(target)
      assert(nrBytes === 4 && values.includes(target[0]!), 'a reader found what nobody wrote')
      const tooSmall = core.reader.into(new Uint8Array(3))
      assert(tooSmall === LONG, 'a value was cut')
    },
  }
}

/** Keys are moved, and no sleep ends by itself. */
const MOVED = { keys: [1], isMoved: true, timeouts: false } as const

/** Gives key 1 the value 7. */
const REPLACER: Thread = {
  name: 'replacer',
  body: face => set(new MapCore(ringingContextOf(face), 0), 1, 7),
}

/** Reads key 1, with the lock of its shard or without. */
function readerWho(how: 'read' | 'readLocked'): Thread {
  return {
    name: 'reader',
    body: face => {
      const core = new MapCore(contextOf(face), 0)
      select(core, 1)
      if (how === 'read') core.read()
      else core.readLocked()
    },
  }
}

/** A page is write-protected and stays so; a writer waits for it, with the lock. */
const STUCK: readonly Thread[] = [
  {
    name: 'protector',
    body: face => {
      const pte = load(face.t, pteAt(1))
      store(face.t, pteAt(1), pte | WRITE_PROTECTED)
    },
  },
  { ...writer(1, 7), daemon: true },
]
const CUT = { keys: [1], isCut: true, timeouts: false } as const

const insertBoth = (parts?: MapParts): Thread[] => [
  { name: 'first', body: setter([[5, 1]], parts) },
  { name: 'second', body: setter([[5, 2]], parts) },
]
const WITHOUT_LOCKS = { Growth, ShardLocks: WithoutLocks }

export const models = [
  bucket('one replaces, one reads', [writer(1, 7), reader(1, [OLD + 1, 7])], { keys: [1] }),
  bucket('one replaces, one reads', [writer(1, 7), reader(1, [OLD + 1, 7])], {
    keys: [1],
    form: 'portable',
  }),
  bucket('two insert one key', insertBoth(), { keys: [1] }),
  bucket(
    'one deletes and one inserts a key, one reads another',
    [writer(5, 7), deleter(1), reader(2, [OLD + 2])],
    { keys: [1, 2] },
  ),
  linear('two replace a key, one reads it', [[{ set: 7 }], [{ set: 8 }], ['get']], {
    setting: { keys: [1], form: 'portable' },
  }),
  linear('a key is replaced and deleted, one reads it', [[{ set: 7 }], ['delete'], ['get']], {
    setting: { keys: [1], form: 'portable' },
  }),
  linear('a key is inserted and deleted, one reads it', [[{ set: 7 }], ['delete'], ['get']], {
    setting: { keys: [2], form: 'portable' },
  }),
  linear('a key is deleted and inserted', [['delete'], [{ set: 8 }]], {
    setting: { keys: [1] },
  }),
  linear('a key is replaced twice', [[{ set: 7 }, { set: 8 }], [{ set: 9 }]], {
    setting: { keys: [1] },
  }),
  bucket('an entry goes from a page that is filled and left', [APPENDER, dropper()], STAYS),
  bucket(
    'a page is retired and reused beside a reader',
    [writer(1, 7), reader(1, [OLD + 1, 7]), recycler()],
    { keys: [1], isApart: true },
  ),
  bucket(
    'a page is reused beside a reader of texts',
    [textReader([OLD + 1, 7]), writer(1, 7), recycler()],
    { keys: [1], isApart: true },
  ),
  bucket(
    'a page is reused beside a reader of bytes',
    [intoReader([OLD + 1, 7]), writer(1, 7), recycler()],
    { keys: [1], isApart: true },
  ),
  bucket('one of two dies', [writer(1, 7), writer(5, 8), recovery()], {
    keys: [1],
    deaths: 1,
    form: 'portable',
  }),
  linear('who replaces a key dies', [[{ set: 7 }], ['get']], {
    setting: { keys: [1], deaths: 1 },
    others: [recovery()],
  }),
  linear('who deletes a key dies', [['delete'], ['get']], {
    setting: { keys: [1], deaths: 1 },
    others: [recovery()],
  }),
  bucket('a page is moved beside a reader', [reader(1, [OLD + 1]), migrator()], {
    keys: [1],
    isMoved: true,
  }),
  bucket(
    'a page is moved beside one who deletes',
    [deleter(1, ringingContextOf), migrator()],
    MOVED,
  ),
  bucket('a page is moved beside one who deletes', [deleter(1, ringingContextOf), migrator()], {
    ...MOVED,
    form: 'portable',
  }),
  bucket('a page is moved beside one who replaces', [REPLACER, migrator()], {
    ...MOVED,
    content: [[1, 7]],
  }),
  bucket('reads go on: who has the lock waits for ever', [readerWho('read'), ...STUCK], CUT),
  bucket('reads go on: who has the lock dies', [readerWho('read'), writer(1, 7)], {
    ...CUT,
    deaths: 1,
  }),
  bucket('a page is moved while it is appended to', [writer(5, 7), OPEN_MIGRATOR], {
    keys: [1],
    form: 'portable',
    isMoved: true,
  }),
  mustFail(
    bucket(
      'a page is copied while it may be written',
      [deleter(1, ringingContextOf), migrator(false)],
      MOVED,
    ),
    { kind: 'atEnd' },
  ),
  mustFail(bucket('reads that take the lock wait', [readerWho('readLocked'), ...STUCK], CUT), {
    kind: 'deadlock',
  }),
  mustFail(
    bucket(
      'a page is reused without a grace period',
      [writer(1, 7), reader(1, [OLD + 1, 7]), recycler(false)],
      { keys: [1], isApart: true },
    ),
    { kind: 'exception' },
  ),
  mustFail(
    bucket(
      'an entry goes, by what was left of its page',
      [APPENDER, dropper(RetiresByOldCount)],
      STAYS,
    ),
    { kind: 'atEnd' },
  ),
  mustFail(bucket('without the lock', insertBoth(WITHOUT_LOCKS), { keys: [1] }), {
    kind: 'atEnd',
  }),
  mustFail(
    linear(
      'a key is replaced twice without the lock',
      [
        [{ set: 7 }, 'get'],
        [{ set: 8 }, 'get'],
      ],
      {
        setting: { keys: [1] },
        parts: WITHOUT_LOCKS,
      },
    ),
    { kind: 'atEnd' },
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
