import { load } from '#atomics'
import type { Held } from '../locking/acquire.ts'
import { Mutex, ownerOfWord } from '../locking/mutex.ts'
import { withLockdep } from '../locking/with-lockdep.ts'
import type { Growth } from './growth.ts'
import { type CollectionsContext, LOCK, SHARD_WORDS } from './layout.ts'

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

  /**
   * Lets go of the lock, if this thread has it, whatever was done with it: what it protects is
   * repaired as after its owner's death, by this thread or else by the next owner.
   */
  letGo(shard: number, growth: Growth): void {
    const lock = this.of(shard)
    if (!lock.isHeld()) return
    try {
      growth.recount(shard)
      lock.unlock()
    } catch {
      lock.recover(this.context.slot.token)
    }
  }

  /** Whether the lock's last owner died with it. */
  isLeft(shard: number): boolean {
    const { control, slot } = this.context
    const word = load(control.shards, shard + LOCK)
    const owner = ownerOfWord(word)
    return word !== 0 && (owner === 0 || !slot.slots.isAlive(owner))
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
