/** Random numbers that a seed determines: Mulberry32 (Tommy Ettinger, public domain). */
export class Random {
  private state: number

  /** @param seed Any integer. */
  constructor(seed: number) {
    this.state = seed | 0
  }

  /** @returns An integer in [0, `below`). */
  below(below: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  /** True once in `times` on average. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }
}
