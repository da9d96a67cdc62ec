/* Latencies of one kind of operation, in buckets that are at most 1/16 wide. */

const SUB_BITS = 4
const BUCKETS = 64 << SUB_BITS

/** Percentiles in microseconds. */
export interface Percentiles {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly p9999: number
  readonly longest: number
}

/** A histogram; `counts` can be sent to another thread and merged there. */
export class Latencies {
  readonly counts = new Float64Array(BUCKETS)
  longestNs = 0

  /** Adds one. */
  record(ns: number): void {
    if (ns > this.longestNs) this.longestNs = ns
    const value = Math.max(1, Math.round(ns))
    const shift = Math.max(0, Math.floor(Math.log2(value)) - SUB_BITS)
    const bucket = (shift << SUB_BITS) + Math.floor(value / 2 ** shift)
    this.counts[bucket]!++
  }

  /** Adds those of another. */
  merge(counts: Float64Array, longestNs: number): void {
    for (const [i, count] of counts.entries()) this.counts[i]! += count
    this.longestNs = Math.max(this.longestNs, longestNs)
  }

  /** What they come to. */
  percentiles(): Percentiles {
    const count = this.counts.reduce((a, b) => a + b)
    return {
      count,
      p50: this.at(count * 0.5),
      p99: this.at(count * 0.99),
      p9999: this.at(count * 0.9999),
      longest: this.longestNs / 1000,
    }
  }

  /** Upper edge of the bucket that has the rank; the longest may be below that of its own. */
  private at(rank: number): number {
    let sum = 0
    for (const [bucket, count] of this.counts.entries()) {
      sum += count
      if (sum < rank || count === 0) continue
      const shift = Math.max(0, (bucket >> SUB_BITS) - 1)
      const edgeNs = (bucket - (shift << SUB_BITS) + 1) * 2 ** shift
      return Math.min(edgeNs, this.longestNs) / 1000
    }
    return 0
  }
}
