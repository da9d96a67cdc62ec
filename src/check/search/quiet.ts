/*
 * Operations that nobody notices are done at once with the one before them.
 *
 * A load of a word that no thread ever writes, and a notify on a word that no thread ever sleeps
 * on, neither change anything that others see nor depend on when they are done. So a thread need
 * not be stopped before one: its automaton is followed on, and the states in between are left out.
 * Nothing is lost by it. What the others can do in between they can do before, and from every
 * state that is left out the same states are reached; what `never` and `atEnd` see, words and
 * labels, is the same just before or just after, for an operation where the label changes is not
 * passed over. A death there is a death before the next operation, so a thread's last operation
 * is not passed over: whoever has ended does not die.
 *
 *     known so far: no write of w, no wait on w       assumed of every word
 *     a node that writes w, or waits on w, is learned   Noticed: the search begins again
 *
 * A loop of nothing but such operations is not followed on for ever (QUIET_MAX), so it stays a loop
 * of the search and is found as a livelock. Schedules lack the steps that are passed over: what is
 * found to fail is searched for again without this.
 */
import { Kind, type Program } from '../program.ts'
import { Uses } from '../uses.ts'

const QUIET_MAX = 64

/** A word that was taken for one that nobody writes, or sleeps on, is one after all. */
export class Noticed extends Error {}

/** A program without the operations that nobody notices. */
export class QuietProgram implements Program {
  private readonly program: Program
  private readonly uses: Uses
  /** By word, whether it was assumed that no node writes it, and that none sleeps on it. */
  private readonly assumedUnwritten: Uint8Array
  private readonly assumedUnslept: Uint8Array
  private nrSeen = 0

  constructor(program: Program, initial: Int32Array) {
    this.program = program
    this.uses = new Uses(initial)
    this.assumedUnwritten = new Uint8Array(program.nrWords)
    this.assumedUnslept = new Uint8Array(program.nrWords)
  }

  get nrThreads(): number {
    return this.program.nrThreads
  }
  get nrWords(): number {
    return this.program.nrWords
  }
  get roots(): readonly number[] {
    return this.program.roots.map(root => this.settle(root))
  }
  get nrNodes(): number {
    return this.program.nrNodes
  }
  get nrEdges(): number {
    return this.program.nrEdges
  }
  get kind(): Int32Array {
    return this.program.kind
  }
  get word(): Int32Array {
    return this.program.word
  }
  get a(): Int32Array {
    return this.program.a
  }
  get b(): Int32Array {
    return this.program.b
  }
  get label(): Int32Array {
    return this.program.label
  }
  get labels(): readonly string[] {
    return this.program.labels
  }
  get thread(): Int32Array {
    return this.program.thread
  }

  stores(node: number): readonly number[] {
    return this.program.stores(node)
  }

  reads(node: number): readonly number[] {
    return this.program.reads(node)
  }

  /** @throws {Noticed} what was learned shows that too much was passed over. */
  next(node: number, result: number): number {
    return this.settle(this.program.next(node, result))
  }

  known(node: number, result: number): number {
    const to = this.program.known(node, result)
    return to < 0 ? -1 : this.settle(to)
  }

  sites(node: number): ReturnType<Program['sites']> {
    return this.program.sites(node)
  }

  error(node: number): string {
    return this.program.error(node)
  }

  /** Follows the automaton over what nobody notices. */
  private settle(node: number): number {
    for (let i = 0; i < QUIET_MAX; i++) {
      this.look()
      const result = this.quietResult(node)
      if (result === null) return node
      const to = this.program.next(node, result)
      if (this.program.label[to] !== this.program.label[node]) break
      if (this.program.kind[to]! >= Kind.Done) break
      node = to
    }
    this.look()
    return node
  }

  /** The result of an operation that nobody notices; null for all others. */
  private quietResult(node: number): number | null {
    const kind = this.program.kind[node]! as Kind
    if (kind !== Kind.Load && kind !== Kind.Notify) return null
    if (this.program.stores(node).length > 0) return null // it also empties a store buffer
    const word = this.program.word[node]!
    const result = this.uses.undisturbed(kind, word)
    if (result !== null)
      (kind === Kind.Load ? this.assumedUnwritten : this.assumedUnslept)[word] = 1
    return result
  }

  /** Looks at the nodes learned since. */
  private look(): void {
    const { kind, word, nrNodes } = this.program
    const { written, sleptOn } = this.uses
    for (; this.nrSeen < nrNodes; this.nrSeen++) {
      const w = word[this.nrSeen]!
      this.uses.note(kind[this.nrSeen]! as Kind, w)
      const wrong =
        (written[w]! & this.assumedUnwritten[w]!) | (sleptOn[w]! & this.assumedUnslept[w]!)
      if (wrong !== 0) throw new Noticed()
    }
  }
}
