/*
 * Threads that follow a script over a machine's locks, watched by lockdep: who takes what in which
 * order, and who waits for whom. See ../selftests.
 *
 *     lock X, read X, write X     blocks until acquired
 *     try X                       a mutex; if it is not free, ends the script with 'busy'
 *     enter X                     becomes a user of X
 *     drain X                     lets no more users in, and waits until X has none
 *     tell N, hear N              says that it got here; waits until another said so
 *
 * What a script holds at its end, or when it is complained about, is released in reverse.
 */
import { HotplugError } from '../../src/lib/errors.ts'
import type { Held } from '../../src/locking/acquire.ts'
import { Lockdep } from '../../src/locking/lockdep.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import { Slots } from '../../src/locking/slots.ts'
import { withLockdep } from '../../src/locking/with-lockdep.ts'
import { testOracle } from './locks.ts'

const NR_SLOTS = 4
const MUTEXES = ['deviceHotplugLock', 'deviceLock']
const RWSEMS = ['cpus', 'mems']
const REFS = ['file', 'grace']
const NR_SIGNALS = 4

const RWSEM_WORDS = PercpuRwsem.words(NR_SLOTS)
const REF_WORDS = PercpuRef.words(NR_SLOTS)
const FIRST_REF = MUTEXES.length + RWSEMS.length * RWSEM_WORDS
const SIGNALS = FIRST_REF + REFS.length * REF_WORDS

/** Words of each memory that roles share. */
export const ROLE_WORDS = {
  slots: Slots.words(NR_SLOTS),
  locks: SIGNALS + NR_SIGNALS,
  lockdep: Lockdep.WORDS,
} as const

/** One thread's part. */
export interface RoleData {
  readonly slots: Int32Array
  readonly locks: Int32Array
  /** Null: lockdep is off. */
  readonly lockdep: Int32Array | null
  readonly tid: number
  /** Steps, between commas. */
  readonly script: string
}

/** Follows the script; returns '', 'busy', or the complaint that ended it. */
export function play(data: RoleData): string {
  const role = new Role(data)
  try {
    for (const step of data.script.split(', ')) {
      const [verb, name] = step.split(' ') as [string, string]
      if (!role.step(verb, name)) return 'busy'
    }
    return ''
  } catch (error) {
    if (!(error instanceof HotplugError) || error.code !== 'EDEADLK') throw error
    return error.message
  } finally {
    role.end()
  }
}

class Role {
  private readonly words: Int32Array
  private readonly mutexes: readonly Mutex[]
  private readonly rwsems: readonly PercpuRwsem[]
  private readonly refs: readonly PercpuRef[]
  private readonly held: Held[] = []

  constructor(data: RoleData) {
    const slot = new Slots(data.slots).attach(testOracle(data.tid))
    const lockdep = data.lockdep === null ? null : new Lockdep(slot, data.lockdep)
    this.words = data.locks
    this.mutexes = MUTEXES.map((name, i) =>
      withLockdep(new Mutex(slot, this.words, i, name), lockdep, name),
    )
    this.rwsems = RWSEMS.map((name, i) => {
      const at = MUTEXES.length + i * RWSEM_WORDS
      return withLockdep(new PercpuRwsem(slot, this.words, at, name), lockdep, name)
    })
    this.refs = REFS.map((name, i) => {
      const ref = new PercpuRef(slot, this.words, FIRST_REF + i * REF_WORDS, name)
      return withLockdep(ref, lockdep, name)
    })
  }

  /** @returns Whether to go on. */
  step(verb: string, name: string): boolean {
    if (verb === 'lock') this.held.push(this.mutex(name).acquire())
    else if (verb === 'read') this.held.push(this.rwsem(name).acquireRead())
    else if (verb === 'write') this.held.push(this.rwsem(name).acquireWrite())
    else if (verb === 'try') return this.tryLock(name)
    else if (verb === 'enter') this.held.push(this.ref(name).tryAcquire()!)
    else if (verb === 'drain') this.drain(this.ref(name))
    else if (verb === 'tell') this.tell(SIGNALS + Number(name))
    else if (verb === 'hear') this.hear(SIGNALS + Number(name))
    else throw new Error(`a role cannot ${verb}`)
    return true
  }

  end(): void {
    while (this.held.length > 0) this.held.pop()!.release()
  }

  private mutex(name: string): Mutex {
    return this.mutexes[MUTEXES.indexOf(name)]!
  }

  private rwsem(name: string): PercpuRwsem {
    return this.rwsems[RWSEMS.indexOf(name)]!
  }

  private tryLock(name: string): boolean {
    const held = this.mutex(name).tryLock()
    if (held !== null) this.held.push(held)
    return held !== null
  }

  private ref(name: string): PercpuRef {
    return this.refs[REFS.indexOf(name)]!
  }

  private drain(ref: PercpuRef): void {
    ref.kill()
    try {
      ref.drain()
    } finally {
      ref.revive()
    }
  }

  private tell(signal: number): void {
    Atomics.store(this.words, signal, 1)
    Atomics.notify(this.words, signal)
  }

  private hear(signal: number): void {
    while (Atomics.load(this.words, signal) === 0) Atomics.wait(this.words, signal, 0)
  }
}
