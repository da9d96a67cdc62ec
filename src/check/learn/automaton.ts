/*
 * Automata learned from source.
 *
 * A node is a moment of a thread: what it stands before, and its own state. Its edges are the
 * results that its operation was found to have. A new edge is followed by running the body along
 * the results that first led to the node, and the new one (capture.ts). If the moment that this
 * leads to is known, the edge ends there: the two histories are merged. If it is new, and its
 * operation can only result in one thing, as far as is known, the run goes on.
 *
 * With identity `frames` moments are one if the thread's stack, variables and what can be reached
 * from them are equal (canon.ts), which is sound as far as state can be seen; audit.ts runs merged
 * histories again to find what cannot. With `history` nothing is ever merged.
 */
import { Kind, type Program, Refusal, type Site } from '../program.ts'
import { Uses } from '../uses.ts'
import { type Audited, type AuditOptions, audit, auditNodes } from './audit.ts'
import { nrNumbers } from './canon.ts'
import {
  type Body,
  Capture,
  type Identity,
  type Listener,
  type Moment,
  type Step,
} from './capture.ts'
import { installGuards } from './guards.ts'
import type { LearnView } from './shared.ts'

const PATH_MAX = 2000

/** What to learn. */
export interface LearnSpec {
  /** What the words of shared memory are at first. */
  readonly initial: Int32Array
  /** The arrays that bodies are handed. */
  readonly views: readonly LearnView[]
  /**
   * By thread: runs its body once, from the start, in a direct call. Called often, so whatever the
   * body may change must be made anew; what it is handed must be the same.
   */
  readonly bodies: readonly Body[]
  /**
   * When two moments of a thread are one: `frames` if its stack and variables are equal (needs
   * code loaded through `hotplug/check/register`), `history` if its results so far are.
   */
  readonly identity: Identity
}

/** A node's operation with a result. From -1: the way to the root. */
interface Edge {
  readonly from: number
  readonly result: number
}

/** A moment that is not the one of its node. */
export interface Difference {
  /** How many operations came before. */
  readonly at: number
  readonly node: number
  /** For people. */
  readonly text: string
}

/** A history that was merged: the edge led to `node`, which was known. */
export interface Merge extends Edge {
  readonly node: number
}

/**
 * Learns the roots, and what follows when `next()` asks for it, or is sure to.
 *
 * @throws {Refusal} a body did something that cannot be captured before its first operation.
 */
export function learn(spec: LearnSpec): Automaton {
  return new Automaton(spec)
}

/** The automata of a model's threads, learned as they are asked for. */
export class Automaton implements Program {
  readonly nrThreads: number
  readonly nrWords: number
  readonly roots: readonly number[]
  readonly labels: string[] = ['']
  readonly merges: Merge[] = []
  nrNodes = 0
  nrEdges = 0
  /** How often a body was run. */
  codeRuns = 0
  kind = new Int32Array(64)
  word = new Int32Array(64)
  a = new Int32Array(64)
  b = new Int32Array(64)
  label = new Int32Array(64)
  thread = new Int32Array(64)
  private parent = new Int32Array(64)
  private via = new Int32Array(64)
  /** The first two edges of each node; the rest are in `more`. */
  private result0 = new Int32Array(64)
  private to0 = new Int32Array(64)
  private result1 = new Int32Array(64)
  private to1 = new Int32Array(64)
  private readonly more = new Map<number, Map<number, number>>()
  private readonly moments: Moment[] = []
  private readonly keys = new Map<string, number>()
  /** By node, why the run that went on from it with that result was refused. */
  private readonly refusals = new Map<number, { result: number; refusal: Refusal }>()
  private readonly bodies: readonly Body[]
  private readonly capture: Capture
  private readonly identity: Identity
  private readonly uses: Uses

  constructor({ initial, views, bodies, identity }: LearnSpec) {
    installGuards()
    this.nrWords = initial.length
    this.nrThreads = bodies.length
    this.bodies = bodies
    this.identity = identity
    this.uses = new Uses(initial)
    this.capture = new Capture(initial.length, views, identity)
    this.roots = bodies.map((_, thread) => this.discover(thread, { from: -1, result: 0 }))
  }

  known(node: number, result: number): number {
    const to0 = this.to0[node] as number
    if (to0 >= 0 && this.result0[node] === result) return to0
    const to1 = this.to1[node] as number
    if (to1 >= 0 && this.result1[node] === result) return to1
    return this.more.size === 0 ? -1 : (this.more.get(node)?.get(result) ?? -1)
  }

  next(node: number, result: number): number {
    const known = this.known(node, result)
    return known >= 0 ? known : this.discover(this.thread[node] as number, { from: node, result })
  }

  stores(node: number): readonly number[] {
    return this.moment(node).stores
  }

  reads(node: number): readonly number[] {
    return this.moment(node).reads
  }

  sites(node: number): readonly Site[] {
    return this.moment(node).sites
  }

  error(node: number): string {
    return this.moment(node).error
  }

  /**
   * Runs the history of each node again, several nodes in one run, and each that was merged along
   * random known continuations: they must meet the same operations and come to the same states; no
   * module may be changed by it.
   *
   * @throws {Refusal} they do not: names the place and both histories.
   */
  audit(options: AuditOptions): Audited {
    return audit(this, options)
  }

  /**
   * As `audit`, of the nodes alone: that what was learned is so in every run.
   *
   * @throws {Refusal} it is not.
   */
  auditNodes(): void {
    auditNodes(this)
  }

  /** The known edges of a node: result and where it leads. */
  edges(node: number): [number, number][] {
    const edges: [number, number][] = []
    const [to0, to1] = [this.to0[node] as number, this.to1[node] as number]
    if (to0 >= 0) edges.push([this.result0[node] as number, to0])
    if (to1 >= 0) edges.push([this.result1[node] as number, to1])
    const more = this.more.get(node)
    return more === undefined ? edges : edges.concat([...more])
  }

  /** The nodes that a node was first reached through: its root first, itself last. */
  nodesTo(node: number): number[] {
    const nodes: number[] = []
    for (let at = node; at >= 0; at = this.parent[at] as number) nodes.push(at)
    return nodes.reverse()
  }

  /** The first operations that led to a node, and what each resulted in. */
  pathTo(node: number): Step[] {
    const nodes = this.nodesTo(node)
    return nodes.slice(1).map((to, i) => this.stepAt(nodes[i]!, this.via[to]!))
  }

  /** A node's operation with a result. */
  stepAt(node: number, result: number): Step {
    const kind = this.kind[node] as number
    return { kind, word: this.word[node]!, a: this.a[node]!, b: this.b[node]!, result }
  }

  /**
   * Runs a thread along a path and compares the moments on it with nodes.
   *
   * @param nodes By how many operations come before, the node to be there, or -1 if no matter. The
   *   last is a node.
   * @throws {Refusal} it did not even follow the path, and did not differ before.
   */
  firstDifference(path: readonly Step[], nodes: readonly number[]): Difference | null {
    let first: Difference | null = null
    const met = (moment: Moment, at: number): null => {
      const node = nodes[at]!
      const text = differenceOf(this.moment(node), moment)
      if (text !== null) first ??= { at, node, text }
      return null
    }
    try {
      this.run(this.thread[nodes[path.length]!]!, path, { looksAt: at => nodes[at]! >= 0, met })
    } catch (error) {
      if (first === null || !(error instanceof Refusal)) throw error
    }
    return first
  }

  private moment(node: number): Moment {
    return this.moments[node] as Moment
  }

  /**
   * Follows a new edge, and goes on while operations can only result in one thing.
   *
   * @returns Where the edge leads.
   * @throws {Refusal} it cannot be followed. What is refused beyond it is kept for who asks for it.
   */
  private discover(thread: number, first: Edge): number {
    const kept = this.refusals.get(first.from)
    if (kept?.result === first.result) throw kept.refusal
    let edge = first
    let to = -1
    let unrepeated: Moment | null = null
    const numbers = nrNumbers()
    const met = (moment: Moment, at: number): number | null => {
      const { nrNodes } = this
      const node = this.nodeOf(thread, edge, moment)
      if (edge.from >= 0) this.connect(edge, node)
      if (to < 0) to = node
      if (first.from < 0 || nrNumbers() > numbers) unrepeated = moment
      if (unrepeated !== null || node < nrNodes || at >= PATH_MAX) return null
      const result = this.onlyResult(node)
      if (result !== null) edge = { from: node, result }
      return result
    }
    try {
      this.run(thread, this.pathAlong(edge), { met, verifies: true })
    } catch (error) {
      if (to < 0 || !(error instanceof Refusal)) throw error
      this.refusals.set(edge.from, { result: edge.result, refusal: error })
    }
    if (unrepeated !== null) this.assertRepeatable(thread, this.pathAlong(edge), unrepeated)
    return to
  }

  private run(thread: number, path: readonly Step[], listener: Listener): void {
    this.codeRuns++
    this.capture.run(this.bodies[thread]!, path, listener)
  }

  private pathAlong({ from, result }: Edge): Step[] {
    if (from < 0) return []
    const path = [...this.pathTo(from), this.stepAt(from, result)]
    if (path.length <= PATH_MAX) return path
    const what = `the body never ends: more than ${PATH_MAX} operations that lead to new states`
    throw new Refusal(what, this.sites(from)[0] ?? null)
  }

  /** The node of a moment that an edge led to: a known one, or a new one. */
  private nodeOf(thread: number, { from, result }: Edge, moment: Moment): number {
    if (this.identity === 'history') return this.add(thread, from, result, moment)
    const key = keyOf(thread, moment)
    const known = this.keys.get(key)
    if (known !== undefined) {
      this.merges.push({ from, result, node: known })
      return known
    }
    const node = this.add(thread, from, result, moment)
    this.keys.set(key, node)
    return node
  }

  /**
   * What a node's operation can only result in if the thread goes on alone, as far as is known:
   * somebody will ask for that. Null if it is not known, or nothing is to be foreseen.
   */
  private onlyResult(node: number): number | null {
    const kind = this.kind[node]! as Kind
    if (this.identity === 'history') return null
    if (kind === Kind.Store || kind === Kind.StorePlain) return this.a[node]!
    if (kind === Kind.BarrierAll) return 0
    return this.uses.undisturbed(kind, this.word[node]!)
  }

  /** What is new in this process, or made anew in each run, shows when the run is repeated. */
  private assertRepeatable(thread: number, path: readonly Step[], first: Moment): void {
    let difference: string | null = null
    const met = (moment: Moment): null => {
      difference = differenceOf(first, moment)
      return null
    }
    this.run(thread, path, { met })
    if (difference === null) return
    const what = 'the body is not the same in every run: after the same results'
    throw new Refusal(`${what} ${difference}`, first.sites[0] ?? null)
  }

  private add(thread: number, parent: number, via: number, moment: Moment): number {
    if (this.nrNodes === this.kind.length) this.grow()
    const node = this.nrNodes++
    this.kind[node] = moment.kind
    this.word[node] = moment.word
    this.a[node] = moment.a
    this.b[node] = moment.b
    this.label[node] = this.labelIndex(moment.label)
    this.uses.note(moment.kind, moment.word)
    this.thread[node] = thread
    this.parent[node] = parent
    this.via[node] = via
    this.to0[node] = -1
    this.to1[node] = -1
    this.moments[node] = moment
    return node
  }

  private labelIndex(label: string): number {
    const known = this.labels.indexOf(label)
    return known < 0 ? this.labels.push(label) - 1 : known
  }

  private connect({ from: node, result }: Edge, to: number): void {
    this.nrEdges++
    if (this.to0[node] === -1) {
      this.result0[node] = result
      this.to0[node] = to
    } else if (this.to1[node] === -1) {
      this.result1[node] = result
      this.to1[node] = to
    } else {
      const more = this.more.get(node) ?? new Map<number, number>()
      this.more.set(node, more.set(result, to))
    }
  }

  private grow(): void {
    const wider = (array: Int32Array): Int32Array<ArrayBuffer> => {
      const next = new Int32Array(2 * array.length)
      next.set(array)
      return next
    }
    this.kind = wider(this.kind)
    this.word = wider(this.word)
    this.a = wider(this.a)
    this.b = wider(this.b)
    this.label = wider(this.label)
    this.thread = wider(this.thread)
    this.parent = wider(this.parent)
    this.via = wider(this.via)
    this.result0 = wider(this.result0)
    this.to0 = wider(this.to0)
    this.result1 = wider(this.result1)
    this.to1 = wider(this.to1)
  }
}

/** Equal for moments of a thread that are one. */
function keyOf(thread: number, moment: Moment): string {
  const { kind, word, a, b, label, stores, reads, error, state } = moment
  const key = `${thread}|${kind},${word},${a},${b}|${label}|${stores}|${reads}|${error}|`
  return key + state.join('|')
}

/** What tells two moments apart that should be one; null if nothing does. */
function differenceOf(known: Moment, met: Moment): string | null {
  const names = Object.keys(Kind)
  const text = ({ kind, word, a, b }: Moment): string =>
    `${names[kind]} of word ${word} (${a}, ${b})`
  if (text(known) !== text(met)) return `it came to ${text(known)} once, then to ${text(met)}`
  if (known.label !== met.label) return `its label was '${known.label}' once, then '${met.label}'`
  if (known.error !== met.error) return `it threw '${known.error}' once, then '${met.error}'`
  const at = known.state.findIndex((piece, i) => piece !== met.state[i])
  if (at < 0 && known.state.length === met.state.length) return null
  const name = known.state[at - 1]
  if (name === undefined || name === '') return 'it stood at different places'
  return `\`${name}\` was ${short(known.state[at])} once, then ${short(met.state[at])}`
}

function short(text: string | undefined): string {
  return text === undefined || text.length <= 60 ? `${text}` : `${text.slice(0, 60)}…`
}
