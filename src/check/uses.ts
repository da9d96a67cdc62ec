/*
 * What words are used for, as far as it is known: whether any node writes one, or sleeps on it.
 * Automata go on by it while they are learned, and the search leaves operations out by it.
 */
import { Kind } from './program.ts'

/** What is known of the words' uses. Who learns of a node notes it. */
export class Uses {
  /** By word, 1 if a node writes it. */
  readonly written: Uint8Array
  /** By word, 1 if a node sleeps on it. */
  readonly sleptOn: Uint8Array
  private readonly initial: Int32Array

  /** @param initial What the words are at first. */
  constructor(initial: Int32Array) {
    this.initial = initial
    this.written = new Uint8Array(initial.length)
    this.sleptOn = new Uint8Array(initial.length)
  }

  /**
   * What an atomic load of a word that nobody writes, or a notify on one that nobody sleeps on,
   * results in, whenever it is done. Null for other operations, and other words.
   */
  undisturbed(kind: Kind, word: number): number | null {
    if (kind === Kind.Load) return this.written[word] === 1 ? null : this.initial[word]!
    return kind === Kind.Notify && this.sleptOn[word] === 0 ? 0 : null
  }

  /** A node with such an operation is known now. */
  note(kind: Kind, word: number): void {
    if ((kind >= Kind.Store && kind <= Kind.CompareExchange) || kind === Kind.StorePlain) {
      this.written[word] = 1
    } else if (kind === Kind.Wait) this.sleptOn[word] = 1
  }
}
