/*
 * How far a long search is.
 */
import { grouped } from './table.ts'

const PROGRESS_MS = 1000

/** A line on a terminal's stderr that says how far a long search is. */
export class Progress {
  private readonly name: string
  private readonly started = performance.now()
  private shown = false

  /** @param name What is searched. */
  constructor(name: string) {
    this.name = name
  }

  /** The search has come so far. */
  show(states: number): void {
    const ms = performance.now() - this.started
    if (!process.stderr.isTTY || ms < PROGRESS_MS) return
    this.shown = true
    const seconds = Math.round(ms / 1000)
    process.stderr.write(`\r\x1b[K${this.name}: ${grouped(states)} states, ${seconds} s`)
  }

  /** The search has ended: the line goes. */
  clear(): void {
    if (this.shown) process.stderr.write('\r\x1b[K')
  }
}
