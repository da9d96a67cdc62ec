/** Pseudo-random numbers, the same ones for the same seed (xorshift32). */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed | 0 || 0x9e3779b9
  }

  /** A number from 0 to `below` - 1. */
  below(below: number): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x
    return (x >>> 0) % below
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }
}
