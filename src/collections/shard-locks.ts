import type { Held } from '../locking/acquire.ts'
import { Mutex } from '../locking/mutex.ts'
import type { Recoverable, Slot } from '../locking/slots.ts'
import { withLockdep } from '../locking/with-lockdep.ts'
import { type CollectionsContext, type CollectionsControl, LOCK, SHARD_WORDS } from './layout.ts'

/** The locks of one map's shards, as one thread has them. Shards go by their first word's index. */
export class ShardLocks {
  private readonly context: CollectionsContext
  private readonly first: number
  private readonly locks: (Mutex | undefined)[]

  constructor(context: CollectionsContext, map: number) {
    const { nrShards } = context.control
    this.context = context
    this.first = map * nrShards * SHARD_WORDS
    this.locks = new Array(nrShards).fill(undefined)
  }

  /** @returns Whether its last owner died inside: its counts may be wrong. */
  lock(shard: number): boolean {
    const lock = this.of(shard)
    return lock.lock()
  }

  unlock(shard: number): void {
    const lock = this.of(shard)
    lock.unlock()
  }

  /** Never waits. */
  tryLock(shard: number): Held | null {
    const lock = this.of(shard)
    return lock.tryLock()
  }

  private of(shard: number): Mutex {
    const i = (shard - this.first) / SHARD_WORDS
    return this.locks[i] ?? (this.locks[i] = this.make(shard))
  }

  private make(shard: number): Mutex {
    const { slot, control, lockdep } = this.context
    const lock = new Mutex(slot, control.shards, shard + LOCK, 'map shard')
    return lockdep === null ? lock : withLockdep(lock, lockdep, 'shard')
  }
}

/** Wakes those who wait for a shard's lock when its owner has died: for `Slots.register`. */
export class ShardLocksRecovery implements Recoverable {
  private readonly slot: Slot
  private readonly control: CollectionsControl
  private readonly nrMaps: () => number

  /** @param nrMaps How many maps there are by now. */
  constructor(slot: Slot, control: CollectionsControl, nrMaps: () => number) {
    this.slot = slot
    this.control = control
    this.nrMaps = nrMaps
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    const { shards, nrShards } = this.control
    const end = this.nrMaps() * nrShards * SHARD_WORDS
    for (let shard = 0; shard < end; shard += SHARD_WORDS) {
      new Mutex(this.slot, shards, shard + LOCK).recover(token)
    }
  }
}
