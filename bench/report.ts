/*
 * Figures as tables: aligned for a terminal, or in Markdown for the docs.
 */

import { sizeText } from '../src/lib/units.ts'
import type { Comparison, WholeCheck } from './checker.ts'
import type { MemoryFigure } from './figure.ts'
import type { LockFigure } from './locks.ts'
import type { MapFigure } from './map.ts'
import type { ScaleFigure } from './scale.ts'

/** Rows of text under a title. The first column is left-aligned, the others right. */
export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** A pair of each lock in nanoseconds, and as a multiple of C's rwlock and mutex. */
export function locksTable(figures: readonly LockFigure[]): Table {
  const nsOf = (name: string, nrThreads: number): number | undefined =>
    figures.find(figure => figure.name === name && figure.nrThreads === nrThreads)?.ns
  const ratio = (figure: LockFigure, to: string): string => {
    const base = nsOf(to, figure.nrThreads)
    return base === undefined ? '-' : (figure.ns / base).toFixed(2)
  }
  return {
    title: 'A lock taken and released: ns of wall time a pair, all threads together',
    head: ['lock', 'threads', 'ns', 'x pthread_rwlock', 'x pthread_mutex'],
    rows: figures.map(figure => [
      figure.name,
      String(figure.nrThreads),
      figure.ns.toFixed(1),
      ratio(figure, 'pthread_rwlock'),
      ratio(figure, 'pthread_mutex'),
    ]),
  }
}

/** Calls of one run in nanoseconds, and as multiples of SharedMap's own call of that kind. */
export function mapsTable(figures: readonly MapFigure[]): Table {
  const { codec, valueBytes, keys } = figures[0]!
  const ours = (name: string): MapFigure | undefined => {
    const isWrite = /set|put/.test(name)
    const call = isWrite ? 'set' : /Binary|Into/.test(name) ? 'getInto' : 'get'
    return figures.find(figure => figure.name === `SharedMap ${call}`)
  }
  return {
    title: `A map of values of ${valueBytes} bytes, ${codec}, ${keys} keys: ns a call, one thread`,
    head: ['call', 'ns', 'x SharedMap'],
    rows: figures.map(figure => [
      figure.name,
      figure.ns.toFixed(0),
      (figure.ns / (ours(figure.name)?.ns ?? Number.NaN)).toFixed(2),
    ]),
  }
}

/** Memory that comes and goes, beside what was aimed at. */
export function memoryTable(title: string, figures: readonly MemoryFigure[]): Table {
  const rows = figures.map(({ what, value, aim }) => [what, value, aim])
  return { title, head: ['', 'measured', 'aim'], rows }
}

/** Calls and operations by reservation, and the dearest beside the cheapest. */
export function scaleTable(sizes: readonly number[], figures: readonly ScaleFigure[]): Table {
  const text = (us: number): string => us.toFixed(us >= 100 ? 0 : 2)
  return {
    title: 'Calls and operations by what is reserved, us',
    head: ['', ...sizes.map(sizeText), 'largest / smallest'],
    rows: figures.map(({ what, us }) => [
      what,
      ...us.map(text),
      (Math.max(...us) / Math.min(...us)).toFixed(2),
    ]),
  }
}

/** The checker beside SPIN. */
export function spinTable(comparisons: readonly Comparison[]): Table {
  return {
    title: 'The counter form with the private mutex, every state: the checker and SPIN',
    head: ['readers + writers', 'by', 'states', 'transitions', 's', 'states/s', 'transitions/s'],
    rows: comparisons.flatMap(({ nrReaders, nrWriters, ours, spin }) => [
      [`${nrReaders} + ${nrWriters}`, 'hotplug', ...speed(ours)],
      ...(spin === null ? [] : [[`${nrReaders} + ${nrWriters}`, 'SPIN', ...speed(spin)]]),
    ]),
  }
}

/** Every model of the tree, the slowest first. */
export function checkTable({ models, ms }: WholeCheck): Table {
  const slowest = models.toSorted((a, b) => b.ms - a.ms)
  return {
    title: `npm run check: ${models.length} models in ${(ms / 1000).toFixed(1)} s`,
    head: ['model', 'threads', 'verdict', 'states', 'ms'],
    rows: slowest.map(({ name, scope, verdict, states, ms }) => [
      name,
      scope,
      verdict,
      whole(states),
      whole(ms),
    ]),
  }
}

function speed({ states, transitions, ms }: { states: number; transitions: number; ms: number }) {
  const perSecond = (count: number): string => `${((count / ms) * 1e-3).toFixed(2)} M`
  const seconds = (ms / 1000).toFixed(2)
  return [whole(states), whole(transitions), seconds, perSecond(states), perSecond(transitions)]
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** A table as text. */
export function tableText({ title, head, rows }: Table, asMarkdown: boolean): string {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map(line => line[column]!.length)))
  const aligned = lines.map(line =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))),
  )
  if (!asMarkdown) return [title, ...aligned.map(line => `  ${line.join('  ')}`)].join('\n')
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  const [first, ...rest] = aligned.map(line => `| ${line.join(' | ')} |`)
  return [`**${title}**`, '', first, `| ${rule.join(' | ')} |`, ...rest].join('\n')
}
