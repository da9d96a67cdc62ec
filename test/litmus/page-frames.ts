/*
 * Page frames for tests and models of what uses them: each free or taken, told by its word alone.
 */
import { compareExchange, load, store, type Words } from '#atomics'
import type { Slot } from '../../src/locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCKS_HIGH,
  BlockState,
  FREE_LIST_HEADS,
  type Frames,
  type Geometry,
  type MemoryControl,
  PAGE_RECORD_WORDS,
  PageState,
  STATE_BITS,
  STATE_MASK,
} from '../../src/mm/geometry.ts'
import type { FrameSource } from '../../src/mm/virtual-pages.ts'

/** Blocks of memory that are there from the beginning, and their frames. */
export class PageFrames implements Frames, FrameSource {
  private readonly slot: Slot
  private readonly geometry: Geometry
  private readonly blocks: readonly Words[]
  /** Where to look first. */
  private next: number

  /** @param first Where to look first: so models are spared who takes which. */
  constructor(slot: Slot, geometry: Geometry, blocks: readonly Words[], first = 0) {
    this.slot = slot
    this.geometry = geometry
    this.blocks = blocks
    this.next = first
  }

  block(block: number): Words {
    const words = this.blocks[block]
    if (words === undefined) throw new Error(`there is no block ${block}`)
    return words
  }

  allocPage(): number {
    const { pagesPerBlock, memmapPages, nrFrames } = this.geometry
    const taken = (this.slot.token << STATE_BITS) | PageState.Allocated
    for (let i = 0; i < nrFrames; i++) {
      const pfn = this.next
      this.next = pfn + 1 === nrFrames ? 0 : pfn + 1
      if ((pfn & (pagesPerBlock - 1)) < memmapPages) continue
      const words = this.wordsOf(pfn)
      const at = this.indexOf(pfn)
      const seen = load(words, at)
      if (seen !== 0) continue
      const before = compareExchange(words, at, 0, taken)
      if (before === 0) return pfn
    }
    return -1
  }

  freePage(pfn: number): void {
    const words = this.wordsOf(pfn)
    store(words, this.indexOf(pfn), 0)
  }

  /** Frees what the dead had taken. @returns How many. */
  recoverDead(): number {
    return this.count(pfn => {
      const word = load(this.wordsOf(pfn), this.indexOf(pfn))
      if ((word & STATE_MASK) !== PageState.Allocated) return false
      if (this.slot.slots.isAlive(word >>> STATE_BITS)) return false
      this.freePage(pfn)
      return true
    })
  }

  /** How many are not free. */
  get nrTaken(): number {
    return this.count(pfn => load(this.wordsOf(pfn), this.indexOf(pfn)) !== 0)
  }

  private count(isOne: (pfn: number) => boolean): number {
    const { pagesPerBlock, memmapPages, nrFrames } = this.geometry
    let nr = 0
    for (let pfn = 0; pfn < nrFrames; pfn++) {
      if ((pfn & (pagesPerBlock - 1)) >= memmapPages && isOne(pfn)) nr++
    }
    return nr
  }

  private wordsOf(pfn: number): Words {
    return this.blocks[pfn >>> this.geometry.pagesPerBlockShift]!
  }

  private indexOf(pfn: number): number {
    const page = pfn & (this.geometry.pagesPerBlock - 1)
    return FREE_LIST_HEADS + page * PAGE_RECORD_WORDS
  }
}

/** All blocks are online. */
export function onlineAll({ geometry, blocks, events }: MemoryControl): void {
  store(events, BLOCKS_HIGH, geometry.nrBlocks)
  for (let block = 0; block < geometry.nrBlocks; block++) {
    store(blocks, block * BLOCK_RECORD_WORDS + BLOCK_STATE, BlockState.Online)
  }
}
