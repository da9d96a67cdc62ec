/*
 * The address space: one growable SharedArrayBuffer that every thread of a machine sees.
 *
 * `maxMemory` is reserved once, and costs nothing until it is touched. Growing makes more of it
 * usable, by any thread; it never shrinks. Memory goes back by discarding ranges of it
 * (linux-memory.ts), which no thread notices but by reading zeroes.
 *
 * Views have a fixed length, one per block, made when a thread first touches the block: a view that
 * tracks the buffer's length costs fifty times as much an element. They stay valid for ever; a
 * write through one to a block that has left raises no error and makes its page resident again, so
 * whoever has a view asks the block's state first.
 *
 * Words that somebody sleeps on are never here, but in the control buffer.
 */
import type { Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { sizeText } from '../lib/units.ts'

/** Sizes that a refused reservation is tried with, to name one that would do. */
const SUGGESTIONS_MAX = 40
const SUGGESTION_MIN = 4 * 1024 * 1024

/** The blocks' memory, as the calling thread sees it. */
export class AddressSpace {
  readonly buffer: SharedArrayBuffer
  readonly blockBytes: number
  private readonly views: (Words | null)[]

  /**
   * Reserves addresses for a machine.
   *
   * @param maxBytes What it can ever have.
   * @param bytes What can be used at once; more by `grow`.
   * @throws {HotplugError} `ENOMEM`: so much cannot be reserved; names what could.
   */
  static reserve(maxBytes: number, bytes: number): SharedArrayBuffer {
    assert(bytes <= maxBytes, `address space: ${bytes} bytes of ${maxBytes}`)
    const buffer = tryReserve(maxBytes, bytes)
    if (buffer !== null) return buffer
    const operation = `reserve ${sizeText(maxBytes)}`
    throw new HotplugError('ENOMEM', operation, refusalOf(maxBytes, bytes))
  }

  /** @param buffer From `reserve`, whichever thread called it. */
  constructor(buffer: SharedArrayBuffer, blockBytes: number) {
    assert(buffer.growable, 'address space: the buffer cannot grow')
    const nrBlocks = buffer.maxByteLength / blockBytes
    assert(Number.isInteger(nrBlocks), `address space: no whole number of blocks: ${nrBlocks}`)
    this.buffer = buffer
    this.blockBytes = blockBytes
    this.views = Array.from<null>({ length: nrBlocks }).fill(null)
  }

  /** All words of a block that has been grown to. Always the same view. */
  block(block: number): Words {
    return this.views[block] ?? this.view(block)
  }

  /**
   * Makes at least `toBytes` usable; they read as zeroes. Does nothing if they are, or if another
   * thread is faster.
   *
   * @throws {HotplugError} `ENOMEM`: the system does not give that much.
   */
  grow(toBytes: number): void {
    const { buffer } = this
    assert(toBytes <= buffer.maxByteLength, `address space: grow to ${toBytes}: not reserved`)
    while (buffer.byteLength < toBytes) {
      const before = buffer.byteLength
      try {
        buffer.grow(toBytes)
      } catch (error) {
        if (buffer.byteLength > before) continue // another thread grew it
        const reason = `the system gives no more than ${sizeText(before)}`
        throw new HotplugError('ENOMEM', `grow to ${sizeText(toBytes)}`, reason, { cause: error })
      }
    }
  }

  private view(block: number): Words {
    const start = block * this.blockBytes
    assert(block >= 0 && block < this.views.length, `address space: there is no block ${block}`)
    assert(
      start + this.blockBytes <= this.buffer.byteLength,
      `address space: block ${block} is touched before it was grown to`,
    )
    const words = new Int32Array(this.buffer, start, this.blockBytes / 4)
    this.views[block] = words
    return words
  }
}

/** Null: the engine or the system does not have so many addresses. */
function tryReserve(maxBytes: number, bytes: number): SharedArrayBuffer | null {
  try {
    return new SharedArrayBuffer(bytes, { maxByteLength: maxBytes })
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function refusalOf(maxBytes: number, bytes: number): string {
  const possible = largestPossible(maxBytes)
  if (possible === 0) return 'the system has no addresses left; see ulimit -v'
  if (possible < bytes) return `${sizeText(possible)} could be reserved, less than memory`
  const advice = `maxMemory ${sizeText(possible)} could be reserved`
  const major = Number(process.versions.node.split('.')[0])
  if (major < 22 && maxBytes > 2 ** 32) return `${advice}; Node ${major} has 4 GiB at most, 22 more`
  return `${advice}; if that is too little, see ulimit -v`
}

/** The largest that can be had by halving, rounded to a power of two. */
function largestPossible(maxBytes: number): number {
  let bytes = 2 ** (Math.ceil(Math.log2(maxBytes)) - 1)
  for (let i = 0; i < SUGGESTIONS_MAX && bytes >= SUGGESTION_MIN; i++) {
    if (tryReserve(bytes, 0) !== null) return bytes
    bytes /= 2
  }
  return 0
}
