/*
 * The service thread, as main sees it.
 *
 * One worker, made from main so that nobody else's end ends it. It alone loads koffi, and nobody
 * ever terminates it: it is asked to stop. It serves barriers and looks after the dead. Should it
 * die, main starts another, on its 'exit' event or, while main itself is blocked in a barrier, when
 * the kernel no longer knows it; what was asked of the first is served by the second.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { store } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import type { GuardForm } from '../locking/guard.ts'
import { Slots, type ThreadOracle } from '../locking/slots.ts'
import { now } from './clock.ts'
import type { Control } from './control.ts'

/** Starts, one soon after the other, before that is given up. */
const STARTS_MAX = 10
/** One that has lived so long after it was ready is not one that dies at its start. */
const LIVED_MS = 1000

/** The longest that a timer can run. */
const TIMER_MAX_MS = 0x7fffffff

/** What to use of the machine: all that works, or only what every Node has. */
export type Arch = 'auto' | 'portable'

/** What the service thread is told. */
export interface ServiceData {
  /** The module that it runs: `service-thread.js`, or one that serves more. */
  readonly module: string
  readonly control: Control
  readonly arch: Arch
  /** For the module, if it serves more; cloneable. */
  readonly more?: unknown
  /** The guard's form; null: it is to be chosen. */
  readonly form: GuardForm | null
}

/** What the service thread says when it is ready. */
export interface ServiceReport {
  readonly form: GuardForm
  /** Why the guard is not asymmetric. */
  readonly reason: string | undefined
  /** Its thread id and start time, by its oracle; 0 while it is being replaced. */
  readonly tid: number
  readonly start: number
  /** What the module has to say. */
  readonly more?: unknown
}

/** The module that serves barriers and looks after the dead. */
export const SERVICE_MODULE = new URL('./service-thread.js', import.meta.url).href

/**
 * What HOTPLUG_ARCH or the caller says.
 *
 * @throws {HotplugError} `EINVAL`: neither `auto` nor `portable`.
 */
export function archFrom(option: string | undefined): Arch {
  const arch = option ?? (process.env.HOTPLUG_ARCH || 'auto')
  if (arch === 'auto' || arch === 'portable') return arch
  throw new HotplugError('EINVAL', 'boot', `arch is ${arch}, not auto or portable`)
}

/** A running service thread, and its successors. For the main thread. */
export class Service {
  /** What the one that runs has reported; `tid` is 0 while its successor starts. */
  report: ServiceReport
  private readonly data: ServiceData
  private readonly oracle: ThreadOracle
  private readonly onNews: (news: unknown) => void
  private worker: Worker
  private nrStarts = 1
  private readyAt = now()
  private isStopping = false
  private ending: Promise<void> | null = null
  /** Calls that wait for its end, and so hold the event loop. */
  private nrWaiting = 0
  private isGivenUp = false

  /**
   * Starts it and waits until it is ready.
   *
   * @param onNews Is given what its module posts beside its report.
   */
  static async start(
    data: ServiceData,
    oracle: ThreadOracle,
    onNews: (news: unknown) => void = () => {},
  ): Promise<Service> {
    const worker = startWorker(data)
    const [report] = (await once(worker, 'message')) as [ServiceReport]
    worker.unref()
    return new Service(data, oracle, { worker, report, onNews })
  }

  private constructor(
    data: ServiceData,
    oracle: ThreadOracle,
    first: { worker: Worker; report: ServiceReport; onNews: (news: unknown) => void },
  ) {
    this.data = { ...data, form: first.report.form }
    this.oracle = oracle
    this.worker = first.worker
    this.report = first.report
    this.onNews = first.onNews
    this.watch(first.worker)
  }

  /** Starts another if it has died; for a main thread that is blocked and sees no 'exit'. */
  revive(): void {
    const { tid, start } = this.report
    if (tid === 0 || this.oracle.exists(tid, start)) return
    this.restart(this.worker)
  }

  /**
   * Asks it to end, unless that was done, and waits until it has.
   *
   * @throws {HotplugError} `ETIMEDOUT`: it had not when the deadline passed. It will, and can be
   *   waited for again.
   */
  async stop(deadlineMs?: number): Promise<void> {
    this.ending ??= this.end()
    this.worker.ref()
    this.nrWaiting++
    try {
      if (await endsWithin(this.ending, deadlineMs)) return
    } finally {
      this.nrWaiting--
      if (this.nrWaiting === 0) this.worker.unref()
    }
    const reason = `the service thread had not ended after ${deadlineMs} ms: that goes on`
    throw new HotplugError('ETIMEDOUT', 'shut down', reason)
  }

  private async end(): Promise<void> {
    this.isStopping = true
    const ended = this.isGivenUp ? null : once(this.worker, 'exit')
    store(this.data.control.stop, 0, 1)
    new Slots(this.data.control.slots).ring()
    await ended
  }

  private watch(worker: Worker): void {
    let error: unknown
    worker.on('error', reason => (error = reason))
    worker.on('message', (news: ServiceReport) => {
      if (!('tid' in news)) return this.onNews(news)
      this.readyAt = now()
      this.report = news
      if (!this.isStopping) worker.unref()
    })
    if (this.report.tid !== 0) worker.unref() // a listener for messages holds the event loop
    worker.once('exit', () => this.restart(worker, error))
  }

  /** @param dead The one that died; if it has a successor already, nothing is done. */
  private restart(dead: Worker, cause?: unknown): void {
    if (this.isStopping || dead !== this.worker) return
    const wasReady = this.report.tid !== 0
    const wasEnded = wasReady && cause === undefined // by somebody, not by an error of its own
    if (wasEnded || (wasReady && now() - this.readyAt > LIVED_MS)) this.nrStarts = 1
    if (this.nrStarts === STARTS_MAX) {
      this.isGivenUp = true
      throw new Error(`the service thread died ${STARTS_MAX} times, each soon after the last`, {
        cause,
      })
    }
    this.nrStarts++
    const worker = startWorker(this.data)
    this.worker = worker
    this.report = { ...this.report, tid: 0, start: 0 }
    this.watch(worker)
  }
}

/** @returns Whether it was in time; rejects as the promise does. */
function endsWithin(promise: Promise<void>, deadlineMs: number | undefined): Promise<boolean> {
  if (deadlineMs === undefined) return promise.then(() => true)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(false), Math.min(Math.ceil(deadlineMs), TIMER_MAX_MS))
    promise.then(() => resolve(true), reject).finally(() => clearTimeout(timer))
  })
}

function startWorker(data: ServiceData): Worker {
  return new Worker(new URL(data.module), { workerData: data, name: 'hotplug-service' })
}
