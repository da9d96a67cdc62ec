/*
 * Requests to the service thread: one at a time, each a bounded piece of work that can be done
 * again.
 *
 *     POSTED   how many were ever posted       KIND, ARGUMENTS   of the last one posted
 *     DONE     how many were ever served       RESULTS, FAILURE  of the last one served
 *
 *     client, with `memAddRemoveLock` held     service thread
 *     C1  DONE = POSTED: nobody's is left      S1  POSTED = DONE: nothing to do
 *     C2  KIND, ARGUMENTS                      S2  does it; RESULTS, FAILURE
 *     C3  POSTED + 1                           S3  DONE = the POSTED that it saw
 *     C4  ring the bell                        S4  wake those who sleep on DONE
 *     C5  sleep until DONE = POSTED
 *
 * A client that dies leaves a request that is served for nobody; the next one waits for that first
 * (C1), for the service thread reads ARGUMENTS until S3. A service thread that dies in S2 is
 * replaced, and its successor does the request from the start, so each kind of request must allow
 * that. Its successor wakes whom it left asleep between S3 and S4 (S0).
 *
 * Checked by requests.check.ts.
 */
import { add, load, notify, store, type Words } from '#atomics'
import type { Bell } from '../arch/barrier.ts'
import { HOTPLUG_CODES, type HotplugCode, HotplugError } from '../lib/errors.ts'
import { type AcquireOptions, type Acquisition, acquire, Turnstile } from '../locking/acquire.ts'
import { requireWords } from '../locking/words.ts'

const POSTED = 0
const DONE = 1
const KIND = 2
const ARGUMENTS = 3
/** Words that a request can say. */
const ARGUMENTS_MAX = 4
/** 0, or why it could not be done: one more than the code's place in HOTPLUG_CODES. */
const FAILURE = ARGUMENTS + ARGUMENTS_MAX
const RESULTS = FAILURE + 1
/** Words that an answer can say. */
export const RESULTS_MAX = 24

/** What can be asked for; each can be done again from the start. */
export const RequestKind = {
  /** Block: its memory arrives, its pages have records. */
  Prepare: 1,
  /** Block, 1 if for the first time: moves pages for some milliseconds. Answers as `Slice`. */
  Migrate: 2,
  /**
   * Block, 1 if for the first time: its memory leaves. Answers how many units of `DISCARD_UNIT`
   * bytes have left, and the slot of a thread that stays inside the guard, or -1; with a slot,
   * nothing has left: ask again.
   */
  Discard: 3,
  /**
   * Pages that are to be free, 1 if for the first time: compacts for some milliseconds. Answers
   * whether more is to be gained, whether so many are free, how many pages it emptied, and the slot
   * of a thread that stays inside the guard, or -1; then lists are to be drained the next time.
   */
  Compact: 4,
  /** What a dead operator left: see recovery.ts. With `memHotplugLock` held for writing. */
  Recover: 5,
  /** Block: its free pages leave, as far as they lie together. Answers how many units have left. */
  Trim: 6,
} as const

/** Bytes of one unit in which answers count what leaves. */
export const DISCARD_UNIT = 4096

/** How requests reach the service thread. */
export interface RequestBell extends Bell {
  /** Throws once this thread is to ask nothing any more. */
  assertOpen?(): void
}

/** What is asked for. */
export interface Request {
  readonly kind: number
  readonly args: readonly number[]
}

/** The requests of one machine: `Requests.WORDS` words of shared memory, zeroed. */
export class Requests {
  readonly words: Words
  readonly index: number
  readonly bell: RequestBell
  private readonly stop: Words

  /** Words of shared memory that the requests need. */
  static readonly WORDS = RESULTS + RESULTS_MAX

  /**
   * @param stop Not 0 in its first word once the service thread serves no more.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or out of bounds.
   */
  constructor(words: Words, index: number, bell: RequestBell, stop: Words) {
    requireWords('requests', words, index, Requests.WORDS)
    this.stop = stop
    this.words = words
    this.index = index
    this.bell = bell
  }

  /**
   * Has the service thread do something, and blocks until that is done. One client at a time.
   *
   * @returns `RESULTS_MAX` words of answer.
   * @throws {HotplugError} It could not be done; the code says why. `ENODEV`: the machine is shut
   *   down.
   */
  ask(request: Request): number[] {
    this.settle() // C1
    this.post(request)
    this.settle() // C5
    return this.answer()
  }

  /**
   * As `ask`, without blocking the thread. What was posted is waited for whatever the options say:
   * those limit only how long a dead client's request is waited for.
   */
  async askAsync(request: Request, options: AcquireOptions = {}): Promise<number[]> {
    const settled = (limit: AcquireOptions): Promise<void> =>
      new Turnstile().acquire(
        'ask the service thread',
        () => new Settled(this),
        () => {},
        limit,
      )
    await settled(options)
    this.post(request)
    await settled({})
    return this.answer()
  }

  /** Service thread, as it starts: wakes whom its predecessor left asleep. */
  start(): void {
    notify(this.words, this.index + DONE) // S0
  }

  /** Service thread: the request that waits, or null. */
  next(): Request | null {
    const posted = load(this.words, this.index + POSTED) // S1
    const done = load(this.words, this.index + DONE)
    if (posted === done) return null
    const kind = load(this.words, this.index + KIND)
    return { kind, args: this.read(ARGUMENTS, ARGUMENTS_MAX) }
  }

  /** Service thread: what `next` gave cannot be done. */
  fail(code: HotplugCode): void {
    this.end(HOTPLUG_CODES.indexOf(code) + 1, [])
  }

  /** Service thread: what `next` gave is done. */
  finish(results: readonly number[]): void {
    this.end(0, results)
  }

  private end(failure: number, results: readonly number[]): void {
    store(this.words, this.index + FAILURE, failure) // a predecessor may have failed
    for (let i = 0; i < results.length; i++) {
      store(this.words, this.index + RESULTS + i, results[i]!) // S2
    }
    const posted = load(this.words, this.index + POSTED)
    store(this.words, this.index + DONE, posted) // S3
    notify(this.words, this.index + DONE) // S4
  }

  /** Whether the service thread serves still. */
  isServed(): boolean {
    return load(this.stop, 0) === 0
  }

  /** Throws once nobody serves any more. */
  assertServed(operation = 'ask the service thread'): void {
    if (this.isServed()) return
    throw new HotplugError('ENODEV', operation, 'the machine is shut down')
  }

  /** C1, C5. Part of `ask`, as the next two. */
  settle(): void {
    acquire(new Settled(this))
  }

  /** C2 to C4. */
  post({ kind, args }: Request): void {
    this.bell.assertOpen?.()
    store(this.words, this.index + KIND, kind) // C2
    for (let i = 0; i < args.length; i++) store(this.words, this.index + ARGUMENTS + i, args[i]!)
    add(this.words, this.index + POSTED, 1) // C3
    this.bell.ring() // C4
  }

  /** What the service thread said. */
  answer(): number[] {
    const failure = load(this.words, this.index + FAILURE)
    if (failure !== 0) {
      const reason = 'the service thread could not'
      throw new HotplugError(HOTPLUG_CODES[failure - 1]!, 'serve a request', reason)
    }
    return this.read(RESULTS, RESULTS_MAX)
  }

  private read(from: number, count: number): number[] {
    const found: number[] = []
    for (let i = 0; i < count; i++) {
      const word = load(this.words, this.index + from + i)
      found.push(word)
    }
    return found
  }
}

/** C1, C5: until nothing that was posted waits. */
class Settled implements Acquisition {
  readonly words: Words
  readonly index: number
  value = 0
  private readonly posted: number
  private readonly requests: Requests

  constructor(requests: Requests) {
    this.requests = requests
    this.words = requests.words
    this.index = requests.index + DONE
    this.posted = requests.index + POSTED
  }

  step(): boolean {
    const done = load(this.words, this.index)
    const posted = load(this.words, this.posted)
    this.value = done
    if (posted === done) return true
    this.requests.assertServed()
    return false
  }

  cancel(): void {}
}
