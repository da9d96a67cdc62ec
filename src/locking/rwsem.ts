import type { AcquireOptions, Held } from './acquire.ts'

/**
 * A lock that many may hold for reading, or one for writing: the face of both forms of the hotplug
 * lock. Each thread makes its own object over the shared words, with its own slot.
 *
 * Blocking calls belong to the thread and are undone by `upRead` and `upWrite`. The others belong
 * to an operation, which releases its `Held`; operations of one event loop exclude each other.
 */
export interface Rwsem {
  /** Blocks until this thread may read; true if the last writer died inside. */
  downRead(): boolean
  /** Ends what `downRead` began. */
  upRead(): void
  /** Blocks until this thread alone may write; true if the last writer died inside. */
  downWrite(): boolean
  /** Ends what `downWrite` began. */
  upWrite(): void
  /** As `downRead`, for a `using` block. */
  acquireRead(): Held
  /** As `downWrite`, for a `using` block. */
  acquireWrite(): Held
  /** Reads, or says no at once. */
  tryDownRead(): Held | null
  /** Writes, or says no at once. */
  tryDownWrite(): Held | null
  /** Waits to read without blocking the thread. */
  downReadAsync(options?: AcquireOptions): Promise<Held>
  /** Waits to write without blocking the thread. */
  downWriteAsync(options?: AcquireOptions): Promise<Held>
  /** Whether this thread, or an operation of it, reads. */
  isReadHeld(): boolean
  /** Whether this thread, or an operation of it, writes. */
  isWriteHeld(): boolean
}
