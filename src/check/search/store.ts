/*
 * The states seen: packed states, where each was reached from, and a hash table over them.
 *
 * States are numbered in the order in which they were found, which is the order of the search.
 * They are kept in chunks, so that growing copies nothing. The table is one array of numbers of
 * states, each with a tag: the bits of its hash that the place in the table does not tell. Most
 * states that differ differ in the tag, so one look at the table is enough for them.
 *
 * To save memory only fingerprints may be kept: two hashes of 32 bits instead of the state. Then
 * the states themselves are kept until they have been explored, and are forgotten.
 */

/** A chunk holds `2 ** CHUNK_BITS` states. */
export const CHUNK_BITS = 16
const CHUNK = 1 << CHUNK_BITS
/** The low bits of a state's number: which of its chunk. */
export const CHUNK_MASK = CHUNK - 1
const STATES_MAX = 2 ** 30
const TABLE_BITS = 16
/** The table is grown when more than 5 in 8 places are taken. */
const FULL = 0.625

/** A table smaller than this grows sixteenfold: entering all anew costs more than room. */
const SMALL_TABLE_BITS = 20

/** States put into a new table at once. Divides a chunk. */
const BATCH = 64

/** There are more states than asked for. */
export class TooBig extends Error {
  override readonly name = 'TooBig'
  readonly code = 'ETOOBIG'
}

const EMPTY = new Int32Array(0)

/** The states that were seen, each once. */
export class Store {
  /** Integers of a state. */
  size: number
  readonly fingerprints: boolean
  readonly maxStates: number
  /** Number of states. */
  count = 0
  /** How many of them are explored. */
  explored = 0
  /** The state whose moves are looked at, or were when something new came up. */
  current = 0
  /** Explores no further than the state of this number. */
  stop = Infinity
  transitions = 0
  readonly states: Int32Array[] = []
  /** What is compared: the states, or two hashes of each. */
  readonly keys: Int32Array[]
  readonly parents: Int32Array[] = []
  /** Thread, and move times 32. */
  readonly vias: Uint8Array[] = []
  table = new Int32Array(1 << TABLE_BITS)
  tableBits = TABLE_BITS
  /** Keeps loads that only bring memory closer from being optimised away. */
  touched = 0
  /** Called with the number of states, now and then. */
  onProgress: ((states: number) => void) | undefined

  constructor(size: number, fingerprints: boolean, maxStates: number) {
    this.size = size
    this.fingerprints = fingerprints && size > 2
    this.maxStates = Math.min(maxStates, STATES_MAX)
    this.keys = this.fingerprints ? [] : this.states
  }

  get keySize(): number {
    return this.fingerprints ? 2 : this.size
  }

  /** Makes room for `more` states in the table. */
  reserve(more: number): void {
    if (this.count > this.maxStates && this.stop === Infinity) throw this.tooBig()
    while (this.count + more > FULL * 2 ** this.tableBits) this.growTable()
  }

  /** Makes room for the next states: `count` is a multiple of a chunk. */
  addChunk(): void {
    if (this.fingerprints) {
      for (let i = (this.explored >>> CHUNK_BITS) - 1; i >= 0 && this.states[i] !== EMPTY; i--) {
        this.states[i] = EMPTY
      }
      this.keys.push(new Int32Array(CHUNK * 2))
    }
    this.states.push(new Int32Array(CHUNK * this.size))
    this.parents.push(new Int32Array(CHUNK))
    this.vias.push(new Uint8Array(CHUNK))
    if (this.count > 0) this.onProgress?.(this.count)
  }

  /** Adds the first state. */
  addFirst(state: Int32Array): void {
    this.addChunk()
    this.states[0]!.set(state)
    const hash = hashOf(state, 0, this.size)
    if (this.fingerprints) this.keys[0]!.set([hash, secondHashOf(state, 0, this.size)])
    this.parents[0]![0] = -1
    this.count = 1
    this.enter(hash, 0)
  }

  /**
   * Packs all states anew, into `size` integers each. Not for fingerprints.
   *
   * @param convert Packs the first `count` states of an array into another, which is zero.
   */
  repack(size: number, convert: (from: Int32Array, to: Int32Array, count: number) => void): void {
    for (const [i, from] of this.states.entries()) {
      const to = new Int32Array(CHUNK * size)
      convert(from, to, Math.min(CHUNK, this.count - i * CHUNK))
      this.states[i] = to
    }
    this.size = size
    this.fillTable()
  }

  parent(index: number): number {
    return this.parents[index >>> CHUNK_BITS]![index & CHUNK_MASK]!
  }

  via(index: number): number {
    return this.vias[index >>> CHUNK_BITS]![index & CHUNK_MASK]!
  }

  /** The array that holds the state; it begins at `offset(index)`. */
  chunk(index: number): Int32Array {
    return this.states[index >>> CHUNK_BITS]!
  }

  offset(index: number): number {
    return (index & CHUNK_MASK) * this.size
  }

  get bytes(): number {
    let bytes = this.table.byteLength
    const arrays: readonly (readonly (Int32Array | Uint8Array)[])[] = [
      this.states,
      this.fingerprints ? this.keys : [],
      this.parents,
      this.vias,
    ]
    for (const chunks of arrays) for (const chunk of chunks) bytes += chunk.byteLength
    return bytes
  }

  private tooBig(): TooBig {
    return new TooBig(
      `more than ${this.maxStates} states: allow more (maxStates), declare threads symmetric, ` +
        `use fewer threads or rounds, or search 'fingerprints', 'preemptions' or 'pct'`,
    )
  }

  private growTable(): void {
    this.tableBits += this.tableBits < SMALL_TABLE_BITS ? 4 : 1
    this.fillTable()
  }

  /** Enters all states into a new table. */
  private fillTable(): void {
    this.table = EMPTY // let it go before the new one is made: all is in `keys`
    this.table = new Int32Array(2 ** this.tableBits)
    const hashes = new Int32Array(BATCH)
    const mask = this.table.length - 1
    for (let i = 0; i < this.count; i += BATCH) {
      const nr = Math.min(BATCH, this.count - i)
      const chunk = this.keys[i >>> CHUNK_BITS]!
      const offset = (i & CHUNK_MASK) * this.keySize
      let touched = 0
      for (let k = 0; k < nr; k++) {
        const at = offset + k * this.keySize
        const hash = this.fingerprints ? chunk[at]! : hashOf(chunk, at, this.size)
        hashes[k] = hash
        touched |= this.table[hash & mask]! // brings the line in while others are on their way
      }
      for (let k = 0; k < nr; k++) this.enter(hashes[k]!, i + k)
      this.touched = touched
    }
  }

  private enter(hash: number, index: number): void {
    const mask = this.table.length - 1
    let at = hash & mask
    while (this.table[at] !== 0) at = (at + 1) & mask
    this.table[at] = (hash & ~mask) | (index + 1)
  }
}

/** Odd numbers that the integers of a state are multiplied with in turn. */
export const MULTIPLIERS = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f] as const
/** What the second half of a fingerprint begins with. */
export const SECOND_SEED = 0x1b873593
/** What mixes a hash at its end. */
export const LAST_MULTIPLIER = 0x2c1b3c6d

/** Hash of the `size` integers from `offset` on. The generated loop computes the same. */
export function hashOf(ints: Int32Array, offset: number, size: number): number {
  let hash = 0
  for (let i = 0; i < size; i++) {
    hash = Math.imul(hash ^ ints[offset + i]!, MULTIPLIERS[i & 3]!)
    hash ^= hash >>> 15
  }
  hash = Math.imul(hash, LAST_MULTIPLIER)
  return hash ^ (hash >>> 13)
}

/** Another hash of the same, independent of the first. */
export function secondHashOf(ints: Int32Array, offset: number, size: number): number {
  let hash = SECOND_SEED
  for (let i = 0; i < size; i++) {
    hash = Math.imul(hash ^ ints[offset + i]!, MULTIPLIERS[(i + 2) & 3]!)
    hash = ((hash << 13) | (hash >>> 19)) + i
  }
  hash = Math.imul(hash ^ (hash >>> 16), LAST_MULTIPLIER)
  return hash ^ (hash >>> 15)
}
