/*
 * Livelocks: sets of states that cannot be left, in which nobody ends and yet somebody can move.
 *
 * While states are explored, where each leads is noted, except by moves that nobody may rely on
 * (deaths, spurious wake-ups). Then it is propagated backwards which states can reach an end.
 * Most edges lead to states with higher numbers, so going through the states from the last to the
 * first settles nearly all at once; the few that are left are gone through again until no more
 * can be settled. A state that stays is trapped.
 */
import { CHUNK_BITS } from './store.ts'

const CHUNK = 1 << 20

export class Edges {
  /** Where edges lead, in the order of the states that they come from. */
  private readonly chunks: Int32Array[] = []
  private count = 0
  /** Edges of each state, in chunks like those of the states. */
  private readonly degrees: Uint8Array[] = []
  private readonly ends: number[] = []

  /** Adds an edge. Call in the order of `from`. */
  add(from: number, to: number): void {
    if (from === to) return
    const at = this.count % CHUNK
    if (at === 0) this.chunks.push(new Int32Array(CHUNK))
    this.chunks[this.chunks.length - 1]![at] = to
    this.count++
    const chunk = from >>> CHUNK_BITS
    while (chunk >= this.degrees.length) this.degrees.push(new Uint8Array(1 << CHUNK_BITS))
    this.degrees[chunk]![from % (1 << CHUNK_BITS)]! += 1
  }

  /** All that must end have ended in this state. */
  addEnd(index: number): void {
    this.ends.push(index)
  }

  get bytes(): number {
    return this.chunks.length * CHUNK * 4 + this.degrees.length * 2 ** CHUNK_BITS
  }

  /** The first of `nrStates` states from which no end can be reached; -1 if there is none. */
  firstTrapped(nrStates: number): number {
    const escapes = new Uint8Array(nrStates)
    for (const end of this.ends) escapes[end] = 1
    let left = this.sweepAll(escapes)
    for (let before = Infinity; left.length < before; ) {
      before = left.length
      left = left.filter(({ state, first }) => {
        if (this.leads(first, this.degree(state), escapes)) escapes[state] = 1
        return escapes[state] === 0
      })
    }
    return left.at(-1)?.state ?? -1
  }

  /** Goes through all states, last first; returns those not settled. */
  private sweepAll(escapes: Uint8Array): { state: number; first: number }[] {
    const left: { state: number; first: number }[] = []
    let first = this.count
    for (let state = escapes.length - 1; state >= 0; state--) {
      const degree = this.degree(state)
      first -= degree
      if (escapes[state] === 1) continue
      if (this.leads(first, degree, escapes)) escapes[state] = 1
      else left.push({ state, first })
    }
    return left
  }

  private degree(state: number): number {
    return this.degrees[state >>> CHUNK_BITS]?.[state % (1 << CHUNK_BITS)] ?? 0
  }

  /** Whether one of the edges leads to a state that escapes. */
  private leads(first: number, count: number, escapes: Uint8Array): boolean {
    for (let i = first + count - 1; i >= first; i--) {
      if (escapes[this.chunks[Math.floor(i / CHUNK)]![i % CHUNK]!] === 1) return true
    }
    return false
  }
}
