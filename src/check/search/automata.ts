/*
 * The threads' automata, one for each class of interchangeable threads.
 *
 * Threads that a model declares symmetric are followed through the automaton of the first of them.
 * That is right only if theirs are the same but for the numbers of the nodes, so the declaration
 * is verified: for each pair of nodes that the same results lead to, first thread and other
 * thread stand before the same operation, and so they do after each result that comes up.
 */
import { Kind, type Program, Refusal, type ThreadSpec } from '../program.ts'

const NAMES = Object.keys(Kind)

interface Pair {
  readonly node: number
  readonly other: number
}

/** The automata of all threads, those of a group shared. */
export class Automata {
  readonly program: Program
  /** By thread, the first thread of its group. */
  readonly classOf: readonly number[]
  private readonly threads: readonly ThreadSpec[]
  /** By node of a class, the nodes of its other threads that it stands for. */
  private readonly partners = new Map<number, Set<number>>()
  /** By node with partners, the results that came up. */
  private readonly results = new Map<number, number[]>()

  /** @throws {Refusal} threads of one group begin differently. */
  constructor(program: Program, threads: readonly ThreadSpec[]) {
    this.program = program
    this.threads = threads
    this.classOf = threads.map((thread, i) =>
      thread.group < 0 ? i : threads.findIndex(first => first.group === thread.group),
    )
    for (const [i, first] of this.classOf.entries()) {
      if (first !== i) this.match({ node: program.roots[first]!, other: program.roots[i]! })
    }
  }

  /** Whether any threads are interchangeable. */
  get symmetric(): boolean {
    return this.classOf.some((first, i) => first !== i)
  }

  /** As `Program.next`, for a node of a class. */
  next(node: number, result: number): number {
    const to = this.program.next(node, result)
    const partners = this.partners.get(node)
    if (partners !== undefined) {
      const results = this.results.get(node)!
      if (!results.includes(result)) {
        results.push(result)
        for (const other of [...partners]) {
          this.match({ node: to, other: this.program.next(other, result) })
        }
      }
    }
    return to
  }

  /** Verifies that two nodes, and all that follow by results that came up, are alike. */
  private match(pair: Pair): void {
    for (const left = [pair]; left.length > 0; ) {
      const { node, other } = left.pop()!
      let partners = this.partners.get(node)
      if (partners === undefined) {
        this.partners.set(node, (partners = new Set()))
        this.results.set(node, [])
      }
      if (partners.has(other)) continue
      this.assertAlike(node, other)
      partners.add(other)
      for (const result of this.results.get(node)!) {
        left.push({
          node: this.program.next(node, result),
          other: this.program.next(other, result),
        })
      }
    }
  }

  private assertAlike(node: number, other: number): void {
    const mine = this.describe(node)
    const theirs = this.describe(other)
    if (mine === theirs) return
    const { thread } = this.program
    const names = [node, other].map(n => `${this.threads[thread[n]!]!.name} (thread ${thread[n]})`)
    throw new Refusal(
      `${names[0]} and ${names[1]} are declared symmetric but differ: ${mine}, ${theirs}`,
      this.program.sites(other)[0] ?? null,
    )
  }

  private describe(node: number): string {
    const { kind, word, a, b, label, labels } = this.program
    const k = kind[node]!
    const place = labels[label[node]!]
    const operation =
      k < Kind.Done ? `${NAMES[k]}(word ${word[node]}, ${a[node]}, ${b[node]})` : NAMES[k]
    return place === '' ? `${operation}` : `${operation} in ${place}`
  }
}
