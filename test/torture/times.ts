/** How long something took, of all the times that it was done; 0 if it never was. */
export interface Times {
  readonly nr: number
  readonly minMs: number
  readonly maxMs: number
  readonly totalMs: number
}

/** Measures them. */
export class Stopwatch {
  private nr = 0
  private minMs = Number.POSITIVE_INFINITY
  private maxMs = 0
  private totalMs = 0

  /** Begins one. @returns To be called at its end, once. */
  begin(): () => void {
    const beganAt = performance.now()
    return () => this.add(performance.now() - beganAt)
  }

  /** One took so long. */
  add(ms: number): void {
    this.nr++
    this.minMs = Math.min(this.minMs, ms)
    this.maxMs = Math.max(this.maxMs, ms)
    this.totalMs += ms
  }

  /** All so far. */
  times(): Times {
    const { nr, minMs, maxMs, totalMs } = this
    return { nr, minMs: nr === 0 ? 0 : minMs, maxMs, totalMs }
  }
}
