/*
 * `barrierAll()` for threads that may not make the system call: they ask the service thread.
 *
 *     asking thread                           service thread
 *     B1  ticket = ++REQUESTED                S1  all = REQUESTED; DONE = all: nothing to do
 *     B2  ring the bell                       S2  the system call
 *     B3  sleep until DONE reaches ticket     S3  DONE = all
 *                                             S4  wake those who sleep on DONE
 *
 * Every request counted in `all` came before S2, so one call serves them all. The service thread
 * looks at the bell before S1 and sleeps only while it has not rung since, so B2 is not missed.
 *
 * Deaths. An asking thread that dies leaves a request that is served for nobody. A service thread
 * that dies is replaced: the next one finds REQUESTED ahead of DONE, or, if the first died before
 * S4, wakes the sleepers as it starts (S0). There is one at a time.
 *
 * Checked by barrier.check.ts.
 */
import { add, load, notify, store, type Words, wait } from '#atomics'
import { HEARTBEAT_MS } from '../locking/slots.ts'

const REQUESTED = 0
const DONE = 1

/** How a barrier, or another request, reaches the service thread. */
export interface Bell {
  /** Wakes the service thread, or keeps it from its next sleep. */
  ring(): void
}

/** The requests of one machine: `BarrierRequests.WORDS` words of shared memory, zeroed. */
export class BarrierRequests {
  private readonly words: Words
  private readonly index: number

  /** Words of shared memory that the requests need. */
  static readonly WORDS = 2

  constructor(words: Words, index: number) {
    this.words = words
    this.index = index
  }

  /**
   * Asks for a barrier and blocks until it is done.
   *
   * @param onHeartbeat Called every HEARTBEAT_MS that it takes.
   */
  request(bell: Bell, onHeartbeat: () => void): void {
    const before = add(this.words, this.index + REQUESTED, 1) // B1
    bell.ring() // B2
    for (;;) {
      const done = load(this.words, this.index + DONE) // B3
      if (((done - before) | 0) > 0) return
      const woken = wait(this.words, this.index + DONE, done, HEARTBEAT_MS)
      if (woken === 'timed-out') onHeartbeat()
    }
  }

  /** For the service thread, before it serves: those whom its predecessor left asleep. */
  start(): void {
    notify(this.words, this.index + DONE) // S0
  }

  /** For the service thread: runs `barrier` if anybody has asked. */
  serve(barrier: () => void): void {
    const all = load(this.words, this.index + REQUESTED) // S1
    const done = load(this.words, this.index + DONE)
    if (all === done) return
    barrier() // S2
    store(this.words, this.index + DONE, all) // S3
    notify(this.words, this.index + DONE) // S4
  }
}
