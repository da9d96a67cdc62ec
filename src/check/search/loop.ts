/*
 * The inner loop of the search, as source text that is compiled for each size of state.
 *
 * Only one thing about it is generated: a state of n integers is n local variables, so that
 * nothing is copied to be hashed or compared. The rest is the same for all models, and once
 * optimised it stays so from one model to the next.
 *
 * States are explored a block at a time. All successors of a block are put into a batch; then, for
 * the whole batch, first the hash table's lines are touched, then those of the states that may be
 * equal, and only then is looked up and inserted. Most of the time of a large search is waiting
 * for memory, and this way the waits overlap.
 */
import { Move } from '../program.ts'
import { Act } from './rows.ts'
import { CHUNK_BITS, LAST_MULTIPLIER, MULTIPLIERS, SECOND_SEED, type Store } from './store.ts'
import { At, Flag, SPECIAL, type Tables, THREAD_SIZE, ThreadAt, UNMADE } from './tables.ts'

/** What the loop asks for when something comes up. */
export interface Hooks {
  /** New states with one of these flags are shown to `check`. */
  readonly flags: number
  /** A new state, with those of its flags. */
  check(index: number, flags: number): void
  /** Nobody can move in this state. */
  stuck(index: number): void
  /** Puts the state into canonical form; null if no threads are symmetric. */
  readonly canonical: ((state: Int32Array) => void) | null
  /** Preemptions that a schedule may have; -1 if any number. */
  readonly bound: number
  /** For the search for livelocks: where the moves of each state lead, in order. */
  readonly edges: { add(from: number, to: number): void } | null
}

type Run = (tables: Tables, store: Store, hooks: Hooks) => void

/** States explored as one batch. */
const BLOCK = 16

/** More successors than any state has: 31 threads with 8 moves. */
const SUCCESSORS_MAX = 256

/** Brings `Act.Choice` above all flags. */
const CHOICE_SHIFT = 2

const compiled = new Map<string, Run>()

/** Explores until `store.stop`, or until there are no more states. */
export function run(tables: Tables, store: Store, hooks: Hooks): void {
  const key = `${store.size} ${store.fingerprints} ${hooks.bound >= 0}`
  let loop = compiled.get(key)
  if (loop === undefined) {
    loop = new Function('tables', 'store', 'hooks', source(store, hooks.bound >= 0)) as Run
    compiled.set(key, loop)
  }
  loop(tables, store, hooks)
}

/** Repeats a piece of text for each integer of a state. */
function each(size: number, text: (i: number) => string, between = '; '): string {
  return Array.from({ length: size }, (_, i) => text(i)).join(between)
}

function source({ size, fingerprints, keySize }: Store, bounded: boolean): string {
  // A successor in the batch: state, hash, flags and via, parent, table entry, second hash.
  const HASH = size
  const INFO = size + 1
  const FROM = size + 2
  const FOUND = size + 3
  const SECOND = size + 4
  const RECORD = size + (fingerprints ? 5 : 4)
  const key = (i: number) => (fingerprints ? (i === 0 ? HASH : SECOND) : i)
  const same = each(keySize, i => `C[c + ${i}] === B[j + ${key(i)}]`, ' && ')
  return `'use strict'
  const { nrThreads, watched, extra } = tables
  const { states, keys, parents, vias } = store
  const { canonical, edges } = hooks
  const asked = hooks.flags
  const scratch = new Int32Array(${size})
  let code = tables.code
  let B = new Int32Array(${2 * SUCCESSORS_MAX * RECORD})
  let count = store.count, i = store.explored
  while (i < count && i < store.stop) {
    let b = 0
    const end = Math.min(i + ${BLOCK}, count, store.stop, (i | ${(1 << CHUNK_BITS) - 1}) + 1)
    const A = states[i >>> ${CHUNK_BITS}]
    for (let o = (i & ${(1 << CHUNK_BITS) - 1}) * ${size}; i < end; i++, o += ${size}) {
      ${each(size, i => `const s${i} = A[o + ${i}]`)}
      let able = 0
      ${bounded ? 'const last = tables.lastRun(A, o); let lastCan = 0' : ''}
      for (let u = 0; u < nrThreads; u++) {
        const t = ${bounded ? '(u + Math.max(0, last)) % nrThreads' : 'u'}
        const d = t * ${THREAD_SIZE}
        const p = (A[o + code[d + ${ThreadAt.Int}]] >>> code[d + ${ThreadAt.Shift}]) &
          code[d + ${ThreadAt.Mask}]
        let r = code[code[d + ${ThreadAt.Heads}] + p]
        if (r === ${UNMADE}) {
          r = tables.make(t, p)
          code = tables.code
        }
        for (; r !== 0; r = code[r + ${At.Next}]) {
          const act = code[r + ${At.Act}]
          const v = (A[o + code[r + ${At.Int}]] >>> code[r + ${At.Shift}]) & code[r + ${At.Mask}]
          let e = r + ${At.Entries} + v * ${size + 1}
          let more = 0
          if ((act & ${SPECIAL}) !== 0) {
            e = tables.special(r, t, A, o)
            if (e < 0) continue
            more = tables.more
          }
          let f = code[e]
          if (f === 0) {
            store.current = i
            f = tables.fill(r, e)
          }
          if ((f & ${Flag.None}) !== 0) continue
          f |= more
          able |= ~act & ${Act.Choice}
          ${each(size, i => `let n${i} = (s${i} + code[e + ${i + 1}]) | 0`)}
          if ((act & ${SPECIAL}) !== 0 || (f & ${Flag.Sleeps}) !== 0) {
            if ((f & ${Flag.Sleeps}) !== 0) tables.sleep(r, t, A, o)
            ${each(size, i => `n${i} = (n${i} + extra[${i}]) | 0`)}
          }
          ${bounded ? turning(size) : ''}
          if (canonical !== null) {
            ${each(size, i => `scratch[${i}] = n${i}`)}
            canonical(scratch)
            ${each(size, i => `n${i} = scratch[${i}]`)}
          }
          if ((f & ${Flag.Changed}) !== 0 && watched[code[r + ${At.Word}]] !== 0) f |= ${Flag.Look}
          ${hashing(size)}
          ${each(size, i => `B[b + ${i}] = n${i}`)}
          B[b + ${HASH}] = hash
          ${fingerprints ? `${secondHashing(size)}; B[b + ${SECOND}] = second` : ''}
          const choice = (act & ${Act.Choice}) << ${CHOICE_SHIFT}
          B[b + ${INFO}] = f & asked | choice | code[r + ${At.Via}] << 8
          B[b + ${FROM}] = i
          b += ${RECORD}
        }
      }
      if (able === 0) hooks.stuck(i)
      if (b + ${SUCCESSORS_MAX * RECORD} > B.length) {
        const larger = new Int32Array(B.length * 2)
        larger.set(B)
        B = larger
      }
    }
    store.transitions += b / ${RECORD}
    store.explored = i
    store.reserve(b / ${RECORD})
    const { table, tableBits } = store, mask = table.length - 1
    let touched = 0
    for (let j = 0; j < b; j += ${RECORD}) B[j + ${FOUND}] = table[B[j + ${HASH}] & mask]
    for (let j = 0; j < b; j += ${RECORD}) {
      const x = B[j + ${FOUND}]
      if (x !== 0 && ((x ^ B[j + ${HASH}]) >>> tableBits) === 0) {
        const y = (x & mask) - 1
        touched ^= keys[y >>> ${CHUNK_BITS}][(y & ${(1 << CHUNK_BITS) - 1}) * ${keySize}]
      }
    }
    for (let j = 0; j < b; j += ${RECORD}) {
      const hash = B[j + ${HASH}]
      let at = hash & mask, y = -1
      for (;; at = (at + 1) & mask) {
        const x = table[at]
        if (x === 0) break
        if (((x ^ hash) >>> tableBits) !== 0) continue
        const z = (x & mask) - 1
        const C = keys[z >>> ${CHUNK_BITS}], c = (z & ${(1 << CHUNK_BITS) - 1}) * ${keySize}
        if (${same}) {
          y = z
          break
        }
      }
      if (y < 0) {
        y = count
        const k = y & ${(1 << CHUNK_BITS) - 1}, h = y >>> ${CHUNK_BITS}
        if (k === 0) {
          store.count = count
          store.addChunk()
        }
        table[at] = (hash & ~mask) | (y + 1)
        const N = states[h]
        ${each(size, i => `N[k * ${size} + ${i}] = B[j + ${i}]`)}
        ${fingerprints ? each(2, i => `keys[h][k * 2 + ${i}] = B[j + ${key(i)}]`) : ''}
        parents[h][k] = B[j + ${FROM}]
        vias[h][k] = B[j + ${INFO}] >>> 8
        count++
        const flags = B[j + ${INFO}] & asked
        if (flags !== 0) hooks.check(y, flags)
      }
      const isChoice = (B[j + ${INFO}] & ${Act.Choice << CHOICE_SHIFT}) !== 0
      if (edges !== null && !isChoice) edges.add(B[j + ${FROM}], y)
    }
    store.count = count
    store.touched = touched
  }`
}

/**
 * Lets no thread run instead of one that ran and can go on more often than allowed. That one's
 * moves are looked at first.
 */
function turning(size: number): string {
  return `if (code[r + ${At.Via}] >>> 5 === ${Move.Run}) {
            if (t === last) lastCan = 1
            const cost = t === last ? 0 : lastCan
            if (cost + tables.preemptions(A, o) > hooks.bound) continue
            tables.turn(t, last, cost)
            ${each(size, i => `n${i} = (n${i} + tables.turned[${i}]) | 0`)}
          }`
}

/** As `hashOf`, of the variables n0, n1... */
function hashing(size: number): string {
  const steps = each(
    size,
    i => `hash = Math.imul(hash ^ n${i}, ${MULTIPLIERS[i & 3]}); hash ^= hash >>> 15`,
  )
  return `let hash = 0; ${steps}
          hash = Math.imul(hash, ${LAST_MULTIPLIER}); hash ^= hash >>> 13`
}

/** As `secondHashOf`. */
function secondHashing(size: number): string {
  const steps = each(
    size,
    i => `second = Math.imul(second ^ n${i}, ${MULTIPLIERS[(i + 2) & 3]})
          second = ((second << 13) | (second >>> 19)) + ${i} | 0`,
  )
  return `let second = ${SECOND_SEED}; ${steps}
          second = Math.imul(second ^ (second >>> 16), ${LAST_MULTIPLIER}); second ^= second >>> 15`
}
