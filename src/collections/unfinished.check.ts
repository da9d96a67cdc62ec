/*
 * A call that throws in the middle: its thread lets go of all that the call had, and the map is
 * whole, with the old value or the new one.
 */
import {
  bucket,
  contextOf,
  type Face,
  OLD,
  recycler,
  select,
  set,
  type Thread,
} from '../../test/litmus/map.ts'
import { mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Growth } from './growth.ts'
import { MapCore } from './map-core.ts'
import { ABSENT } from './reader.ts'
import { ShardLocks } from './shard-locks.ts'

/** Nothing is left of the stack when it has grown. */
class Overflows extends Growth {
  override grow(shard: number, address: number): boolean {
    super.grow(shard, address)
    throw new RangeError('thrown on purpose')
  }
}

/** Forgets that its table may be published. */
class DiscardsAnyTable extends Overflows {
  override sealRest(address: number): void {
    this.discard(address)
  }
}

/** Sets key 5, is thrown out when it has made the table larger, and goes on. */
function thrower(Kind: typeof Growth, left: readonly number[] = [OLD + 2]): Thread {
  return {
    name: 'thrower',
    body: (face: Face) => {
      const core = new MapCore(contextOf(face), 0, { Growth: Kind, ShardLocks })
      let isThrown = false
      try {
        set(core, 5, 7)
      } catch {
        isThrown = true
        core.letGo()
      }
      assert(isThrown, 'nothing was thrown')
      select(core, 2)
      const nrBytes = core.read()
      const value = nrBytes === ABSENT ? ABSENT : core.value[0]!
      assert(left.includes(value), 'a key is lost')
    },
  }
}

/** Deletes all there is, table and all. */
const CLEARER: Thread = {
  name: 'clearer',
  body: face => new MapCore(contextOf(face), 0).clear(),
}

const FOUR = { keys: [1, 2, 3, 4], changes: [1] }

export const models = [
  bucket('one throws when it has replaced the table', [thrower(Overflows), recycler()], FOUR),
  bucket('one throws, another clears', [thrower(Overflows, [OLD + 2, ABSENT]), CLEARER], {
    keys: [1, 2, 3, 4],
    changes: [1, 2],
  }),
  mustFail(
    bucket(
      'one throws, and discards what is published',
      [thrower(DiscardsAnyTable), recycler()],
      FOUR,
    ),
  ),
]
