/* What threads of the locking tests do. Each attaches, works, and returns what it saw. */
import { Completion } from '../../src/locking/completion.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
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

/** Says in words[8] that it comes, waits for the completion at words[0], says so in words[9]. */
export function waitOnce(data: LockData): void {
  const completion = new Completion(attach(data), data.words, 0)
  Atomics.add(data.words, 8, 1)
  completion.wait()
  Atomics.add(data.words, 9, 1)
}

/** Declares itself the completer of words[0], says so in words[8], and sleeps for ever. */
export function expectForEver(data: LockData): void {
  new Completion(attach(data), data.words, 0).expect()
  Atomics.add(data.words, 8, 1)
  Atomics.wait(data.words, 10, 0)
}

/** Says in words[3] that it comes, and drains the killed reference count at words[0]. */
export function drainOnce(data: LockData): void {
  const ref = new PercpuRef(attach(data), data.words, 0)
  Atomics.store(data.words, 3, 1)
  ref.drain()
}

/** Gets and puts `rounds` references; words[2] counts who has one. */
export function getAndPut(data: LockData): void {
  const ref = new PercpuRef(attach(data), data.words, 0)
  for (let i = 0; i < (data.rounds ?? 0); ) {
    if (!ref.tryGet()) continue
    Atomics.add(data.words, 2, 1)
    Atomics.sub(data.words, 2, 1)
    ref.put()
    i++
  }
}
