/*
 * The board of a torture run: what its threads tell each other beside the lock, in shared words.
 *
 * Who is inside says so in a word of its own: the owner's token and what it is there for. Whoever
 * comes in says so first and then looks at all the others, so that of two that are inside together
 * at least one sees it. A thread that was killed inside leaves its word behind; its token says so.
 *
 * Writers keep PAIR and its twin equal, one plain addition each. A writer that finds them unequal
 * and was not told that its predecessor died has met a change that should have been excluded.
 */
import type { Slots } from '../../src/locking/slots.ts'

const STOP = 0
const STUTTER = 1
const OVERLAPS = 2
const UNTOLD = 3
const TOLD = 4
const PAIR = 5
const TWIN = 6
const THREADS = 16

const INSIDE = 0
const COUNT = 1
const DOING = 2
const TOKEN = 3
const THREAD_WORDS = 16

/** What a thread is inside for. Readers of a guard read one of two things. */
export const As = { Writer: 1, Reader: 2, ReaderOfOther: 3 } as const
export type As = (typeof As)[keyof typeof As]

const DOINGS = ['starting', 'waiting to write', 'waiting to read', 'inside', 'ended'] as const

/** What a thread is seen doing when a run hangs. */
export type Doing = (typeof DOINGS)[number]

/** The shared words of a run. */
export class Board {
  readonly words: Int32Array
  readonly nrThreads: number

  /** Words that `nrThreads` threads need. */
  static words(nrThreads: number): number {
    return THREADS + nrThreads * THREAD_WORDS
  }

  constructor(words: Int32Array) {
    this.words = words
    this.nrThreads = (words.length - THREADS) / THREAD_WORDS
  }

  /** Ends the run: threads finish their turns. */
  stop(): void {
    Atomics.store(this.words, STOP, 1)
    this.setStutter(false)
  }

  isStopped(): boolean {
    return Atomics.load(this.words, STOP) === 1
  }

  /** Lets all threads pause between turns, or go on. */
  setStutter(isOn: boolean): void {
    Atomics.store(this.words, STUTTER, isOn ? 1 : 0)
    if (!isOn) Atomics.notify(this.words, STUTTER)
  }

  /** Sleeps while the run pauses. */
  pause(): void {
    Atomics.wait(this.words, STUTTER, 1)
  }

  /** Two that exclude each other were inside together, this often. */
  get overlaps(): number {
    return Atomics.load(this.words, OVERLAPS)
  }

  /** A writer met a half-made change and was not told, this often. */
  get untold(): number {
    return Atomics.load(this.words, UNTOLD)
  }

  /** A writer was told that its predecessor had died, this often. */
  get told(): number {
    return Atomics.load(this.words, TOLD)
  }

  /** How often a thread was inside, over all its lives. */
  countOf(thread: number): number {
    return Atomics.load(this.words, this.at(thread, COUNT))
  }

  /** What a thread was doing last. */
  doing(thread: number): Doing {
    return DOINGS[Atomics.load(this.words, this.at(thread, DOING))]!
  }

  /** A thread says what it is doing. */
  setDoing(thread: number, doing: Doing): void {
    Atomics.store(this.words, this.at(thread, DOING), DOINGS.indexOf(doing))
  }

  /** A thread says how lock words name it. */
  setToken(thread: number, token: number): void {
    Atomics.store(this.words, this.at(thread, TOKEN), token)
  }

  /** How lock words name a thread; 0 if it has not said so. */
  tokenOf(thread: number): number {
    return Atomics.load(this.words, this.at(thread, TOKEN))
  }

  /** Whether a thread that has died was inside: it did not take its word back. */
  diedInside(thread: number): boolean {
    const token = this.tokenOf(thread)
    return token !== 0 && Atomics.load(this.words, this.at(thread, INSIDE)) >>> 2 === token
  }

  /** A thread says that it is inside. */
  enter(thread: number, token: number, as: As): void {
    Atomics.store(this.words, this.at(thread, INSIDE), (token << 2) | as)
    this.setDoing(thread, 'inside')
  }

  /** A thread says that it is about to leave. */
  leave(thread: number): void {
    Atomics.store(this.words, this.at(thread, INSIDE), 0)
    Atomics.add(this.words, this.at(thread, COUNT), 1)
  }

  /** Counts an overlap for every living thread that is inside as one of `wrong`. */
  expectNobody(slots: Slots, thread: number, wrong: readonly As[]): void {
    for (let other = 0; other < this.nrThreads; other++) {
      if (other === thread) continue
      const inside = Atomics.load(this.words, this.at(other, INSIDE))
      if (!wrong.includes((inside & 3) as As) || !slots.isAlive(inside >>> 2)) continue
      Atomics.add(this.words, OVERLAPS, 1)
    }
  }

  /** Changes what the lock protects, in two halves. */
  change(wasTold: boolean, meanwhile: () => void): void {
    const before = this.words[PAIR]!
    if (wasTold) Atomics.add(this.words, TOLD, 1)
    else if (before !== this.words[TWIN]) Atomics.add(this.words, UNTOLD, 1)
    this.words[PAIR] = before + 1
    meanwhile()
    this.words[TWIN] = before + 1
  }

  /** Looks at what the lock protects, twice: nobody changes it meanwhile. */
  look(meanwhile: () => void): void {
    const before = Atomics.load(this.words, PAIR)
    meanwhile()
    if (before !== Atomics.load(this.words, PAIR)) Atomics.add(this.words, OVERLAPS, 1)
  }

  private at(thread: number, field: number): number {
    return THREADS + thread * THREAD_WORDS + field
  }
}
