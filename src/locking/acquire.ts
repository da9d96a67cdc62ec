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
 * A waiter that gives up may just have been woken in another's place: `cancel()` passes it on, and
 * so does the sleep that it leaves behind, should that be woken later (`passOn`).
 */
import { notify, type Woken, type Words, wait, waitAsync } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { HEARTBEAT_MS } from './slots.ts'

const TIMEOUT_MAX_MS = 0x7fffffff

/** One attempt to get a lock, in steps. */
export interface Acquisition {
  /** Tries once. If it fails, sleep while `words[index]` is `value`, then try again. */
  step(): boolean
  readonly words: Words
  readonly index: number
  readonly value: number
  /** Tries again after so long even if nobody wakes it; HEARTBEAT_MS if left out. */
  readonly lookEveryMs?: number
  /** Gives up: leaves no trace, passes on what may have been granted meanwhile. */
  cancel(): void
}

/** For acquisitions that an event loop waits for. */
export interface AcquireOptions {
  /** Gives up when aborted; the promise rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined
  /** Gives up after so long: more than 0. For ever if left out. */
  readonly timeoutMs?: number | undefined
  /** Whose it is, any object: lockdep orders what one operation takes. Its own if left out. */
  readonly operation?: object | undefined
}

/** What an operation holds; released once, by `release()` or at the end of a `using` block. */
export class Held implements Disposable {
  /** Whether the last owner died inside: what the lock protects may be half changed. */
  readonly ownerDied: boolean
  private undo: ((held: Held) => void) | null

  constructor(ownerDied: boolean, undo: (held: Held) => void) {
    this.ownerDied = ownerDied
    this.undo = undo
  }

  /**
   * @throws {HotplugError} `EPERM`: released already. `EINVAL`: the slot is detached, which has
   *   released it.
   */
  release(): void {
    if (this.undo === null) throw new HotplugError('EPERM', 'release', 'it was released already')
    const undo = this.undo
    this.undo = null
    undo(this)
  }

  /** Releases it, unless that was done. */
  [Symbol.dispose](): void {
    if (this.undo !== null) this.release()
  }
}

/**
 * Blocks the thread until acquired.
 *
 * @param meanwhile Called whenever it has waited for a heartbeat.
 */
export function acquire(acquisition: Acquisition, meanwhile: (() => void) | null = null): void {
  while (!acquisition.step()) {
    const { words, index, value, lookEveryMs = HEARTBEAT_MS } = acquisition
    const woken = wait(words, index, value, lookEveryMs)
    if (meanwhile !== null && woken === 'timed-out') meanwhile()
  }
}

/** The operations of one thread that wait for one lock, first come first served. */
export class Turnstile {
  /** Operations of this thread that wait; a blocking acquire meanwhile might never end. */
  nrWaiting = 0
  private last: Promise<void> | null = null

  /**
   * Waits for the lock without blocking the thread.
   *
   * @param operation What errors call it: `lock mutex`.
   * @param begin Starts the acquisition, when it is this operation's turn.
   * @param granted Makes the result, at once when the lock is acquired.
   * @throws {HotplugError} `ETIMEDOUT`: not acquired within `timeoutMs`. `EINVAL`: a bad timeout.
   *   The signal's reason if it was aborted before.
   */
  async acquire<T>(
    operation: string,
    begin: () => Acquisition,
    granted: () => T,
    options: AcquireOptions,
  ): Promise<T> {
    using patience = new Patience(operation, options)
    const before = this.last
    let pass = (): void => {}
    const turn = new Promise<void>(resolve => (pass = resolve))
    this.last = turn
    this.nrWaiting++
    try {
      if (before !== null) await patience.until(before)
      return await drive(begin(), granted, patience)
    } finally {
      this.nrWaiting--
      const end = (): void => {
        if (this.last === turn) this.last = null
        pass()
      }
      if (before === null) end()
      else before.then(end) // whoever gave up has no turn to pass on until it would have come
    }
  }
}

async function drive<T>(
  acquisition: Acquisition,
  granted: () => T,
  patience: Patience,
): Promise<T> {
  while (!acquisition.step()) {
    const { words, index, value, lookEveryMs = HEARTBEAT_MS } = acquisition
    const woken = waitAsync(words, index, value, lookEveryMs)
    try {
      await patience.until(woken)
    } catch (error) {
      acquisition.cancel()
      passOn(woken, words, index)
      throw error
    }
  }
  return granted()
}

/** A sleeper that nobody awaits any more is still in the queue, and may be woken in vain. */
function passOn(woken: Promise<Woken>, words: Words, index: number): void {
  woken.then(how => {
    if (how === 'ok') notify(words, index, 1)
  })
}

/** How long an operation is willing to wait: until its signal is aborted, or its time is up. */
class Patience implements Disposable {
  private readonly signal: AbortSignal | undefined
  private readonly timeout: AbortSignal | undefined
  private readonly timedOut: HotplugError | undefined
  giveUp = (_reason: unknown): void => {}

  constructor(operation: string, options: AcquireOptions) {
    const { signal, timeoutMs } = options
    if (timeoutMs !== undefined) {
      requireTimeout(operation, timeoutMs)
      this.timedOut = new HotplugError('ETIMEDOUT', operation, `not granted within ${timeoutMs} ms`)
    }
    signal?.throwIfAborted()
    this.signal = signal
    if (timeoutMs !== undefined) {
      this.timeout = AbortSignal.timeout(Math.min(Math.ceil(timeoutMs), TIMEOUT_MAX_MS))
    }
    signal?.addEventListener('abort', this.onAbort)
    this.timeout?.addEventListener('abort', this.onTimeout)
  }

  /** Rejects if patience ends before the promise does. */
  until<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.giveUp = reject
      if (this.signal?.aborted) this.onAbort()
      if (this.timeout?.aborted) this.onTimeout()
      promise.then(resolve, reject)
    })
  }

  [Symbol.dispose](): void {
    this.signal?.removeEventListener('abort', this.onAbort)
    this.timeout?.removeEventListener('abort', this.onTimeout)
  }

  private readonly onAbort = (): void => this.giveUp(this.signal?.reason)
  private readonly onTimeout = (): void => this.giveUp(this.timedOut)
}

/**
 * Several acquisitions under one limit.
 *
 * @param body Passes the options that it is given to each; they are one operation's.
 * @throws What `Turnstile.acquire` throws.
 */
export async function acquireWithin<T>(
  operation: string,
  options: AcquireOptions,
  body: (options: AcquireOptions) => Promise<T>,
): Promise<T> {
  using patience = new Patience(operation, options)
  const limit = new AbortController()
  patience.giveUp = reason => limit.abort(reason)
  return await body({ signal: limit.signal, operation: options.operation ?? {} })
}

/** @throws {HotplugError} `EINVAL`: not a number of milliseconds above 0. */
export function requireTimeout(operation: string, timeoutMs: number): void {
  if (timeoutMs > 0) return
  throw new HotplugError('EINVAL', operation, `timeoutMs is ${timeoutMs}, not more than 0`)
}
