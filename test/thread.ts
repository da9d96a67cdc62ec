/*
 * Real threads for tests: each runs one exported function of a module, the body, and says what it
 * returned. The module is not the test itself: a test's file would run its tests again.
 */
import { ok } from 'node:assert/strict'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { Worker, type WorkerOptions } from 'node:worker_threads'

const PATIENCE_MS = 20_000

/** What a thread is told to run. */
export interface ThreadData {
  readonly module: string
  readonly name: string
  readonly data: unknown
}

/** A thread that runs one function of a module. */
export class TestThread {
  readonly worker: Worker
  /** Resolves with what the function returned; rejects if it threw or the thread was killed. */
  readonly result: Promise<unknown>
  private readonly exited: Promise<unknown>

  /**
   * @param module URL of the compiled module that exports `name`.
   * @param data The function's argument.
   */
  constructor(module: URL, name: string, data: unknown, options: WorkerOptions = {}) {
    const workerData: ThreadData = { module: module.href, name, data }
    this.worker = new Worker(new URL('./thread-main.js', import.meta.url), {
      ...options,
      workerData,
    })
    this.exited = once(this.worker, 'exit')
    this.result = this.outcome()
    this.result.catch(() => {}) // a test that kills the thread need not look at it
  }

  /** Ends the thread wherever it is; resolves when it has ended. */
  async kill(): Promise<void> {
    await this.worker.terminate()
    await this.exited
  }

  private async outcome(): Promise<unknown> {
    const message = once(this.worker, 'message') // rejects on 'error'
    const ended = this.exited.then(() => null)
    const first = await Promise.race([message, ended])
    if (first === null) throw new Error('the thread ended before its function did')
    await this.exited
    return first[0]
  }
}

/** Waits for a state that other threads bring about. */
export async function until(what: string, isReached: () => boolean): Promise<void> {
  const endsAt = Date.now() + PATIENCE_MS
  while (!isReached()) {
    ok(Date.now() < endsAt, `never reached: ${what}`)
    await setTimeout(1)
  }
}

/** Words of shared memory, zeroed. */
export function sharedWords(nrWords: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(nrWords * 4))
}
