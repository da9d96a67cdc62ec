/*
 * Whether moments that were taken for one are one.
 *
 * State that nobody can see (behind a native object, in a module that was not transformed) makes
 * two different moments look equal. So every history is run again: the one that first led to a
 * node must lead there again, and one that was merged must, after any continuation that is known,
 * meet the same operations and come to the same state as the node's own.
 */
import { Kind, Refusal, type Site } from '../program.ts'
import { Canon, Opaque } from './canon.ts'
import { type Step, stepText } from './capture.ts'
import { frames } from './frames.ts'
import { displayPath } from './source-map.ts'

const CONTINUATION_MAX = 16

/** How thorough an audit is. */
export interface AuditOptions {
  /** Continuations of each merged history. */
  readonly rounds: number
  /** Chooses them. */
  readonly seed: number
}

/** What an audit did. */
export interface Audited {
  /** Histories that were merged. */
  readonly merged: number
  /** Runs of a body. */
  readonly runs: number
}

/** An automaton, as the audit needs it. */
export interface Auditable {
  readonly nrNodes: number
  readonly kind: Int32Array
  readonly merges: readonly { from: number; result: number; node: number }[]
  readonly codeRuns: number
  edges(node: number): [number, number][]
  pathTo(node: number): Step[]
  stepAt(node: number, result: number): Step
  sites(node: number): readonly Site[]
  difference(node: number, path: readonly Step[]): string | null
}

/** See `Automaton.audit`. */
export function auditMerges(automaton: Auditable, { rounds, seed }: AuditOptions): Audited {
  const runs = automaton.codeRuns
  const before = moduleValues()
  for (let node = 0; node < automaton.nrNodes; node++) {
    compare(automaton, { node, end: node }, automaton.pathTo(node))
  }
  const random = generator(seed)
  const edges = Array.from({ length: automaton.nrNodes }, (_, node) => automaton.edges(node))
  for (const { from, result, node } of automaton.merges) {
    const merged = [...automaton.pathTo(from), automaton.stepAt(from, result)]
    for (let round = 0; round < rounds; round++) {
      const length = lengthOf(round, random)
      const { end, steps } = walk(automaton, node, length, { edges, random })
      compare(automaton, { node, end }, [...merged, ...steps], merged.length)
    }
  }
  assertUnchanged(before)
  return { merged: automaton.merges.length, runs: automaton.codeRuns - runs }
}

/** The next state tells most, the operations of a long way the rest; then whatever chance says. */
function lengthOf(round: number, random: (below: number) => number): number {
  if (round === 0) return 1
  return round === 1 ? CONTINUATION_MAX : 1 + random(CONTINUATION_MAX)
}

interface Ways {
  readonly edges: readonly (readonly [number, number][])[]
  readonly random: (below: number) => number
}

/** A random continuation of a node, along known edges. */
function walk(
  automaton: Auditable,
  node: number,
  length: number,
  { edges, random }: Ways,
): { end: number; steps: Step[] } {
  const steps: Step[] = []
  let end = node
  while (steps.length < length && (automaton.kind[end] as number) < Kind.Done) {
    const ways = edges[end] ?? []
    if (ways.length === 0) break
    const [result, to] = ways[random(ways.length)] as [number, number]
    steps.push(automaton.stepAt(end, result))
    end = to
  }
  return { end, steps }
}

/** @throws {Refusal} `path`, whose first `merged` steps led to `node`, does not lead to `end`. */
function compare(
  automaton: Auditable,
  { node, end }: { readonly node: number; readonly end: number },
  path: readonly Step[],
  merged = path.length,
): void {
  let difference: string | null
  try {
    difference = automaton.difference(end, path)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    difference = error.message
  }
  if (difference === null) return
  const site = automaton.sites(node)[0] ?? null
  if (merged === path.length && node === end && automaton.pathTo(node).length === merged) {
    const again = 'the body is not the same in every run: after'
    throw new Refusal(`${again} ${results(path)} ${difference}`, site)
  }
  const what = 'two moments look the same here and are not, because of state that cannot be seen'
  const one = `after ${results(automaton.pathTo(node))}`
  const other = `after ${results(path.slice(0, merged))}`
  const then = merged === path.length ? '' : `, then ${results(path.slice(merged))}`
  throw new Refusal(`${what}: ${one}, and ${other}${then}: ${difference}`, site)
}

/** A history for people. */
function results(path: readonly Step[]): string {
  if (path.length === 0) return 'nothing'
  const shown = path.slice(-8).map(step => `${stepText(step)} = ${step.result}`)
  return (path.length > 8 ? '… ' : '') + shown.join('; ')
}

function generator(seed: number): (below: number) => number {
  let state = seed | 0
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) % below
  }
}

interface ModuleValue {
  readonly name: string
  readonly site: Site
  readonly read: () => unknown
  readonly text: string
}

/** What modules hold that bodies might change. */
function moduleValues(): ModuleValue[] {
  return frames.usedTables().flatMap(({ table }) =>
    table.values.map(([name, line, read]) => {
      const site = { file: displayPath(table.file), line, text: '' }
      return { name, site, read, text: textOf(read) }
    }),
  )
}

function assertUnchanged(values: readonly ModuleValue[]): void {
  for (const { name, site, read, text } of values) {
    if (textOf(read) === text) continue
    const what = `the body changes \`${name}\`, which belongs to the module`
    throw new Refusal(`${what}: keep it in an object that the body makes`, site)
  }
}

function textOf(read: () => unknown): string {
  const value = frames.value(read)
  const canon = new Canon(() => undefined)
  try {
    const own = typeof value === 'function' ? Object.entries(value).map(([, own]) => own) : []
    return canon.text(value) + own.map(item => canon.text(item))
  } catch (error) {
    if (error instanceof Opaque) return ''
    throw error
  }
}
