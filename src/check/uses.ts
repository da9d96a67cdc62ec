/*
 * What words are used for, as far as it is known: whether any node writes one, or sleeps on it.
 */
import { Kind } from './program.ts'

/** By word. */
export class Uses {
  /** 1 if a node writes it. */
  readonly written: Uint8Array
  /** 1 if a node sleeps on it. */
  readonly sleptOn: Uint8Array

  constructor(nrWords: number) {
    this.written = new Uint8Array(nrWords)
    this.sleptOn = new Uint8Array(nrWords)
  }

  /** A node with such an operation is known now. */
  note(kind: Kind, word: number): void {
    if ((kind >= Kind.Store && kind <= Kind.CompareExchange) || kind === Kind.StorePlain) {
      this.written[word] = 1
    } else if (kind === Kind.Wait) this.sleptOn[word] = 1
  }
}
