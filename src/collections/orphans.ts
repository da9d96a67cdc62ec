/*
 * Whole pages that nobody names, and counts that nobody made: what the dead leave of a map.
 *
 * A large table is named by its shard's TABLE, a chunk of a large value by its key's entry. Who
 * dies before it has named them, or after it has named others and before it retired them, leaves
 * pages that are sealed (`VirtualPages.recoverDead` seals what was open) and that nobody finds. The
 * living seal such pages when they are named, not before: so a sealed one that is not named will
 * never be.
 *
 * Run by the service thread at its start and after each death, any number of times.
 *
 * Checked by large-values.check.ts.
 */
import { load, loadPlain } from '#atomics'
import { VirtualKind } from '../mm/geometry.ts'
import { kindOfOwner, mapOfOwner } from '../mm/virtual-pages.ts'
import { Growth } from './growth.ts'
import { Heap } from './heap.ts'
import { LargeRecord } from './large-values.ts'
import {
  type CollectionsContext,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  ENTRY_KIND_MASK,
  ENTRY_SIZES,
  EntryKind,
  homeOf,
  isRun,
  KEY_BYTES_MASK,
  SHARD_WORDS,
  TABLE,
  TOMBSTONE,
  wordsOf,
} from './layout.ts'
import { nrMapsOf } from './registry.ts'
import { ShardLocks } from './shard-locks.ts'
import { Table } from './table.ts'

/** Finds what nobody names, for the service thread. */
export class Orphans {
  private readonly context: CollectionsContext
  private readonly table: Table
  private readonly record: LargeRecord
  private readonly heap: Heap

  constructor(context: CollectionsContext) {
    this.context = context
    this.table = new Table(context)
    this.heap = new Heap(context, 0)
    this.record = new LargeRecord(context.memory.geometry.pageWords)
  }

  /** Retires sealed pages of tables and chunks that nobody names. After `recoverDead`. */
  sweep(): void {
    const { pages } = this.context
    for (let vpn = 1; vpn < pages.end(); vpn++) {
      if (this.isOrphan(vpn)) pages.retire(vpn)
    }
  }

  /** Counts the shards again whose lock's owner died. */
  recount(): void {
    const { control } = this.context
    const nrMaps = nrMapsOf(control)
    for (let map = 0; map < nrMaps; map++) {
      const locks = new ShardLocks(this.context, map)
      for (let i = 0; i < control.nrShards; i++) {
        const shard = (map * control.nrShards + i) * SHARD_WORDS
        if (locks.isLeft(shard)) this.recountOne(locks, map, shard)
      }
    }
  }

  private recountOne(locks: ShardLocks, map: number, shard: number): void {
    using held = locks.tryLock(shard)
    if (held === null || !held.ownerDied) return
    new Growth(this.context, new Heap(this.context, map)).recount(shard)
  }

  private isOrphan(vpn: number): boolean {
    const { pages } = this.context
    if (!pages.isSealed(vpn)) return false
    const owner = pages.ownerOf(vpn)
    const mark = pages.liveOf(vpn)
    if (!pages.isSealed(vpn)) return false // the mark may be a link by now
    const kind = kindOfOwner(owner)
    if (kind === VirtualKind.Table) return !this.isTableNamed(vpn, mark)
    return kind === VirtualKind.Chunk && !this.isChunkNamed(vpn, mapOfOwner(owner), mark)
  }

  private isTableNamed(vpn: number, shard: number): boolean {
    const { control, memory } = this.context
    const { unitsPerPageShift, pageWordsShift } = memory.geometry
    const address = load(control.shards, shard * SHARD_WORDS + TABLE)
    if (address === 0 || !isRun(address, this.table.addresses.unitMask)) return false
    const first = address >>> unitsPerPageShift
    this.context.guard.enter()
    this.table.open(address)
    this.context.guard.leave()
    const nrPages = this.table.nrSlots >>> pageWordsShift
    return vpn >= first && vpn < first + nrPages
  }

  /** Whether a large entry of that hash has the page. */
  private isChunkNamed(vpn: number, map: number, hash: number): boolean {
    const { control, guard } = this.context
    const { table } = this
    const shard = (map * control.nrShards + (hash & (control.nrShards - 1))) * SHARD_WORDS
    let isNamed = false
    guard.enter()
    const address = load(control.shards, shard + TABLE)
    if (address !== 0) table.open(address)
    const nrSlots = address === 0 ? 0 : table.nrSlots
    let i = homeOf(hash, nrSlots)
    for (let left = nrSlots; left > 0 && !isNamed; left--) {
      table.seek(i)
      const slot = loadPlain(table.words, table.base + i)
      if (slot === 0) break
      if (slot !== TOMBSTONE) isNamed = this.has(slot & table.addresses.addressMask, hash, vpn)
      i = i + 1 === nrSlots ? 0 : i + 1
    }
    guard.leave()
    return isNamed
  }

  private has(address: number, hash: number, vpn: number): boolean {
    const { heap, record } = this
    heap.locate(address)
    const found = loadPlain(heap.words, heap.at + ENTRY_HASH)
    const sizes = loadPlain(heap.words, heap.at + ENTRY_SIZES)
    if (found !== hash || (sizes & ENTRY_KIND_MASK) !== EntryKind.Large) return false
    record.take(heap.words, heap.at + ENTRY_HEADER_WORDS + wordsOf(sizes & KEY_BYTES_MASK), sizes)
    return record.has(vpn)
  }
}
