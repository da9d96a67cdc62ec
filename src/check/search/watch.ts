/*
 * Asks `never` about states, as seldom as possible.
 *
 * What `never` says depends on labels, on who is dead, and on the words that it reads. Those words
 * are found out by its reading them, so it is asked again only after a step that changed a label,
 * killed a thread or changed a word that it has ever read; and never twice about the same.
 *
 * That is enough: its answer about a state holds for the states behind, until something changes
 * that it looked at, and what it looked at is watched from then on.
 */
import type { StateView } from '../program.ts'
import type { Tables } from './tables.ts'

/** A packed state, as `never` and `atEnd` see it. */
export class PackedView implements StateView {
  protected readonly tables: Tables
  private state: Int32Array
  private offset = 0

  constructor(tables: Tables) {
    this.tables = tables
    this.state = new Int32Array(tables.layout.size)
  }

  /** Looks at the state that begins at `offset`. */
  at(state: Int32Array, offset: number): this {
    this.state = state
    this.offset = offset
    return this
  }

  word(index: number): number {
    return this.tables.places.words.value(index, this.wordIndex(index))
  }

  label(thread: number): number {
    return this.tables.place(thread, this.state, this.offset).label
  }

  isDead(thread: number): boolean {
    return this.tables.place(thread, this.state, this.offset).dead
  }

  protected wordIndex(word: number): number {
    return this.tables.wordIndex(word, this.state, this.offset)
  }
}

/** A view that notes which words are read, and remembers what was answered. */
export class Watch extends PackedView {
  private readonly never: (state: StateView) => boolean
  private readonly words: number[] = []
  private readonly answers = new Map<string, boolean>()

  constructor(tables: Tables, never: (state: StateView) => boolean) {
    super(tables)
    this.never = never
    for (const [word, watched] of tables.watched.entries()) if (watched) this.words.push(word)
  }

  override word(index: number): number {
    const { watched } = this.tables
    if (watched[index] === 0) {
      watched[index] = 1
      this.words.push(index)
    }
    return super.word(index)
  }

  /** Whether `never` is true of the state. */
  isWrong(state: Int32Array, offset: number): boolean {
    this.at(state, offset)
    const key = this.key()
    let answer = this.answers.get(key)
    if (answer === undefined) {
      answer = this.never(this)
      this.answers.set(this.key(), answer)
    }
    return answer
  }

  private key(): string {
    let key = ''
    for (let t = 0; t < this.tables.nrThreads; t++) {
      key += String.fromCharCode(this.label(t) * 2 + (this.isDead(t) ? 1 : 0))
    }
    for (const word of this.words) key += String.fromCharCode(this.wordIndex(word))
    return key
  }
}
