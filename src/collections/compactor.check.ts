/*
 * Compaction beside readers and writers of what it moves: no write is lost, nobody reads what is
 * reused, and no page is lost, also if it dies.
 */

import { bucket, compactor, OLD, reader, recovery, writer } from '../../test/litmus/map.ts'
import { linear } from '../../test/litmus/map-history.ts'
import { mustFail } from '../check/model.ts'
import { Held } from '../locking/acquire.ts'
import { Finder } from './finder.ts'
import { Key } from './key.ts'
import { ShardLocks } from './shard-locks.ts'

/** Takes the key's entry for the one that it copies, without looking. */
class TakesAnyEntry extends Finder {
  override findAddress(shard: number, hash: number, address: number): boolean {
    const key = new Key(0, 4)
    key.words[0] = 1
    key.adopt(4)
    return key.hash === hash && address !== 0 && this.find(shard, key) !== 0
  }
}

/** Locks nothing. */
class WithoutLocks extends ShardLocks {
  override tryLock(): Held {
    return new NotHeld()
  }
}

class NotHeld extends Held {
  constructor() {
    super(false, nothing)
  }
}

function nothing(): void {}

/** Page 1 has the table and key 1, page 2 the others. */
const KEYS = { keys: [1], changes: [0, 1] }
const APART = { keys: [1], isApart: true, changes: [0, 1] }

export const models = [
  bucket('compaction beside a reader', [reader(1, [OLD + 1]), compactor(true)], KEYS),
  bucket('compaction beside a writer', [writer(1, 7), compactor()], {
    ...KEYS,
    form: 'portable',
    content: [[1, 7]],
  }),
  linear('compaction beside a writer and a reader', [['get'], ['delete']], {
    setting: { ...APART, form: 'portable' },
    others: [compactor()],
  }),
  bucket('compaction dies', [compactor(), reader(1, [OLD + 1]), recovery()], {
    ...KEYS,
    form: 'portable',
    deaths: 1,
    content: [[1, OLD + 1]],
  }),
  mustFail(
    linear('compaction takes any entry of the key', [[{ set: 7 }]], {
      setting: { ...APART, form: 'portable' },
      others: [compactor(null, { Finder: TakesAnyEntry, ShardLocks })],
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    linear('compaction without the lock', [[{ set: 7 }]], {
      setting: { ...APART, form: 'portable' },
      others: [compactor(null, { Finder, ShardLocks: WithoutLocks })],
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    bucket(
      'compaction reuses a page without a grace period',
      [reader(1, [OLD + 1]), compactor(false)],
      APART,
    ),
    { kind: 'exception' },
  ),
]
