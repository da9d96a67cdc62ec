/*
 * Raw memory: pages side by side that are handed out as they are, and so can never move.
 *
 *     B1  pages, Allocated by this thread       F1  words: Raw | record -> Allocated by me
 *     B2  a record: who has them, since when    F2  pages free
 *     B3  words: -> Raw | record                F3  record free
 *
 * A thread that dies between B1 and B3 leaves pages that are Allocated by the dead; after B3, a
 * record of a thread that is gone, whose pages the service thread frees (`freeDead`) once not even
 * asynchronous I/O of that thread is left.
 */
import { wallClock } from '../arch/clock.ts'
import { HotplugError } from '../lib/errors.ts'
import { requireStack } from '../lib/stack.ts'
import { sizeText } from '../lib/units.ts'
import { type Frames, type MemoryControl, PageState } from './geometry.ts'
import { blockOfPfn, loadPageWord, pageOfPfn, pageWord, storePageWord } from './memmap.ts'
import type { PageAllocator } from './page-allocator.ts'
import type { PinRecord, Pins } from './pins.ts'

/** Raw memory, until it is released. Its block cannot go offline, and says so by `owner`. */
export class RawMemory implements Disposable {
  /** The memory. Not to be touched after `release`: it is somebody else's then. */
  readonly bytes: Uint8Array
  readonly owner: string
  private give: (() => void) | null

  constructor(bytes: Uint8Array, owner: string, give: () => void) {
    this.bytes = bytes
    this.owner = owner
    this.give = give
  }

  /**
   * @throws {HotplugError} `EPERM`: it was released already. `ENODEV`: the machine is shut down,
   *   and the memory gone.
   * @throws {RangeError} The stack is full; it is still held.
   */
  release(): void {
    if (this.give === null) throw new HotplugError('EPERM', 'release', 'it was released already')
    requireStack()
    this.give()
    this.give = null
  }

  /** Releases it, unless that was done, or the end of the machine has done it. */
  [Symbol.dispose](): void {
    if (this.give === null) return
    try {
      this.release()
    } catch (error) {
      if (!(error instanceof HotplugError) || error.code !== 'ENODEV') throw error
    }
  }
}

/** What raw memory is made of, in one thread. */
export interface RawParts {
  readonly control: MemoryControl
  readonly frames: Frames
  readonly allocator: PageAllocator
  readonly pins: Pins
  /** Throws once the machine is shut down. */
  readonly assertOpen?: (operation: string) => void
}

/**
 * Takes raw memory, zeroed, of zone Normal.
 *
 * @param bytes Above 0, at most a block without its records; rounded up to a power of two of pages.
 * @param owner What is told of it when its block is to leave.
 * @throws {HotplugError} `EINVAL`: no such size, no owner. `ENOMEM`: no room side by side in zone
 *   Normal. `ENOSPC`: too many are held.
 * @throws {RangeError} The stack is full.
 */
export function takeRaw(parts: RawParts, bytes: number, owner: string): RawMemory {
  const { control, allocator, pins } = parts
  const { geometry } = control
  const operation = `take ${sizeText(bytes)} of raw memory`
  if (typeof owner !== 'string' || owner === '') {
    throw new HotplugError('EINVAL', operation, 'it needs the name of an owner')
  }
  const order = Math.ceil(Math.log2(Math.max(1, Math.ceil(bytes / geometry.pageSize))))
  const isSize = bytes > 0 && 2 ** order < geometry.pagesPerBlock
  if (!isSize) {
    const reason = `it can be 1 byte to ${sizeText(geometry.blockSize / 2)}`
    throw new HotplugError('EINVAL', operation, reason)
  }
  requireStack()
  const pfn = allocator.allocChunk(order) // B1
  if (pfn === -1) {
    const reason = `no ${2 ** order} pages side by side are free in zone Normal`
    throw new HotplugError('ENOMEM', operation, reason)
  }
  const nrPages = 2 ** order
  const record = pins.take({ pfn, nrPages, owner, sinceMs: wallClock() }) // B2
  if (record === -1) {
    allocator.freeChunk(pfn, order)
    throw new HotplugError('ENOSPC', operation, `${pins.nrRecords} are held already`)
  }
  const token = allocator.slot.token
  setWords(parts, { pfn, nrPages }, pageWord(PageState.Raw, record)) // B3
  return new RawMemory(zeroed(parts, pfn, bytes), owner, () => {
    parts.assertOpen?.('release raw memory')
    allocator.slot.assertAttached('release raw memory')
    setWords(parts, { pfn, nrPages }, pageWord(PageState.Allocated, token)) // F1
    allocator.freeChunk(pfn, order) // F2
    pins.release(record) // F3
  })
}

/** Frees what threads had that are gone. Service thread. */
export function freeDead(parts: RawParts): void {
  const { control, frames, allocator, pins } = parts
  const { geometry } = control
  const { slots } = allocator.slot
  const settle = ({ record, pfn, nrPages }: PinRecord): void => {
    for (let page = pfn; page < pfn + nrPages; page++) {
      const word = loadPageWord(geometry, frames, page)
      if (word === pageWord(PageState.Raw, record)) allocator.freePage(page)
    }
  }
  pins.recover(token => slots.isFreed(token), settle)
}

function setWords(
  { control, frames }: RawParts,
  { pfn, nrPages }: { pfn: number; nrPages: number },
  word: number,
): void {
  for (let i = pfn; i < pfn + nrPages; i++) storePageWord(control.geometry, frames, i, word)
}

function zeroed({ control, frames }: RawParts, pfn: number, bytes: number): Uint8Array {
  const { geometry } = control
  const words = frames.block(blockOfPfn(geometry, pfn))
  const page = pageOfPfn(geometry, pfn)
  const view = new Uint8Array(words.buffer, words.byteOffset + page * geometry.pageSize, bytes)
  return view.fill(0)
}
