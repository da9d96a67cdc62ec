/*
 * Threads that wait in line while a victim dies. They stay for a whole sweep, and go through one
 * lock after the other.
 */
import { once } from 'node:events'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { FAULT_WORDS, Fault, faultAt } from '../../src/atomics/fault.ts'
import { Slots } from '../../src/locking/slots.ts'
import { testOracle } from '../bodies/locks.ts'
import { sharedWords, until } from '../thread.ts'
import { KINDS, wayOf } from './ways.ts'

/** What to go through. */
export interface Job {
  readonly slots: Int32Array
  readonly words: Int32Array
  readonly kind: string
  readonly way: string
}

/** One such thread. */
export class Waiter {
  private readonly worker: Worker
  private readonly control = sharedWords(FAULT_WORDS)

  /** @param tid Its thread id. */
  constructor(tid: number) {
    this.worker = new Worker(new URL(import.meta.url), {
      execArgv: ['--conditions=fault', '--enable-source-maps'],
      workerData: { tid, control: this.control },
    })
    this.worker.setMaxListeners(0)
  }

  /**
   * Begins a job; resolves when it sleeps, or is through already.
   *
   * @returns Whether it was told of a death inside, when it is through.
   */
  async begin(job: Job): Promise<{ through: Promise<boolean> }> {
    let isThrough = false
    const through = once(this.worker, 'message').then(([told]) => {
      isThrough = true
      return told as boolean
    })
    this.worker.postMessage(job)
    const isAsleep = (): boolean => Atomics.load(this.control, Fault.Asleep) === 1
    await until(`${job.way} waits in line`, () => isThrough || isAsleep())
    return { through }
  }

  /** Ends it. */
  async end(): Promise<void> {
    await this.worker.terminate()
  }
}

function goThrough({ slots, words, kind, way }: Job, tid: number): boolean {
  const slot = new Slots(slots).attach(testOracle(tid))
  const lock = wayOf(KINDS[kind]!.open(slot, words), way)
  const held = lock.begin()
  lock.end(held)
  slot.detach()
  return lock.wasTold(held)
}

if (workerData !== null && parentPort !== null && 'control' in workerData) {
  const { tid, control } = workerData as { tid: number; control: Int32Array }
  faultAt(Number.POSITIVE_INFINITY, control) // it never dies, but says when it sleeps
  parentPort.on('message', (job: Job) => parentPort?.postMessage(goThrough(job, tid)))
}
