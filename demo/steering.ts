/*
 * Steering: real threads take turns in a given order, and when it is over run as they like.
 *
 * A thread that cannot take its turn, because it sleeps or has ended, is passed over: so the same
 * order can be given to another form of the lock, and goes as far as it goes. Sleeps are real; a
 * sleeper that is woken out of turn sleeps again, and who wakes others waits until they are awake,
 * so that it is clear whose turn it is.
 *
 *     STEP      index of the turn that is due
 *     SLEEPS    how many sleeps have begun
 *     a thread  what it is at; the word that it sleeps on; which of the sleeps it is
 */
import { perform } from '../src/check/learn/driver.ts'
import { Kind, NOTIFY_ALL, Woke } from '../src/check/program.ts'

const STEP = 0
const SLEEPS = 1
const AT = 2
const WORD = 1
const TURN = 2
const THREAD_WORDS = 3
const RETRY_MS = 1

const State = { Runs: 0, Sleeps: 1, Woken: 2, Ended: 3 } as const

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
    return AT + THREAD_WORDS * nrThreads
  }

  constructor(words: Int32Array, order: readonly number[]) {
    this.words = words
    this.order = order
    this.nrThreads = (words.length - AT) / THREAD_WORDS
  }

  /** Does one operation of `thread` on `memory` when its turn has come; returns its result. */
  take(thread: number, kind: Kind, memory: Int32Array, operands: Operands): number {
    const [word, a] = operands
    const isSteered = this.awaitTurn(thread)
    if (kind === Kind.Wait && Atomics.load(memory, word) === a) {
      return this.sleep(thread, memory, operands)
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
      if (state === State.Runs || state === State.Woken) return null
      const word = Atomics.load(this.words, this.at(thread) + WORD)
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

  /** Sleeps on the word; should it change before anybody wakes this thread, elsewhere. */
  private sleep(thread: number, memory: Int32Array, [word, value]: Operands): number {
    const at = this.at(thread)
    Atomics.store(this.words, at + WORD, word)
    Atomics.store(this.words, at + TURN, Atomics.add(this.words, SLEEPS, 1))
    this.set(at, State.Sleeps)
    if (this.due() === thread) this.passOn()
    while (Atomics.load(this.words, at) === State.Sleeps) {
      const woke = perform(Kind.Wait, memory, word, value, 0)
      if (woke === Woke.NotEqual) Atomics.wait(this.words, at, State.Sleeps)
    }
    this.set(at, State.Runs)
    return Woke.Ok
  }

  /** Wakes the first `count` sleepers, and waits until they are awake. */
  private wake(memory: Int32Array, word: number, count: number): number {
    const sleepers = this.sleepersOn(word).slice(0, count)
    for (const thread of sleepers) this.set(this.at(thread), State.Woken)
    for (const thread of sleepers) {
      while (Atomics.load(this.words, this.at(thread)) === State.Woken) {
        perform(Kind.Notify, memory, word, NOTIFY_ALL, 0)
        Atomics.wait(this.words, this.at(thread), State.Woken, RETRY_MS)
      }
    }
    return sleepers.length
  }

  /** Who sleeps on a word, first come first. */
  private sleepersOn(word: number): number[] {
    const turnOf = (thread: number): number => Atomics.load(this.words, this.at(thread) + TURN)
    return Array.from({ length: this.nrThreads }, (_, thread) => thread)
      .filter(thread => Atomics.load(this.words, this.at(thread)) === State.Sleeps)
      .filter(thread => Atomics.load(this.words, this.at(thread) + WORD) === word)
      .sort((a, b) => turnOf(a) - turnOf(b))
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
    return AT + THREAD_WORDS * thread
  }
}
