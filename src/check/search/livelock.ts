/*
 * Livelocks: sets of states that cannot be left, in which nobody ends and yet somebody can move.
 *
 * While states are explored, where each leads is noted, except by moves that nobody may rely on
 * (deaths, spurious wake-ups, stale loads). Then it is propagated backwards which states can reach
 * an end. Most edges lead to states with higher numbers, so going through the states from the last
 * to the first settles most at once. Those left are gone through forwards and backwards in turn,
 * until no more can be settled. A state that stays is trapped.
 */
import { CHUNK_BITS, CHUNK_MASK } from './store.ts'

const EDGE_BITS = 18
const EDGE_MASK = (1 << EDGE_BITS) - 1

/** States not settled, and where the edges of each begin. */
interface Left {
  readonly states: Int32Array
  readonly firsts: Uint32Array
}

/** All edges between states, in little space. */
export class Edges {
  /** Where edges lead, in the order of the states that they come from. */
  private readonly targets: Int32Array[] = []
  /** The last of them. */
  private chunk = new Int32Array(0)
  private count = 0
  /** Edges of each state, in chunks like those of the states. */
  private readonly degrees: Uint8Array[] = []
  private readonly ends: number[] = []

  /** Adds an edge. Call in the order of `from`. */
  add(from: number, to: number): void {
    if (from === to) return
    const at = this.count++ & EDGE_MASK
    if (at === 0) this.targets.push((this.chunk = new Int32Array(EDGE_MASK + 1)))
    this.chunk[at] = to
    const chunk = from >>> CHUNK_BITS
    while (chunk >= this.degrees.length) this.degrees.push(new Uint8Array(CHUNK_MASK + 1))
    this.degrees[chunk]![from & CHUNK_MASK]! += 1
  }

  /** All that must end have ended in this state. */
  addEnd(index: number): void {
    this.ends.push(index)
  }

  get bytes(): number {
    return this.targets.length * 4 * (EDGE_MASK + 1) + this.degrees.length * (CHUNK_MASK + 1)
  }

  /** The first of `nrStates` states from which no end can be reached; -1 if there is none. */
  firstTrapped(nrStates: number): number {
    const escapes = new Uint8Array(nrStates)
    for (const end of this.ends) escapes[end] = 1
    let left = this.sweep(escapes)
    for (let before = Infinity; left.states.length < before; ) {
      before = left.states.length
      left.states.reverse()
      left.firsts.reverse()
      left = this.settle(left, escapes)
    }
    return left.states.reduce((a, b) => (a < 0 || b < a ? b : a), -1)
  }

  /** Goes through all states, last first; returns those not settled. */
  private sweep(escapes: Uint8Array): Left {
    const states = new Int32Array(escapes.length)
    const firsts = new Uint32Array(escapes.length)
    let nr = 0
    let first = this.count
    for (let state = escapes.length - 1; state >= 0; state--) {
      const degree = this.degree(state)
      first -= degree
      if (escapes[state] === 1) continue
      if (this.leads(first, degree, escapes)) escapes[state] = 1
      else {
        states[nr] = state
        firsts[nr++] = first
      }
    }
    return { states: states.subarray(0, nr), firsts: firsts.subarray(0, nr) }
  }

  /** Goes through the states left, in order; keeps those still not settled. */
  private settle({ states, firsts }: Left, escapes: Uint8Array): Left {
    let nr = 0
    for (let i = 0; i < states.length; i++) {
      const state = states[i]!
      if (this.leads(firsts[i]!, this.degree(state), escapes)) escapes[state] = 1
      else {
        states[nr] = state
        firsts[nr++] = firsts[i]!
      }
    }
    return { states: states.subarray(0, nr), firsts: firsts.subarray(0, nr) }
  }

  private degree(state: number): number {
    return this.degrees[state >>> CHUNK_BITS]?.[state & CHUNK_MASK] ?? 0
  }

  /** Whether one of the edges leads to a state that escapes. */
  private leads(first: number, count: number, escapes: Uint8Array): boolean {
    for (let i = first + count - 1; i >= first; i--) {
      if (escapes[this.targets[i >>> EDGE_BITS]![i & EDGE_MASK]!] === 1) return true
    }
    return false
  }
}
