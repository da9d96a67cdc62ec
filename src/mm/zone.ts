/*
 * A zone: which blocks pages come from, and the lock over their free lists.
 *
 *     LOCK    over all below, and over lists and Free, Tail words of the zone's blocks
 *     HINT    no block below has a page to give out
 *     DIRTY   0, or the block that is being changed, + 1
 *     FREE    pages in the lists of its blocks, but the isolated
 *
 *     Z1  lock
 *     Z2  DIRTY left by a dead owner: make that block's lists, its FREE and the zone's anew
 *     Z3  DIRTY = block + 1
 *         change words, lists and counters of that block
 *     Z4  DIRTY = 0
 *     Z5  unlock
 *
 * First fit: pages come from the lowest block that has any, so that high blocks become empty.
 *
 * Isolation. A block with ISOLATED set is passed over, and keeps what is freed into it; its pages
 * do not count in the zone's FREE. That is all: nothing is moved from list to list.
 *
 * Deaths. Whoever dies between Z3 and Z4 leaves page words that are true one by one, and lists and
 * counters that may not be. The next owner repairs the one block (Z2) before it does anything, and
 * if it dies at that, the next does. A page that the dead had marked its own is freed by
 * `PageAllocator.recoverDead`. HINT goes down before a page becomes free, and up after a look under
 * the lock: it may be too low, never too high.
 *
 * Blocks are looked at up to BLOCKS_HIGH: none from there on was ever given. HINT is not raised
 * beyond what was read of that, so that it hides no block that is added later.
 *
 * `giveBlock` and `takeBlock` go by page words, and can be called again after a death in either. A
 * dead `takeBlock` is undone by Z2, with the block still isolated; ISOLATED ends with `giveBlock`.
 *
 * A leaf: who has the lock waits for nothing. Checked by zone.check.ts.
 */
import { load, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { Mutex } from '../locking/mutex.ts'
import type { Slot } from '../locking/slots.ts'
import { zoneName } from './blocks.ts'
import { countFree, forgetLists, giveChunk, rebuildLists, takeChunk } from './buddy.ts'
import {
  BLOCK_FREE,
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  type Frames,
  type MemoryControl,
  PageState,
  ZONE_DIRTY,
  ZONE_FREE,
  ZONE_HINT,
  ZONE_LOCK,
  ZONE_RECORD_WORDS,
} from './geometry.ts'
import { blockOfPfn, nrManagedPages, pageOfPfn, pageWord } from './memmap.ts'

/** One thread's hand on a zone. It makes one for itself, with its own slot. */
export class Zone {
  readonly slot: Slot
  readonly control: MemoryControl
  readonly frames: Frames
  /** A `ZoneKind`. */
  readonly kind: 0 | 1
  readonly lock: Mutex
  private readonly words: Words
  private readonly record: number

  /** @param slot The calling thread's own. */
  constructor(slot: Slot, control: MemoryControl, frames: Frames, kind: 0 | 1) {
    this.slot = slot
    this.control = control
    this.frames = frames
    this.kind = kind
    this.words = control.zones
    this.record = kind * ZONE_RECORD_WORDS
    const name = `lock of zone ${zoneName(kind)}`
    this.lock = new Mutex(slot, control.zones, this.record + ZONE_LOCK, name)
  }

  /**
   * Takes 2^`order` pages that lie side by side; their words say that this thread has them.
   *
   * @returns The first one's page frame number, or -1: there is no room.
   */
  alloc(order: number): number {
    this.begin()
    const pfn = this.take(order, pageWord(PageState.Allocated, this.slot.token))
    this.end()
    return pfn
  }

  /** 2^`order` pages from `pfn` on become free. Call as whoever answers for them. */
  free(pfn: number, order: number): void {
    this.begin()
    this.put(pfn, order)
    this.end()
  }

  /** Free pages of its blocks that are not isolated. May change at once. */
  nrFree(): number {
    return load(this.words, this.record + ZONE_FREE)
  }

  /**
   * All pages of a block that nobody has become pages of this zone. Call with `memHotplugLock`
   * held for writing and BLOCK_ZONE set; again, if who called it has died.
   */
  giveBlock(block: number): void {
    const { blocks, geometry } = this.control
    this.begin()
    this.lowerHint(block)
    this.change(block)
    const nrGivable = this.nrGivable(block)
    store(blocks, this.at(block, BLOCK_ISOLATED), 0)
    const nrFree = rebuildLists(this.frames.block(block), geometry)
    store(blocks, this.at(block, BLOCK_FREE), nrFree)
    raise(this.words, this.record + ZONE_FREE, nrFree - nrGivable)
    this.end()
  }

  /**
   * The pages of a block leave the zone. Nobody may have any. Call with `memHotplugLock` held for
   * writing and the block isolated; again, if who called it has died.
   */
  takeBlock(block: number): void {
    const { blocks, geometry } = this.control
    this.begin()
    const memmap = this.frames.block(block)
    const nrFree = countFree(memmap, geometry)
    const isWhole = nrFree === nrManagedPages(geometry)
    const isIsolated = load(blocks, this.at(block, BLOCK_ISOLATED)) !== 0
    if (isWhole && isIsolated) {
      this.change(block)
      forgetLists(memmap, geometry)
      store(blocks, this.at(block, BLOCK_FREE), 0)
    }
    this.end()
    assert(isIsolated, `zone: block ${block} is taken while it gives out pages`)
    assert(isWhole, `zone: block ${block} is taken while somebody has pages of it`)
  }

  /** The block gives out no more pages, and keeps those freed into it. May be so already. */
  isolate(block: number): void {
    this.begin()
    this.setIsolated(block, 1)
    this.end()
  }

  /** The block gives out pages again. May be so already. */
  undoIsolate(block: number): void {
    this.begin()
    this.lowerHint(block)
    this.setIsolated(block, 0)
    this.end()
  }

  /** Repairs what a dead owner was changing, so that all counts are exact. */
  settle(): void {
    this.begin()
    this.end()
  }

  /** Z1, Z2. For several of `take` and `put` under one lock; waits for nothing until `end`. */
  begin(): void {
    this.lock.lock()
    const dirty = load(this.words, this.record + ZONE_DIRTY)
    if (dirty !== 0) this.repair(dirty - 1)
  }

  /** Z4, Z5. */
  end(): void {
    store(this.words, this.record + ZONE_DIRTY, 0)
    this.lock.unlock()
  }

  /** As `alloc`, with another word than Allocated. Call between `begin` and `end`. */
  take(order: number, word: number): number {
    const { geometry, events } = this.control
    const hint = load(this.words, this.record + ZONE_HINT)
    const high = load(events, BLOCKS_HIGH)
    for (let block = hint; block < high; block++) {
      const nrGivable = this.nrGivable(block)
      if (nrGivable === 0) continue
      if (order === 0 && block !== hint) store(this.words, this.record + ZONE_HINT, block)
      this.change(block)
      const page = takeChunk(this.frames.block(block), geometry, order, word)
      if (page === 0) continue
      this.count(block, -(1 << order))
      return block * geometry.pagesPerBlock + page
    }
    if (order === 0 && hint < high) store(this.words, this.record + ZONE_HINT, high)
    return -1
  }

  /** As `take`, from that block only. Call between `begin` and `end`. */
  takeFrom(block: number, order: number, word: number): number {
    const { geometry } = this.control
    const nrGivable = this.nrGivable(block)
    if (nrGivable < 1 << order) return -1
    this.change(block)
    const page = takeChunk(this.frames.block(block), geometry, order, word)
    if (page === 0) return -1
    this.count(block, -(1 << order))
    return block * geometry.pagesPerBlock + page
  }

  /** As `free`. Call between `begin` and `end`. */
  put(pfn: number, order: number): void {
    const { geometry } = this.control
    const block = blockOfPfn(geometry, pfn)
    this.lowerHint(block)
    this.change(block)
    giveChunk(this.frames.block(block), pageOfPfn(geometry, pfn), order)
    this.count(block, 1 << order)
  }

  /** Z3. Another block that was changed under this lock is as it should be. */
  private change(block: number): void {
    store(this.words, this.record + ZONE_DIRTY, block + 1)
  }

  private setIsolated(block: number, isolated: 0 | 1): void {
    this.change(block)
    const before = this.nrGivable(block)
    store(this.control.blocks, this.at(block, BLOCK_ISOLATED), isolated)
    const after = this.nrGivable(block)
    raise(this.words, this.record + ZONE_FREE, after - before)
  }

  /** Z2. The block stays DIRTY until Z3 or Z4: who dies at this leaves it to the next. */
  private repair(block: number): void {
    const { blocks, geometry, events } = this.control
    this.lowerHint(block)
    const nrFree = rebuildLists(this.frames.block(block), geometry)
    store(blocks, this.at(block, BLOCK_FREE), nrFree)
    let sum = 0
    const high = load(events, BLOCKS_HIGH)
    for (let each = 0; each < high; each++) {
      const nrGivable = this.nrGivable(each)
      sum += nrGivable
    }
    store(this.words, this.record + ZONE_FREE, sum)
  }

  /** Pages that the block can give out in this zone. */
  private nrGivable(block: number): number {
    const { blocks } = this.control
    const nrFree = load(blocks, this.at(block, BLOCK_FREE))
    if (nrFree === 0) return 0
    if (load(blocks, this.at(block, BLOCK_ZONE)) !== this.kind) return 0
    return load(blocks, this.at(block, BLOCK_ISOLATED)) === 0 ? nrFree : 0
  }

  /** So many pages more are in the block's lists. */
  private count(block: number, delta: number): void {
    const { blocks } = this.control
    raise(blocks, this.at(block, BLOCK_FREE), delta)
    if (load(blocks, this.at(block, BLOCK_ISOLATED)) !== 0) return
    raise(this.words, this.record + ZONE_FREE, delta)
  }

  private lowerHint(block: number): void {
    const hint = load(this.words, this.record + ZONE_HINT)
    if (block < hint) store(this.words, this.record + ZONE_HINT, block)
  }

  private at(block: number, field: number): number {
    return block * BLOCK_RECORD_WORDS + field
  }
}

/** Changes a counter that only the owner of the zone's lock changes. */
function raise(words: Words, index: number, delta: number): void {
  const before = load(words, index)
  store(words, index, before + delta)
}
