/*
 * The order graph of lockdep: which classes of locks were ever taken while which were held.
 *
 * One graph for all threads, in shared memory: an order seen in one thread and its reverse seen in
 * another, at another time, are a deadlock that has not happened yet.
 *
 *     OFF       1: a table is full, and nothing is checked any more
 *     USED      words of text handed out
 *     CLASS[c]  0, or the name of class c
 *     EDGE[a, b, kind]   0: never seen; else text << 1 | SURE, the text says who, with both stacks
 *     TEXT      names and stacks: length in bytes, then UTF-8
 *
 * The kind of an edge a -> b is how a was held, Exclusive or Shared, and how b was asked for: as a
 * Recursive reader, whom only a writer inside stops, or Not, who also stops behind a writer that
 * waits. Kinds EN, ER, SN, SR as in the kernel. A path is strong if nowhere an edge xR is followed
 * by an edge Sx: a recursive reader does not wait for a reader. A deadlock is possible exactly if
 * there is a closed strong path (kernel, Documentation/locking/lockdep-design.rst).
 *
 *     insert an edge                           name a class
 *     E1  known and SURE: done                 C1  CLASS[c] holds the name: it is c
 *     E2  search for a strong path back        C2  empty: write the name, 0 -> text; if another
 *     E3  found: withdraw it (-> 0), report        was first, back to C1
 *     E4  0 -> text; back to E2
 *     E5  text -> text | SURE
 *
 * No cycle is ever all SURE. An edge becomes SURE only after a search that began when the edge was
 * there to be seen (E4 before E2 before E5). Of the edges of a cycle, look at the one that came
 * last: its search saw all others, except those that were withdrawn, and these did not get SURE.
 * Each publication has a text of its own, so E5 cannot take a later one for the one it searched.
 *
 * The search before E4 is so that the same mistake, made and reported a thousand times, does not
 * fill the memory with texts.
 *
 * Deaths. Each edge and each class is one word, stored when what it names is whole. Who dies
 * before E5 leaves an edge that others see and search for themselves; text that nobody refers to
 * is lost.
 *
 * Checked by lockdep-graph.check.ts.
 */
import { add, compareExchange, copyIn, copyOut, load, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'

/** How a lock is asked for and held. */
export const Mode = {
  /** Excludes all others. */
  Exclusive: 0,
  /** Excludes exclusive ones, and waits behind those that wait: not recursive. */
  Shared: 1,
  /** Excludes exclusive ones; waits only while one is inside. */
  Recursive: 2,
} as const
export type Mode = (typeof Mode)[keyof typeof Mode]

const RECURSIVE_AFTER = 1
const SHARED_BEFORE = 2
const NR_KINDS = 4

/** The kind of the edge between a lock held in one mode and a lock asked for in another. */
export function kindOf(held: Mode, asked: Mode): number {
  const after = asked === Mode.Recursive ? RECURSIVE_AFTER : 0
  return held === Mode.Exclusive ? after : SHARED_BEFORE | after
}

const OFF = 0
const USED = 1
const CLASSES = 2
const SURE = 1
/** An edge is withdrawn under its inserter only by one who reports it: this often is a storm. */
const TRIES_MAX = 64

/** An order that was seen: `to` was asked for while `from` was held. */
export interface Edge {
  readonly from: number
  readonly to: number
  readonly kind: number
  /** Who did so first, and where. */
  readonly text: string
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The graph, as one thread uses it. `LockdepGraph.words()` words of shared memory, zeroed. */
export class LockdepGraph {
  protected readonly words: Words
  private readonly nrClasses: number
  private readonly edges: number
  private readonly texts: number

  /** Words of shared memory for `nrClasses` classes and `nrTextWords` words of names and stacks. */
  static words(nrClasses: number, nrTextWords: number): number {
    return CLASSES + nrClasses + NR_KINDS * nrClasses * nrClasses + nrTextWords
  }

  /** @param nrClasses The same in every thread. */
  constructor(words: Words, nrClasses: number) {
    this.words = words
    this.nrClasses = nrClasses
    this.edges = CLASSES + nrClasses
    this.texts = this.edges + NR_KINDS * nrClasses * nrClasses
    assert(this.texts < words.length, `lockdep: ${nrClasses} classes leave no room for text`)
  }

  /** Whether a table was full: nothing is checked any more. */
  isOff(): boolean {
    return load(this.words, OFF) !== 0
  }

  /** Turns checking off in every thread. @returns Whether it was on. */
  turnOff(): boolean {
    return compareExchange(this.words, OFF, 0, 1) === 0
  }

  /**
   * The class of that name, from 0; a new one if there is none.
   *
   * @throws {HotplugError} `ENOSPC`: a table is full.
   */
  classOf(name: string): number {
    let mine = 0
    for (let index = 0; index < this.nrClasses; index++) {
      let reference = load(this.words, CLASSES + index)
      if (reference === 0) {
        if (mine === 0) mine = this.write(name)
        reference = compareExchange(this.words, CLASSES + index, 0, mine) // C2
        if (reference === 0) return index
      }
      const found = this.read(reference)
      if (found === name) return index // C1
    }
    throw new HotplugError('ENOSPC', `name class ${name}`, `all ${this.nrClasses} are taken`)
  }

  /** The name of a class. */
  className(index: number): string {
    const reference = load(this.words, CLASSES + index)
    return this.read(reference)
  }

  /** Whether the edge was seen and found harmless. One load. */
  isSure(from: number, to: number, kind: number): boolean {
    return (load(this.words, this.at(from, to, kind)) & SURE) !== 0
  }

  /**
   * Adds an edge, unless it would close a strong path.
   *
   * @param text Who takes the locks in this order, and where.
   * @returns The path from `to` back to `from` that it would close; the edge is not added then.
   * @throws {HotplugError} `ENOSPC`: a table is full.
   */
  insert(from: number, to: number, kind: number, text: string): Edge[] | null {
    assert(from !== to, 'lockdep: an edge from a class to itself')
    const at = this.at(from, to, kind)
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const seen = load(this.words, at)
      if ((seen & SURE) !== 0) return null // E1
      const path = this.search(to, from, kind) // E2
      if (path !== null) {
        if (seen !== 0) compareExchange(this.words, at, seen, 0) // E3
        return path
      }
      if (seen !== 0) {
        if (compareExchange(this.words, at, seen, seen | SURE) === seen) return null // E5
      } else {
        const reference = this.write(text)
        compareExchange(this.words, at, 0, reference << 1) // E4
      }
    }
    return null
  }

  /**
   * The shortest strong path from class `from` to class `to` that stays strong when an edge
   * `to` -> `from` of `kind` closes it. Breadth first, over classes and how each was entered.
   */
  protected search(from: number, to: number, kind: number): Edge[] | null {
    const queue = [from * 2 + (kind & RECURSIVE_AFTER)]
    const cameBy: (Step | null)[] = new Array(2 * this.nrClasses).fill(null)
    for (let head = 0; head < queue.length; head++) {
      const state = queue[head]!
      const row = this.at(state >> 1, 0, 0)
      for (let edge = 0; edge < NR_KINDS * this.nrClasses; edge++) {
        const edgeKind = edge % NR_KINDS
        const next = Math.floor(edge / NR_KINDS) * 2 + (edgeKind & RECURSIVE_AFTER)
        if (!isStrong(state, edgeKind) || next === queue[0] || cameBy[next] !== null) continue
        const word = load(this.words, row + edge)
        if (word === 0) continue
        cameBy[next] = { state, kind: edgeKind, reference: word >>> 1 }
        if (next >> 1 === to && isStrong(next, kind)) return this.path(cameBy, next)
        queue.push(next)
      }
    }
    return null
  }

  private path(cameBy: readonly (Step | null)[], last: number): Edge[] {
    const path: Edge[] = []
    let to = last
    for (let step = cameBy[to]!; step !== null; step = cameBy[to]!) {
      const text = this.read(step.reference)
      path.unshift({ from: step.state >> 1, to: to >> 1, kind: step.kind, text })
      to = step.state
    }
    return path
  }

  protected at(from: number, to: number, kind: number): number {
    return this.edges + (from * this.nrClasses + to) * NR_KINDS + kind
  }

  /** Stores a text that nobody refers to yet. @returns What to refer to it by, not 0. */
  protected write(text: string): number {
    const bytes = encoder.encode(text)
    const nrWords = 1 + Math.ceil(bytes.length / 4)
    const record = new Int32Array(nrWords)
    record[0] = bytes.length
    new Uint8Array(record.buffer, 4).set(bytes)
    const offset = add(this.words, USED, nrWords)
    const room = this.words.length - this.texts
    if (offset + nrWords > room) {
      throw new HotplugError('ENOSPC', 'store a text', `all ${room} words are taken`)
    }
    copyIn(this.words, this.texts + offset, record, 0, nrWords)
    return offset + 1
  }

  protected read(reference: number): string {
    const at = this.texts + reference - 1
    const nrBytes = load(this.words, at)
    const record = new Int32Array(Math.ceil(nrBytes / 4)) // private: a decoder needs still bytes
    copyOut(record, 0, this.words, at + 1, record.length)
    return decoder.decode(new Uint8Array(record.buffer, 0, nrBytes))
  }
}

/** How the search came to a state. */
interface Step {
  readonly state: number
  readonly kind: number
  readonly reference: number
}

/** Whether an edge of `kind` may follow when a class was entered as `state` says. */
function isStrong(state: number, kind: number): boolean {
  return (state & RECURSIVE_AFTER) === 0 || (kind & SHARED_BEFORE) === 0
}
