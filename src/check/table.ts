/*
 * Figures in columns, for `hotplug-check`.
 */
import type { Figures } from './failure.ts'

/** What became of one model. */
export interface Row {
  readonly name: string
  readonly scope: string
  /** Null if it was not searched. */
  readonly figures: Figures | null
  readonly verdict: string
}

const COLUMNS = ['model', 'threads', 'states', 'transitions', 'ms', 'verdict'] as const

/** A table that is printed row by row, with the model names known beforehand. */
export class Table {
  private readonly widths: readonly number[]

  constructor(names: readonly string[], scopes: readonly string[]) {
    const width = (texts: readonly string[]): number => Math.max(...texts.map(text => text.length))
    this.widths = [width([...names, 'model']), width([...scopes, 'threads']), 12, 12, 8, 0]
  }

  header(): string {
    return this.line(COLUMNS)
  }

  row({ name, scope, figures, verdict }: Row): string {
    const count = (n: number | undefined): string => (n === undefined ? '' : grouped(n))
    const { states, transitions, ms } = figures ?? {}
    return this.line([name, scope, count(states), count(transitions), count(ms), verdict])
  }

  private line(cells: readonly string[]): string {
    const padded = cells.map((cell, i) => {
      const width = this.widths[i] as number
      return i < 2 || i === 5 ? cell.padEnd(width) : cell.padStart(width)
    })
    return padded.join('  ').trimEnd()
  }
}

/** 1234567 as `1,234,567`; milliseconds rounded. */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
