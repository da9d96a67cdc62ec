/*
 * Compaction: what is live on pages that are mostly garbage moves to others, and the pages go.
 *
 *     C1  a page that is Sealed, of entries, with little in LIVE         (candidates.ts)
 *     C2  each entry on it: the lock of its shard, if nobody has it
 *     C3    the shard's slot (or TABLE) names it: copy it to my own page
 *     C4    the slot (or TABLE) = the copy; the old one is dropped
 *     C5  unlock
 *     C6  every entry was looked at: the page is retired, unless a drop did so
 *
 * An entry is live if and only if its shard names its address. What is not named under the lock
 * (C3) will not be: on a sealed page nothing is still to be published (heap.ts), and who replaced
 * an entry dropped it before unlocking, or is dead. So nobody lowers LIVE after C6, though it may
 * not be 0: the dead left it too high.
 *
 * Readers go on in the old copy until they leave the guard; the old page is reused after a grace
 * period. The service thread waits for no lock: if a shard's is taken, the page is left for later.
 *
 * Checked by compactor.check.ts.
 */
import { copyOut, load, loadPlain, store } from '#atomics'
import { WRITE_PROTECTED } from '../mm/geometry.ts'
import { mapOfOwner } from '../mm/virtual-pages.ts'
import { Candidates } from './candidates.ts'
import { Finder } from './finder.ts'
import { Growth } from './growth.ts'
import { Heap } from './heap.ts'
import {
  type CollectionsContext,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  ENTRY_KIND_MASK,
  ENTRY_SIZES,
  EntryKind,
  KEY_BYTES_MASK,
  PAGE_HEADER_UNITS,
  PAGE_USED,
  SHARD_WORDS,
  TABLE,
  unitsOf,
  VALUE_BYTES_SHIFT,
  wordsOf,
} from './layout.ts'
import { ShardLocks } from './shard-locks.ts'

const LOCK_TRIES = 4

/** What a mover is made of; models put broken parts in their place. */
export interface MoverParts {
  readonly Finder: typeof Finder
  readonly ShardLocks: typeof ShardLocks
}

const PARTS: MoverParts = { Finder, ShardLocks }

/** How much to do. */
export interface CompactOptions {
  /** Pages to empty, at most. */
  readonly maxPages: number
  /** Only pages of which less than this part is live; from 0 to 1. */
  readonly below: number
  /** Whether a page is to be left alone; none if left out. */
  readonly spares?: (vpn: number) => boolean
}

/** Moves entries together, for the service thread. */
export class Compactor {
  private readonly context: CollectionsContext
  private readonly parts: MoverParts
  private readonly movers = new Map<number, Mover>()
  private readonly candidates: Candidates

  constructor(context: CollectionsContext, parts = PARTS) {
    this.context = context
    this.parts = parts
    this.candidates = new Candidates(context.pages)
  }

  /**
   * Empties pages, those with the least on them first, as far as is known (candidates.ts).
   *
   * @returns How many were retired.
   */
  compact({ maxPages, below, spares }: CompactOptions): number {
    const { context, candidates } = this
    const belowUnits = below * 2 ** context.memory.geometry.unitsPerPageShift
    let nrRetired = 0
    let nrInVain = 0 // pages looked at since one was retired
    for (let i = 0; i < maxPages; ) {
      const vpn = candidates.take(belowUnits) // C1
      if (vpn === -1) {
        if (nrInVain >= context.pages.end() - 1) break
        nrInVain += candidates.look(belowUnits, spares)
        continue
      }
      if (spares?.(vpn)) continue
      i++
      if (!this.empty(vpn)) continue
      nrRetired++
      nrInVain = 0
    }
    return nrRetired
  }

  /** Leaves the pages that it writes to, so that others can be moved there. */
  close(): void {
    for (const { heap } of this.movers.values()) heap.close()
  }

  private empty(vpn: number): boolean {
    const mover = this.moverOf(mapOfOwner(this.context.pages.ownerOf(vpn)))
    const isEmpty = mover.empty(vpn)
    mover.heap.settle()
    return isEmpty
  }

  private moverOf(map: number): Mover {
    const known = this.movers.get(map)
    if (known !== undefined) return known
    const onSeal = (vpn: number, live: number) => this.candidates.notePacked(vpn, live)
    const made = new Mover(this.context, map, onSeal, this.parts)
    this.movers.set(map, made)
    return made
  }
}

/** Moves entries of one map. */
class Mover {
  readonly heap: Heap
  private readonly context: CollectionsContext
  private readonly finder: Finder
  private readonly growth: Growth
  private readonly locks: ShardLocks
  private readonly first: number
  private readonly words: Int32Array

  /** @param onSeal Is told which pages it has filled, and how far. */
  constructor(
    context: CollectionsContext,
    map: number,
    onSeal: (vpn: number, live: number) => void,
    parts: MoverParts,
  ) {
    this.context = context
    this.heap = new Heap(context, map, onSeal)
    this.finder = new parts.Finder(context)
    this.growth = new Growth(context, this.heap)
    this.locks = new parts.ShardLocks(context, map)
    this.first = map * context.control.nrShards
    this.words = new Int32Array(context.memory.geometry.pageWords)
  }

  /** C2 to C6. @returns Whether the page was emptied and retired. */
  empty(vpn: number): boolean {
    const { pages, memory } = this.context
    const shift = memory.geometry.unitsPerPageShift
    const live = pages.liveOf(vpn)
    const used = live === 0 ? 0 : this.look(vpn << shift, PAGE_USED)
    for (let unit = PAGE_HEADER_UNITS; unit < used; ) {
      const address = (vpn << shift) | unit
      const sizes = this.look(address, ENTRY_SIZES)
      if (!this.moveEntry(address, sizes)) return false
      unit += unitsOf(sizes)
    }
    if (pages.retire(vpn)) return true // C6
    return !pages.isSealed(vpn)
  }

  /** C2 to C5. @returns Whether the address is named by nobody now. */
  private moveEntry(address: number, sizes: number): boolean {
    const lead = this.look(address, ENTRY_HASH)
    const isTable = (sizes & ENTRY_KIND_MASK) === EntryKind.Table
    const { nrShards } = this.context.control
    const shard = isTable ? lead * SHARD_WORDS : this.shardOf(lead & (nrShards - 1))
    if (!this.heap.makeReady(sizes)) return false
    const held = this.tryLock(shard) // C2
    if (held === null) return false
    if (held.ownerDied) this.growth.recount(shard)
    const isDone = isTable
      ? this.moveTable(shard, address, sizes)
      : this.moveKey(shard, address, sizes)
    held.release() // C5
    return isDone
  }

  private moveKey(shard: number, address: number, sizes: number): boolean {
    const { finder, heap } = this
    const hash = this.look(address, ENTRY_HASH)
    heap.guard.enter()
    const isNamed = finder.findAddress(shard, hash, address) // C3
    const isProtected = (finder.slotPte & WRITE_PROTECTED) !== 0
    heap.guard.leave()
    if (!isNamed) return true
    if (isProtected) return false
    const copy = this.copy(address, sizes)
    if (copy === 0) return false
    heap.guard.enter()
    finder.findAddress(shard, hash, address)
    store(finder.slotWords, finder.slotAt, finder.table.slotOf(hash, copy)) // C4
    heap.guard.leave()
    heap.drop(address, unitsOf(sizes))
    return true
  }

  private moveTable(shard: number, address: number, sizes: number): boolean {
    const named = load(this.context.control.shards, shard + TABLE) // C3
    if (named !== address) return true
    const copy = this.copy(address, sizes)
    if (copy === 0) return false
    this.growth.publish(shard, copy) // C4
    this.heap.drop(address, unitsOf(sizes))
    return true
  }

  /** An entry like that one, on my own page. */
  private copy(address: number, sizes: number): number {
    const { heap } = this
    const keyWords = wordsOf(sizes & KEY_BYTES_MASK)
    const nrWords = ENTRY_HEADER_WORDS + keyWords + wordsOf(sizes >>> VALUE_BYTES_SHIFT)
    heap.guard.enter()
    heap.locate(address)
    copyOut(this.words, 0, heap.words, heap.at, nrWords)
    heap.guard.leave()
    const key = this.words.subarray(ENTRY_HEADER_WORDS, ENTRY_HEADER_WORDS + keyWords)
    const value = this.words.subarray(ENTRY_HEADER_WORDS + keyWords, nrWords)
    return heap.append(this.words[ENTRY_HASH]!, sizes, key, value)
  }

  private tryLock(shard: number) {
    for (let tries = 1; ; tries++) {
      const held = this.locks.tryLock(shard)
      if (held !== null || tries === LOCK_TRIES) return held
    }
  }

  /** A word of what is at an address. */
  private look(address: number, word: number): number {
    this.heap.guard.enter()
    this.heap.locate(address)
    const value = loadPlain(this.heap.words, this.heap.at + word)
    this.heap.guard.leave()
    return value
  }

  private shardOf(i: number): number {
    return (this.first + i) * SHARD_WORDS
  }
}
