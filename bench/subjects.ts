/*
 * What is measured: for each lock, how one thread takes and releases it `n` times. The critical
 * section is empty everywhere, so that the figures are the lock's own.
 */
import { Mutex as AsyncMutex } from 'async-mutex'
import { CounterRwsem } from '../src/locking/counter-rwsem.ts'
import { Guard, type GuardForm } from '../src/locking/guard.ts'
import { Mutex } from '../src/locking/mutex.ts'
import { PercpuRwsem } from '../src/locking/percpu-rwsem.ts'
import type { Rwsem } from '../src/locking/rwsem.ts'
import { type Slot, Slots, type ThreadOracle } from '../src/locking/slots.ts'

/** What the threads of one measurement share. */
export interface Shared {
  readonly slots: Int32Array
  readonly words: Int32Array
  /** `Atomics.Mutex`, where the engine has it. */
  readonly engineMutex: unknown
}

/** Takes and releases the lock `n` times. */
export type Pairs = (n: number) => void | Promise<void>

/** A lock to be measured. */
export interface Subject {
  /** Flags that node needs for it. */
  readonly flags?: readonly string[]
  /** Only one thread can use it. */
  readonly isLocal?: boolean
  /** Whether this node has it. */
  readonly isThere?: () => boolean
  /** Made once in each thread. */
  make(shared: Shared, thread: number): Pairs
}

/** Every lock that is measured, by the name that the table gives it. */
export const SUBJECTS: Readonly<Record<string, Subject>> = {
  guard: { make: (shared, thread) => guardPairs(shared, thread, 'asymmetric') },
  'guard, portable': { make: (shared, thread) => guardPairs(shared, thread, 'portable') },
  'percpu-rwsem, read': { make: (shared, thread) => readPairs(percpuRwsem(shared, thread)) },
  'percpu-rwsem, write': { make: (shared, thread) => writePairs(percpuRwsem(shared, thread)) },
  'counter-rwsem, read': { make: (shared, thread) => readPairs(counterRwsem(shared, thread)) },
  mutex: { make: (shared, thread) => mutexPairs(shared, thread) },
  'mutex, async': { isLocal: true, make: (shared, thread) => mutexAsyncPairs(shared, thread) },
  'Atomics.Mutex': {
    flags: ['--harmony-struct'],
    make: ({ engineMutex }) => engineMutexPairs(engineMutex),
  },
  'async-mutex': { isLocal: true, make: () => asyncMutexPairs() },
  'Web Locks': { isThere: () => webLocks() !== undefined, make: () => webLockPairs() },
}

const NR_SLOTS = 8

/** Shared memory for one measurement. */
export function makeShared(): Shared {
  const { Mutex: EngineMutex } = Atomics as unknown as { Mutex?: new () => unknown }
  return {
    slots: new Int32Array(new SharedArrayBuffer(4 * Slots.words(NR_SLOTS))),
    words: new Int32Array(new SharedArrayBuffer(4 * 4096)),
    engineMutex: EngineMutex === undefined ? null : new EngineMutex(),
  }
}

function attach(shared: Shared, thread: number): Slot {
  const oracle: ThreadOracle = { tid: thread + 1, start: 0, exists: () => true }
  return new Slots(shared.slots).attach(oracle)
}

function guardPairs(shared: Shared, thread: number, form: GuardForm): Pairs {
  Guard.choose(shared.words, 0, form)
  const guard = new Guard(attach(shared, thread), shared.words, 0)
  return n => {
    for (let i = 0; i < n; i++) {
      guard.enter()
      guard.leave()
    }
  }
}

function percpuRwsem(shared: Shared, thread: number): Rwsem {
  return new PercpuRwsem(attach(shared, thread), shared.words, 0)
}

function counterRwsem(shared: Shared, thread: number): Rwsem {
  return new CounterRwsem(attach(shared, thread), shared.words, 0, { privateMutex: true })
}

function readPairs(rwsem: Rwsem): Pairs {
  return n => {
    for (let i = 0; i < n; i++) {
      rwsem.downRead()
      rwsem.upRead()
    }
  }
}

function writePairs(rwsem: Rwsem): Pairs {
  return n => {
    for (let i = 0; i < n; i++) {
      rwsem.downWrite()
      rwsem.upWrite()
    }
  }
}

function mutexPairs(shared: Shared, thread: number): Pairs {
  const mutex = new Mutex(attach(shared, thread), shared.words, 0)
  return n => {
    for (let i = 0; i < n; i++) {
      mutex.lock()
      mutex.unlock()
    }
  }
}

function mutexAsyncPairs(shared: Shared, thread: number): Pairs {
  const mutex = new Mutex(attach(shared, thread), shared.words, 0)
  return async n => {
    for (let i = 0; i < n; i++) {
      const held = await mutex.lockAsync()
      held.release()
    }
  }
}

function engineMutexPairs(mutex: unknown): Pairs {
  const { Mutex: EngineMutex } = Atomics as unknown as {
    Mutex: { lock(mutex: unknown, inside: () => void): void }
  }
  const inside = (): void => {}
  return n => {
    for (let i = 0; i < n; i++) EngineMutex.lock(mutex, inside)
  }
}

function asyncMutexPairs(): Pairs {
  const mutex = new AsyncMutex()
  return async n => {
    for (let i = 0; i < n; i++) {
      const release = await mutex.acquire()
      release()
    }
  }
}

interface WebLocks {
  request(name: string, inside: () => void): Promise<void>
}

function webLocks(): WebLocks | undefined {
  return (globalThis as { navigator?: { locks?: WebLocks } }).navigator?.locks
}

function webLockPairs(): Pairs {
  const locks = webLocks()!
  const inside = (): void => {}
  return async n => {
    for (let i = 0; i < n; i++) await locks.request('bench', inside)
  }
}
