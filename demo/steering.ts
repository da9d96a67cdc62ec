/*
 * Steering: real threads take turns in a given order, and when it is over run as they like.
 *
 * A thread that cannot take its turn, because it sleeps or has ended, is passed over: so the same
 * order can be given to another form of the lock, and goes as far as it goes. Sleeps are real; who
 * wakes others waits until they are awake, so that it is clear whose turn it is.
 *
 *     STEP        index of the turn that is due
 *     AT + 2t     what thread t is at
 *     AT + 2t+1   the word that it sleeps on
 */
import { perform } from '../src/check/learn/driver.ts'
import { Kind, Woke } from '../src/check/program.ts'

const STEP = 0
const AT = 1
const RETRY_MS = 1

const State = { Runs: 0, Sleeps: 1, Ended: 2 } as const

/** Of an operation: index of the word, first and second operand. */
export type Operands = readonly [word: number, a: number, b: number]

/** A thread that has not ended, and the word that it sleeps on. */
export interface Sleeper {
  readonly thread: number
  readonly word: number
}

/** The order of turns, and where everybody is: shared by all threads of one run. */
export class Steering {
  readonly words: Int32Array
  private readonly order: readonly number[]
  private readonly nrThreads: number

  /** Words that `nrThreads` threads need. */
  static words(nrThreads: number): number {
    return AT + 2 * nrThreads
  }

  constructor(words: Int32Array, order: readonly number[]) {
    this.words = words
    this.order = order
    this.nrThreads = (words.length - AT) / 2
  }

  /** Does one operation of `thread` on `memory` when its turn has come; returns its result. */
  take(thread: number, kind: Kind, memory: Int32Array, operands: Operands): number {
    const [word, a, b] = operands
    const isSteered = this.awaitTurn(thread)
    if (kind === Kind.Wait && Atomics.load(memory, word) === a) {
      return this.sleep(thread, word, () => perform(kind, memory, word, a, b))
    }
    const result = this.perform(kind, memory, operands)
    if (isSteered) this.passOn()
    return result
  }

  /** `thread` has ended. */
  end(thread: number): void {
    this.set(this.at(thread), State.Ended)
    if (this.due() === thread) this.passOn()
  }

  /** Those that have not ended if all of them sleep; null if one runs. */
  left(): Sleeper[] | null {
    const left: Sleeper[] = []
    for (let thread = 0; thread < this.nrThreads; thread++) {
      const state = Atomics.load(this.words, this.at(thread))
      if (state === State.Runs) return null
      const word = Atomics.load(this.words, this.at(thread) + 1)
      if (state === State.Sleeps) left.push({ thread, word })
    }
    return left
  }

  /** False if there are no more turns: everybody does as they like. */
  private awaitTurn(thread: number): boolean {
    for (;;) {
      const step = Atomics.load(this.words, STEP)
      if (step >= this.order.length) return false
      if (this.order[step] === thread) return true
      Atomics.wait(this.words, STEP, step)
    }
  }

  /** Call when it is the caller's turn, or that of one that cannot take it. */
  private passOn(): void {
    let next = Atomics.load(this.words, STEP) + 1
    while (next < this.order.length && !this.canMove(this.order[next]!)) next++
    this.set(STEP, next)
  }

  private perform(kind: Kind, memory: Int32Array, [word, a, b]: Operands): number {
    if (kind === Kind.Wait) return Woke.NotEqual
    return kind === Kind.Notify ? this.wake(memory, word, a) : perform(kind, memory, word, a, b)
  }

  private sleep(thread: number, word: number, fallAsleep: () => number): number {
    Atomics.store(this.words, this.at(thread) + 1, word)
    this.set(this.at(thread), State.Sleeps)
    if (this.due() === thread) this.passOn()
    const woke = fallAsleep()
    this.set(this.at(thread), State.Runs)
    return woke
  }

  /** Notifies until as many are awake as should be: one may be on its way to its sleep. */
  private wake(memory: Int32Array, word: number, count: number): number {
    const sleepers = this.sleepersOn(word)
    const expected = Math.min(count, sleepers)
    for (let woken = 0; woken < expected; ) {
      woken += perform(Kind.Notify, memory, word, expected - woken, 0)
      if (woken < expected) Atomics.wait(this.words, STEP, this.step(), RETRY_MS)
    }
    while (this.sleepersOn(word) > sleepers - expected) {
      Atomics.wait(this.words, STEP, this.step(), RETRY_MS)
    }
    return expected
  }

  private sleepersOn(word: number): number {
    let nr = 0
    for (let thread = 0; thread < this.nrThreads; thread++) {
      const at = this.at(thread)
      if (Atomics.load(this.words, at) !== State.Sleeps) continue
      if (Atomics.load(this.words, at + 1) === word) nr++
    }
    return nr
  }

  private canMove(thread: number): boolean {
    return Atomics.load(this.words, this.at(thread)) === State.Runs
  }

  private due(): number | undefined {
    return this.order[this.step()]
  }

  private step(): number {
    return Atomics.load(this.words, STEP)
  }

  private set(index: number, value: number): void {
    Atomics.store(this.words, index, value)
    Atomics.notify(this.words, index)
  }

  private at(thread: number): number {
    return AT + 2 * thread
  }
}
