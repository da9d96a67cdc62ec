/*
 * How long an operation on memory may go on, and what it says meanwhile.
 */
import { now } from '../arch/clock.ts'
import { type Blocker, HotplugError, type HotplugErrorOptions } from '../lib/errors.ts'
import type { AcquireOptions } from '../locking/acquire.ts'

/** How far an operation is. */
export interface Progress {
  /** As in errors: `offline memory3`. */
  readonly operation: string
  /** Pages that have moved; where none does, that have come or gone. */
  readonly pagesMoved: number
  /** Pages that are still to move, come or go, as far as is known. */
  readonly pagesLeft: number
  readonly bytesPerSecond: number
  readonly elapsedMs: number
}

/** For operations that can take longer than a millisecond. */
export interface OperationOptions {
  /** Gives up when aborted, all as it was; the promise rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined
  /** Gives up after so many milliseconds: more than 0. Never if left out. */
  readonly deadlineMs?: number | undefined
  /**
   * Called at the beginning, now and then, and at the end. What it throws ends the operation as an
   * abort would; beyond the point of no return it is a warning.
   */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** The limits of one operation, from when it was asked for. */
export class Limit {
  readonly operation: string
  readonly startedAt: number
  private readonly options: OperationOptions

  /** @throws {HotplugError} `EINVAL`: a deadline that is not above 0. */
  constructor(operation: string, options: OperationOptions = {}) {
    this.operation = operation
    this.options = options
    this.startedAt = now()
    const { deadlineMs } = options
    if (deadlineMs === undefined || deadlineMs > 0) return
    throw new HotplugError('EINVAL', operation, `deadlineMs is ${deadlineMs}, not more than 0`)
  }

  /** Milliseconds since it was asked for. */
  get elapsedMs(): number {
    return now() - this.startedAt
  }

  /**
   * Throws once the operation is to give up.
   *
   * @param blockers What stands in the way, asked only then.
   * @throws {HotplugError} `ETIMEDOUT`: the deadline has passed. The signal's reason if aborted.
   */
  check(blockers?: () => readonly Blocker[]): void {
    if (this.isOver()) this.end(blockers)
  }

  /** Whether the operation is to give up. */
  isOver(): boolean {
    const { deadlineMs } = this.options
    return this.isAborted() || (deadlineMs !== undefined && this.elapsedMs >= deadlineMs)
  }

  /** Whether its signal is aborted. */
  isAborted(): boolean {
    return this.options.signal?.aborted === true
  }

  /** Gives up; throws as `check`. Call once a wait was cut short by its limits. */
  end(blockers: () => readonly Blocker[] = () => []): never {
    this.options.signal?.throwIfAborted()
    const blockedBy = blockers()
    throw this.timeout(blockedBy[0]?.reason ?? 'it had not come to its end', { blockedBy })
  }

  /**
   * Waits for a lock for as long as the operation may go on.
   *
   * @param reason What stood in the way if that is not long enough.
   * @throws {HotplugError} `ETIMEDOUT`: as `check`. The signal's reason if aborted.
   */
  async within<T>(reason: string, take: (options: AcquireOptions) => Promise<T>): Promise<T> {
    try {
      return await take(this.acquire())
    } catch (error) {
      const isTimeout = error instanceof HotplugError && error.code === 'ETIMEDOUT'
      if (!isTimeout || this.isAborted()) throw error
      throw this.timeout(reason, { cause: error })
    }
  }

  /** What to throw when the deadline has passed. */
  timeout(reason: string, options: HotplugErrorOptions): HotplugError {
    const message = `${reason} after ${this.options.deadlineMs} ms`
    return new HotplugError('ETIMEDOUT', this.operation, message, options)
  }

  /** For locks that the operation waits for. */
  acquire(): AcquireOptions {
    const { signal, deadlineMs } = this.options
    if (deadlineMs === undefined) return { signal }
    return { signal, timeoutMs: Math.max(deadlineMs - this.elapsedMs, Number.MIN_VALUE) }
  }

  /** The same limits for a part of the operation. */
  rest(): OperationOptions {
    const { signal, deadlineMs } = this.options
    if (deadlineMs === undefined) return this.options
    const left = Math.max(deadlineMs - this.elapsedMs, Number.MIN_VALUE)
    return { signal, deadlineMs: left, onProgress: this.options.onProgress }
  }

  /** Says how far it is. */
  report(pagesMoved: number, pagesLeft: number, pageSize: number): void {
    const { elapsedMs, operation } = this
    const bytesPerSecond = (pagesMoved * pageSize * 1000) / Math.max(elapsedMs, 0.001)
    this.options.onProgress?.({ operation, pagesMoved, pagesLeft, bytesPerSecond, elapsedMs })
  }

  /** Says that it is done, which nobody can object to any more. */
  reportDone(pagesMoved: number, pagesLeft: number, pageSize: number): void {
    try {
      this.report(pagesMoved, pagesLeft, pageSize)
    } catch (error) {
      const text = error instanceof Error ? error.message : 'it threw something odd'
      const warning = `the progress report failed at the end of ${this.operation}: ${text}`
      process.emitWarning(warning, { type: 'HotplugWarning' })
    }
  }
}
