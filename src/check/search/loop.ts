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
import {
  CHUNK_BITS,
  CHUNK_MASK,
  LAST_MULTIPLIER,
  MULTIPLIERS,
  SECOND_SEED,
  type Store,
} from './store.ts'
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
  const shape = shapeOf(store, hooks.bound >= 0)
  const key = JSON.stringify(shape)
  let loop = compiled.get(key)
  if (loop === undefined) {
    loop = new Function('tables', 'store', 'hooks', source(shape)) as Run
    compiled.set(key, loop)
  }
  loop(tables, store, hooks)
}

/** Repeats a piece of text for each integer of a state. */
function each(size: number, text: (i: number) => string, between = '; '): string {
  return Array.from({ length: size }, (_, i) => text(i)).join(between)
}

/** What is generated for: one loop for each. */
interface Shape {
  /** Integers of a state. */
  readonly size: number
  readonly fingerprints: boolean
  readonly keySize: number
  readonly bounded: boolean
  /** Offsets in what the batch says of a successor, behind the state itself. */
  readonly HASH: number
  readonly INFO: number
  readonly FROM: number
  /** What the table says at its hash. */
  readonly FOUND: number
  readonly SECOND: number
  /** Integers of a successor in the batch. */
  readonly RECORD: number
}

function shapeOf({ size, fingerprints, keySize }: Store, bounded: boolean): Shape {
  const [HASH, INFO, FROM, FOUND, SECOND] = [size, size + 1, size + 2, size + 3, size + 4]
  const RECORD = size + (fingerprints ? 5 : 4)
  return { size, fingerprints, keySize, bounded, HASH, INFO, FROM, FOUND, SECOND, RECORD }
}

/** Offset, in what the batch says of a successor, of what is compared. */
function keyAt(i: number, { fingerprints, HASH, SECOND }: Shape): number {
  return fingerprints ? [HASH, SECOND][i]! : i
}

function source(shape: Shape): string {
  const { size, RECORD } = shape
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
    const end = Math.min(i + ${BLOCK}, count, store.stop, (i | ${CHUNK_MASK}) + 1)
    const A = states[i >>> ${CHUNK_BITS}]
    for (let o = (i & ${CHUNK_MASK}) * ${size}; i < end; i++, o += ${size}) {
      ${exploring(shape)}
      if (b + ${SUCCESSORS_MAX * RECORD} > B.length) {
        const larger = new Int32Array(B.length * 2)
        larger.set(B)
        B = larger
      }
    }
    store.transitions += b / ${RECORD}
    store.explored = i
    store.reserve(b / ${RECORD})
    ${inserting(shape)}
    store.count = count
  }`
}

/** Puts the successors of state i, which begins at A[o], into the batch. */
function exploring(shape: Shape): string {
  const { size, bounded } = shape
  return `${each(size, i => `const s${i} = A[o + ${i}]`)}
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
          ${succeeding(shape)}
        }
      }
      if (able === 0) hooks.stuck(i)`
}

/** Puts the successor by row r, entry e, into the batch. */
function succeeding({ size, fingerprints, bounded, ...at }: Shape): string {
  return `${each(size, i => `let n${i} = (s${i} + code[e + ${i + 1}]) | 0`)}
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
          B[b + ${at.HASH}] = hash
          ${fingerprints ? `${secondHashing(size)}; B[b + ${at.SECOND}] = second` : ''}
          const choice = (act & ${Act.Choice}) << ${CHOICE_SHIFT}
          B[b + ${at.INFO}] = f & asked | choice | code[r + ${At.Via}] << 8
          B[b + ${at.FROM}] = i
          b += ${at.RECORD}`
}

/** Looks the batch up, and adds what is new. */
function inserting(shape: Shape): string {
  const { keySize, HASH, INFO, FROM, FOUND, RECORD } = shape
  const same = each(keySize, i => `C[c + ${i}] === B[j + ${keyAt(i, shape)}]`, ' && ')
  return `const { table, tableBits } = store, mask = table.length - 1
    let touched = 0
    for (let j = 0; j < b; j += ${RECORD}) B[j + ${FOUND}] = table[B[j + ${HASH}] & mask]
    for (let j = 0; j < b; j += ${RECORD}) {
      const x = B[j + ${FOUND}]
      if (x !== 0 && ((x ^ B[j + ${HASH}]) >>> tableBits) === 0) {
        const y = (x & mask) - 1
        touched ^= keys[y >>> ${CHUNK_BITS}][(y & ${CHUNK_MASK}) * ${keySize}]
      }
    }
    store.touched = touched
    for (let j = 0; j < b; j += ${RECORD}) {
      const hash = B[j + ${HASH}]
      let at = hash & mask, y = -1
      for (;; at = (at + 1) & mask) {
        const x = table[at]
        if (x === 0) break
        if (((x ^ hash) >>> tableBits) !== 0) continue
        const z = (x & mask) - 1
        const C = keys[z >>> ${CHUNK_BITS}], c = (z & ${CHUNK_MASK}) * ${keySize}
        if (${same}) {
          y = z
          break
        }
      }
      if (y < 0) {
        ${adding(shape)}
      }
      const isChoice = (B[j + ${INFO}] & ${Act.Choice << CHOICE_SHIFT}) !== 0
      if (edges !== null && !isChoice) edges.add(B[j + ${FROM}], y)
    }`
}

/** Adds the successor at B[j] as state y, and enters it at table[at]. */
function adding(shape: Shape): string {
  const { size, fingerprints, INFO, FROM } = shape
  return `y = count
        const k = y & ${CHUNK_MASK}, h = y >>> ${CHUNK_BITS}
        if (k === 0) {
          store.count = count
          store.addChunk()
        }
        table[at] = (hash & ~mask) | (y + 1)
        const N = states[h]
        ${each(size, i => `N[k * ${size} + ${i}] = B[j + ${i}]`)}
        ${fingerprints ? each(2, i => `keys[h][k * 2 + ${i}] = B[j + ${keyAt(i, shape)}]`) : ''}
        parents[h][k] = B[j + ${FROM}]
        vias[h][k] = B[j + ${INFO}] >>> 8
        count++
        const flags = B[j + ${INFO}] & asked
        if (flags !== 0) hooks.check(y, flags)`
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
