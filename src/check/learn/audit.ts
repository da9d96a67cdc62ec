/*
 * Whether moments that were taken for one are one.
 *
 * State that nobody can see (behind a native object, in a module that was not transformed) makes
 * two different moments look equal. So every history is run again. The one that first led to a
 * node must lead there again; one run shows that for all nodes on its way. One that was merged is
 * run on along a random known continuation. It must meet the same operations as the node's own, and
 * come to the same state after the first and after the last of them.
 */
import { Kind, Refusal, type Site } from '../program.ts'
import type { Automaton, Difference, Merge } from './automaton.ts'
import { Canon, Opaque } from './canon.ts'
import { type Step, stepText } from './capture.ts'
import { frames } from './frames.ts'
import { displayPath } from './source-map.ts'

const CONTINUATION_MAX = 16

/** How thorough an audit is. */
export interface AuditOptions {
  /** Continuations of each history that was merged into a node with more than one edge. */
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

/** See `Automaton.audit`. */
export function audit(automaton: Automaton, { rounds, seed }: AuditOptions): Audited {
  const runs = automaton.codeRuns
  const before = moduleValues()
  auditNodes(automaton)
  const random = generator(seed)
  const edges = Array.from({ length: automaton.nrNodes }, (_, node) => automaton.edges(node))
  for (const merge of automaton.merges) {
    const nrRounds = edges[merge.node]!.length > 1 ? rounds : 1
    for (let round = 0; round < nrRounds; round++) {
      const length = round === 0 ? CONTINUATION_MAX : 1 + random(CONTINUATION_MAX)
      auditMerge(automaton, merge, walk(automaton, merge.node, { length, edges, random }))
    }
  }
  assertUnchanged(before)
  return { merged: automaton.merges.length, runs: automaton.codeRuns - runs }
}

/** See `Automaton.auditNodes`. From the newest back: those on its way need no run of their own. */
export function auditNodes(automaton: Automaton): void {
  const isSeen = new Uint8Array(automaton.nrNodes)
  for (let node = automaton.nrNodes - 1; node >= 0; node--) {
    if (isSeen[node] === 1) continue
    const nodes = automaton.nodesTo(node).map(on => (isSeen[on] === 1 ? -1 : on))
    for (const on of nodes) if (on >= 0) isSeen[on] = 1
    const path = automaton.pathTo(node)
    const found = differenceOn(automaton, path, nodes)
    if (found === null) continue
    const what = 'the body is not the same in every run: after'
    const text = `${what} ${results(path.slice(0, found.at))} ${found.text}`
    throw new Refusal(text, automaton.sites(found.node)[0] ?? null)
  }
}

function auditMerge(automaton: Automaton, { from, result, node }: Merge, then: Continuation): void {
  const merged = [...automaton.pathTo(from), automaton.stepAt(from, result)]
  const last = then.steps.length
  const looked = then.nodes.map((on, i) => (i === 1 || i === last ? on : -1))
  const nodes = [...merged.map(() => -1), ...looked]
  const found = differenceOn(automaton, [...merged, ...then.steps], nodes)
  if (found === null) return
  const what = 'two moments look the same here and are not, because of state that cannot be seen'
  const one = `after ${results(automaton.pathTo(node))}`
  const other = `after ${results(merged)}`
  const steps = then.steps.slice(0, found.at - merged.length)
  const next = steps.length === 0 ? '' : `, then ${results(steps)}`
  const text = `${what}: ${one}, and ${other}${next}: ${found.text}`
  throw new Refusal(text, automaton.sites(node)[0] ?? null)
}

/** As `firstDifference`; who did not even follow the path differs at its end. */
function differenceOn(
  automaton: Automaton,
  path: readonly Step[],
  nodes: readonly number[],
): Difference | null {
  try {
    return automaton.firstDifference(path, nodes)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { at: path.length, node: nodes[path.length]!, text: error.message }
  }
}

/** Operations from a node on; the nodes that they pass, one more. */
interface Continuation {
  readonly steps: readonly Step[]
  readonly nodes: readonly number[]
}

/** How a continuation is chosen. */
interface Choice {
  /** Operations, at most. */
  readonly length: number
  readonly edges: readonly (readonly [number, number][])[]
  readonly random: (below: number) => number
}

/** A random continuation of a node, along known edges. */
function walk(automaton: Automaton, node: number, choice: Choice): Continuation {
  const { length, edges, random } = choice
  const steps: Step[] = []
  const nodes = [node]
  let end = node
  while (steps.length < length && (automaton.kind[end] as number) < Kind.Done) {
    const ways = edges[end] ?? []
    if (ways.length === 0) break
    const [result, to] = ways[random(ways.length)] as [number, number]
    steps.push(automaton.stepAt(end, result))
    nodes.push(to)
    end = to
  }
  return { steps, nodes }
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
