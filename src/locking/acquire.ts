/*
 * Two shells over one core: how a thread or an event loop waits for a lock.
 *
 * A lock describes an acquisition as steps (`Acquisition`). The blocking shell sleeps between
 * them, the async shell awaits between them; what is checked is the steps, driven by the first.
 *
 * Owners are operations, but shared memory knows threads only: an operation cannot outlive its
 * thread. So the operations of one event loop take turns in that thread's own memory (`Turnstile`,
 * first come first served), and only the one whose turn it is contends with other threads.
 *
 * A waiter that gives up may just have been woken in another's place: `cancel()` passes it on.
 */
import { notify, type Woken, type Words, wait, waitAsync } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { HEARTBEAT_MS } from './slots.ts'

/** One attempt to get a lock, in steps. */
export interface Acquisition {
  /** Tries once. If it fails, sleep while `words[index]` is `value`, then try again. */
  step(): boolean
  readonly words: Words
  readonly index: number
  readonly value: number
  /** Gives up: leaves no trace, passes on what may have been granted meanwhile. */
  cancel(): void
}

/** For acquisitions that an event loop waits for. */
export interface AcquireOptions {
  /** Gives up when aborted; the promise rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined
  /** Gives up after so long: more than 0. For ever if left out. */
  readonly timeoutMs?: number | undefined
}

/** What an operation holds; released once, by `release()` or at the end of a `using` block. */
export class Held implements Disposable {
  /** Whether the last owner died inside: what the lock protects may be half changed. */
  readonly ownerDied: boolean
  private undo: (() => void) | null

  constructor(ownerDied: boolean, undo: () => void) {
    this.ownerDied = ownerDied
    this.undo = undo
  }

  /** @throws {HotplugError} `EPERM`: released already. */
  release(): void {
    if (this.undo === null) throw new HotplugError('EPERM', 'release', 'it was released already')
    const undo = this.undo
    this.undo = null
    undo()
  }

  [Symbol.dispose](): void {
    if (this.undo !== null) this.release()
  }
}

/** Blocks the thread until acquired. */
export function acquire(acquisition: Acquisition): void {
  while (!acquisition.step()) {
    wait(acquisition.words, acquisition.index, acquisition.value, HEARTBEAT_MS)
  }
}

/** The operations of one thread that wait for one lock, first come first served. */
export class Turnstile {
  private tail: Promise<void> | null = null
  /** Operations of this thread that wait; a blocking acquire meanwhile would never end. */
  nrWaiting = 0

  /**
   * Waits for the lock without blocking the thread.
   *
   * @param begin Starts the acquisition, when it is this operation's turn.
   * @throws {HotplugError} `ETIMEDOUT`: not acquired within `timeoutMs`. `EINVAL`: a bad timeout.
   */
  async acquire(operation: string, begin: () => Acquisition, options: AcquireOptions) {
    const signal = deadline(operation, options)
    signal?.throwIfAborted()
    const before = this.tail
    let done = (): void => {}
    const turn = new Promise<void>(resolve => (done = resolve))
    this.tail = turn
    this.nrWaiting++
    try {
      if (before !== null) await untilAborted(before, signal)
      await drive(begin(), signal)
    } catch (error) {
      throw isTimeout(signal, error) ? timedOut(operation, options) : error
    } finally {
      this.nrWaiting--
      if (before === null) done()
      else before.then(done) // an aborted operation's turn passes only when it has come
      if (this.tail === turn) this.tail = null
    }
  }
}

async function drive(acquisition: Acquisition, signal: AbortSignal | undefined): Promise<void> {
  while (!acquisition.step()) {
    const { words, index, value } = acquisition
    const woken = waitAsync(words, index, value, HEARTBEAT_MS)
    try {
      await untilAborted(woken, signal)
    } catch (error) {
      acquisition.cancel()
      passOn(woken, words, index)
      throw error
    }
  }
}

/** A sleeper that nobody awaits any more is still in the queue, and may be woken in vain. */
function passOn(woken: Promise<Woken>, words: Words, index: number): void {
  woken.then(how => {
    if (how === 'ok') notify(words, index, 1)
  })
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    const forget = (): void => signal.removeEventListener('abort', abort)
    promise.then(resolve, reject).finally(forget)
  })
}

const timeouts = new WeakSet<AbortSignal>()

function deadline(operation: string, options: AcquireOptions): AbortSignal | undefined {
  const { signal, timeoutMs } = options
  if (timeoutMs === undefined) return signal
  if (!(timeoutMs > 0)) {
    throw new HotplugError('EINVAL', operation, `timeoutMs is ${timeoutMs}, not more than 0`)
  }
  const timeout = AbortSignal.timeout(Math.min(Math.ceil(timeoutMs), 0x7fffffff))
  timeouts.add(timeout)
  if (signal === undefined) return timeout
  const either = AbortSignal.any([signal, timeout])
  if (!signal.aborted) timeout.addEventListener('abort', () => timeouts.add(either))
  return either
}

function isTimeout(signal: AbortSignal | undefined, error: unknown): boolean {
  return signal !== undefined && timeouts.has(signal) && error === signal.reason
}

function timedOut(operation: string, options: AcquireOptions): HotplugError {
  return new HotplugError('ETIMEDOUT', operation, `not granted within ${options.timeoutMs} ms`)
}
