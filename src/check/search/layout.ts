/*
 * How a state is packed: bit fields in a few 32-bit integers.
 *
 * One field for each word that ever changes (the number of its value), one for each thread: the
 * number of its place, its rank in the queue it sleeps in, whether it moved last. No field crosses
 * an integer, so a transition is one addition to each integer. Fields are as wide as what was
 * learned needs, plus what is left over in their integer; when one is outgrown, `Relayout` is
 * thrown, and all states are packed anew with all that is known now.
 */
import type { Place } from './place.ts'
import type { Places } from './places.ts'

/** A field is too narrow. */
export class Relayout extends Error {
  override readonly name = 'Relayout'
}

/** Where a number stands in a state. */
export interface Field {
  /** Which integer. */
  readonly at: number
  readonly shift: number
  readonly bits: number
}

/** A thread has at most `2 ** PLACE_BITS_MAX` places. */
export const PLACE_BITS_MAX = 24
const INT_BITS = 32

/** Bits that a thread's field is made wider than needed, if there is room; a word's gets one. */
const SPARE_MAX = 3

/** How a state is packed into integers. */
export class Layout {
  /** Integers of a state. */
  readonly size: number
  readonly words: readonly Field[]
  readonly threads: readonly Field[]
  /** By thread, how many low bits of its field are its place. */
  readonly placeBits: readonly number[]
  /** By thread, how many bits above are its rank less 1; 0 while it is in no queue. */
  readonly rankBits: readonly number[]
  /** One bit on top says which thread moved last, if preemptions are bounded; else 0. */
  readonly lastBits: number
  /** Preemptions so far; no bits unless they are bounded. */
  readonly used: Field

  /** All fields, and parts of fields, that are numbers of their own. */
  get parts(): Field[] {
    const parts = [...this.words, this.used]
    for (const [t, { at, shift }] of this.threads.entries()) {
      const place = this.placeBits[t]!
      const rank = this.rankBits[t]!
      parts.push({ at, shift, bits: place })
      parts.push({ at, shift: shift + place, bits: rank })
      parts.push({ at, shift: shift + place + rank, bits: this.lastBits })
    }
    return parts
  }

  /** @param bound Preemptions that a schedule may have; -1 if any number. */
  constructor(places: Places, bound: number) {
    const { classOf } = places.automata
    const lastBits = bound < 0 ? 0 : 1
    this.lastBits = lastBits
    const ranks = rankBitsOf(places)
    const counts = classOf.map(c => places.classes[c]!.length)
    const needed = counts.map(bitsFor)
    if (needed.some(bits => bits > PLACE_BITS_MAX)) {
      throw new Error(`a thread has more than ${2 ** PLACE_BITS_MAX} local states`)
    }
    const widths = [
      ...places.words.values.map(values => bitsFor(values.length)),
      ...needed.map((bits, t) => bits + ranks[t]! + lastBits),
      bitsFor(bound + 1),
    ]
    const nrWords = places.words.values.length
    const fullness = counts.map((count, t) => count / 2 ** needed[t]!)
    const { size, fields } = pack(widths, nrWords, fullness)
    this.size = size
    this.words = fields.slice(0, nrWords)
    this.threads = fields.slice(nrWords, -1)
    this.used = fields.at(-1)!
    this.rankBits = ranks
    const room = this.threads.map((field, t) => field.bits - ranks[t]! - lastBits)
    this.placeBits = classOf.map(c =>
      Math.min(PLACE_BITS_MAX, ...room.filter((_, t) => classOf[t] === c)),
    )
  }
}

/** Packs states of one layout by another. Fields may be narrower, if all that they hold fits. */
export function repacker(from: Layout, to: Layout) {
  const pairs = from.parts
    .map((old, i) => ({ old, now: to.parts[i]! }))
    .filter(({ old }) => old.bits)
  return (states: Int32Array, packed: Int32Array, count: number): void => {
    for (const { old, now } of pairs) {
      const mask = 2 ** old.bits - 1
      for (let i = 0; i < count; i++) {
        const value = (states[i * from.size + old.at]! >>> old.shift) & mask
        packed[i * to.size + now.at]! |= value << now.shift
      }
    }
  }
}

/** Bits that number `count` things. */
function bitsFor(count: number): number {
  return count <= 1 ? 0 : INT_BITS - Math.clz32(count - 1)
}

/** By thread, bits for its rank less 1 among those who may sleep with it. */
function rankBitsOf(places: Places): number[] {
  const { classOf } = places.automata
  const queues = places.classes.map(all => new Set(all.map(queueOf).filter(word => word >= 0)))
  const sleepers = (word: number) => classOf.filter(c => queues[c]!.has(word)).length
  return classOf.map(c => bitsFor(Math.max(1, ...[...queues[c]!].map(sleepers))))
}

function queueOf(place: Place): number {
  return place.queue
}

/**
 * Packs fields of the given widths into as few integers as it can. Bits left over go to threads'
 * fields (those from `firstThread` on) first, which grow most, and of these to the fullest first.
 *
 * @param fullness By thread, which part of the numbers that its field holds is taken.
 */
function pack(
  widths: readonly number[],
  firstThread: number,
  fullness: readonly number[],
): { size: number; fields: Field[] } {
  const ints = distribute(widths)
  const final = [...widths]
  const isThread = (i: number) => i >= firstThread && i < firstThread + fullness.length
  const urgency = (i: number) => (isThread(i) ? 1 + fullness[i - firstThread]! : 0)
  for (const members of ints) {
    const growing = members.filter(i => widths[i]! > 0).sort((i, j) => urgency(j) - urgency(i))
    let room = members.reduce((left, i) => left - widths[i]!, INT_BITS)
    for (let spare = 0; spare < SPARE_MAX; spare++) {
      for (const i of growing) {
        if (room === 0 || (spare > 0 && !isThread(i))) continue
        final[i] = final[i]! + 1
        room--
      }
    }
  }
  const fields: Field[] = []
  for (const [at, members] of ints.entries()) {
    let shift = 0
    for (const i of members) {
      const bits = final[i]!
      fields[i] = { at, shift: shift % INT_BITS, bits }
      shift += bits
    }
  }
  return { size: Math.max(1, ints.length), fields }
}

/** Which fields each integer has: as few integers as will do, evenly, so that all can grow. */
function distribute(widths: readonly number[]): number[][] {
  const total = widths.reduce((sum, bits) => sum + bits, 0)
  for (let size = Math.max(1, Math.ceil(total / INT_BITS)); ; size++) {
    const ints = fill(widths, size, mostRoom) ?? fill(widths, size, firstRoom)
    if (ints !== null) return ints
  }
}

type Choose = (room: readonly number[], bits: number) => number

const mostRoom: Choose = room => room.indexOf(Math.max(...room))
const firstRoom: Choose = (room, bits) => room.findIndex(left => left >= bits)

/** Puts fields into `size` integers, widest first; null if they do not fit that way. */
function fill(widths: readonly number[], size: number, choose: Choose): number[][] | null {
  const ints: number[][] = Array.from({ length: size }, () => [])
  const room = ints.map(() => INT_BITS)
  const order = widths.map((_, i) => i).sort((i, j) => widths[j]! - widths[i]! || i - j)
  for (const i of order) {
    const bits = widths[i]!
    const at = choose(room, bits)
    if (at < 0 || room[at]! < bits) return null
    room[at] = room[at]! - bits
    ints[at]!.push(i)
  }
  return ints
}
