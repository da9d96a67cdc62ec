/* What threads of the locking tests do. Each attaches, works, and returns what it saw. */
import { Mutex } from '../../src/locking/mutex.ts'
import { type Slot, Slots, type ThreadOracle } from '../../src/locking/slots.ts'

/** Shared memory of one lock's test. */
export interface LockData {
  readonly slots: Int32Array
  readonly words: Int32Array
  /** The caller's thread id, as `testOracle` has it. */
  readonly tid: number
  readonly rounds?: number
}

/** An oracle for tests that say themselves who is dead. */
export function testOracle(tid: number, dead: readonly number[] = []): ThreadOracle {
  return { tid, start: 1, exists: other => !dead.includes(other) }
}

/** A slot in the test's table. */
export function attach(data: LockData): Slot {
  return new Slots(data.slots).attach(testOracle(data.tid))
}

/** Adds to an unprotected counter, words[1], under the mutex at words[0]. */
export function countUnderMutex(data: LockData): void {
  const slot = attach(data)
  const mutex = new Mutex(slot, data.words, 0)
  for (let i = 0; i < (data.rounds ?? 0); i++) {
    mutex.lock()
    data.words[1] = (data.words[1] as number) + 1
    mutex.unlock()
  }
  slot.detach()
}

/** As `countUnderMutex`, by three operations of one event loop at once. */
export async function countUnderMutexAsync(data: LockData): Promise<void> {
  const mutex = new Mutex(attach(data), data.words, 0)
  const count = async (): Promise<void> => {
    for (let i = 0; i < (data.rounds ?? 0); i++) {
      using _held = await mutex.lockAsync()
      const before = data.words[1] as number
      await null
      data.words[1] = before + 1
    }
  }
  await Promise.all([count(), count(), count()])
}

/** Locks the mutex at words[0], says so in words[1], and sleeps for ever. */
export function lockForEver(data: LockData): void {
  const mutex = new Mutex(attach(data), data.words, 0)
  mutex.lock()
  Atomics.store(data.words, 1, 1)
  Atomics.wait(data.words, 2, 0)
}

/** Waits for the mutex at words[0]; returns whether its last owner died. */
export function lockOnce(data: LockData): boolean {
  const mutex = new Mutex(attach(data), data.words, 0)
  const ownerDied = mutex.lock()
  mutex.unlock()
  return ownerDied
}
