/*
 * What a call on a map has in its hands, so that it can be let go from wherever the call ends.
 *
 * A call that throws in the middle, which only what nobody expects does, lets go of all that as if
 * the thread had died, but at once: the guard is left; the shard is counted again and its lock is
 * free; an entry that is not published is dropped, pages of a value that is not published are given
 * back. What was published stays. Each is taken out of the hand before it is let go, so none is
 * twice.
 *
 * What the call had begun below, in virtual-pages.ts or the allocator, is not let go: room on the
 * stack is asked for before (shared-map.ts), and nothing else throws there.
 *
 * Checked by unfinished.check.ts.
 */
import { load } from '#atomics'
import type { Growth } from './growth.ts'
import type { Heap } from './heap.ts'
import { LargeRecord, LargeValues } from './large-values.ts'
import { type CollectionsContext, TABLE } from './layout.ts'
import type { ShardLocks } from './shard-locks.ts'

const NONE = -1

/** What it is made of. */
interface Parts {
  readonly heap: Heap
  readonly growth: Growth
  readonly locks: ShardLocks
}

/** One thread's, for one map. */
export class Unfinished {
  /** The entry that is not published yet, and its units; 0: none. */
  entry = 0
  units = 0
  /** The table that is not published yet; 0: none. */
  spare = 0
  /** The large value that is written; that was replaced. */
  readonly mine: LargeRecord
  readonly old: LargeRecord
  /** Whether the pages of `mine` are open, and whether its entry is published. */
  isMineOpen = false
  isMineNamed = false
  /** Whether nobody can find `old` any more. */
  isOldGone = false
  readonly large: LargeValues
  private readonly context: CollectionsContext
  private readonly heap: Heap
  private readonly growth: Growth
  private readonly locks: ShardLocks
  /** The shard whose lock the call may have. */
  private locked = NONE

  constructor(context: CollectionsContext, { heap, growth, locks }: Parts) {
    const recordWords = context.memory.geometry.pageWords >>> 2
    this.context = context
    this.heap = heap
    this.growth = growth
    this.locks = locks
    this.large = new LargeValues(heap)
    this.mine = new LargeRecord(recordWords)
    this.old = new LargeRecord(recordWords)
  }

  /** W3 of map-core.ts; counts again if the last owner died. */
  lock(shard: number): void {
    this.locked = shard
    if (this.locks.lock(shard)) this.growth.recount(shard)
  }

  /** W6 of map-core.ts. */
  unlock(shard: number): void {
    this.locks.unlock(shard)
    this.locked = NONE
  }

  /** With the lock: as soon as it is free, others may replace the value. */
  sealMine(): void {
    if (!this.isMineNamed) return
    this.isMineOpen = false
    this.isMineNamed = false
    this.large.seal(this.mine)
  }

  /** Inside the guard since before the value was replaced: its pages are not reused until then. */
  retireOld(): void {
    if (this.isOldGone && this.old.nrWords !== 0) this.large.retire(this.old)
    this.forgetOld()
  }

  /** The large value will not be published. */
  giveUpMine(): void {
    if (!this.isMineOpen) return
    this.isMineOpen = false
    this.large.giveBack(this.mine)
  }

  /** The entry will not be published. Before `settle`. */
  dropEntry(): void {
    const { entry } = this
    this.entry = 0
    if (entry !== 0) this.heap.drop(entry, this.units)
  }

  /** The table will not be published. Before `settle`. */
  discardSpare(): void {
    const { spare } = this
    this.spare = 0
    if (spare !== 0) this.growth.discard(spare)
  }

  /** Lets go of all. */
  letGo(): void {
    if (this.context.slot.token === 0) return // who detaches has let go of all
    const { guard } = this.heap
    if (guard.isInside()) this.retireOld()
    else guard.enter() // its word may be behind
    guard.leave()
    this.forgetOld()
    if (this.locked !== NONE) this.letGoShard(this.locked)
    this.discardSpare()
    this.dropEntry()
    this.giveUpMine()
    this.heap.settle()
  }

  private letGoShard(shard: number): void {
    const { spare, growth } = this
    this.locked = NONE
    this.sealMine()
    if (spare !== 0 && load(this.context.control.shards, shard + TABLE) === spare) {
      this.spare = 0
      growth.sealRest(spare)
    }
    this.locks.letGo(shard, growth)
  }

  private forgetOld(): void {
    this.old.nrWords = 0
    this.isOldGone = false
  }
}
