/*
 * What the service thread does for a machine's memory, beside barriers and the dead.
 *
 *     serve     what was asked for, some milliseconds at a time (mm/requests.ts); room for those
 *               who found none
 *     tick      what was retired goes back; pages with little on them are compacted
 *     recover   after deaths, and as a successor: every page whose owner is dead is found by a scan
 *
 * It blocks on no lock whose holder may wait for it: only on the zones', whose holders wait for
 * nothing. It alone unmaps and moves pages.
 */
import { fillPlain, load } from '#atomics'
import type { AddressSpace } from '../arch/address-space.ts'
import { BarrierRequests } from '../arch/barrier.ts'
import { now } from '../arch/clock.ts'
import type { RealMemory } from '../arch/real-memory.ts'
import type { Duties, Tools } from '../arch/service-loop.ts'
import { Compactor } from '../collections/compactor.ts'
import { Orphans } from '../collections/orphans.ts'
import { HotplugError } from '../lib/errors.ts'
import type { Held } from '../locking/acquire.ts'
import type { GracePeriod } from '../locking/guard.ts'
import { Blocks } from '../mm/blocks.ts'
import { isUnderWay } from '../mm/ends.ts'
import {
  BlockState,
  type Geometry,
  type MemoryControl,
  RECLAIM,
  REQUESTS,
  RETIRE_HEAD,
  ZoneKind,
} from '../mm/geometry.ts'
import { blockOfPfn, pageOfPfn } from '../mm/memmap.ts'
import { type Batch, Migration } from '../mm/migration.ts'
import { Notifiers } from '../mm/notifiers.ts'
import { PageAllocator } from '../mm/page-allocator.ts'
import { pfnOf, pteAt } from '../mm/page-table.ts'
import { Pins } from '../mm/pins.ts'
import { freeDead } from '../mm/raw.ts'
import { recoverBlocks } from '../mm/recovery.ts'
import { DISCARD_UNIT, type Request, RequestKind, Requests } from '../mm/requests.ts'
import { sliceWords } from '../mm/slice.ts'
import type { VirtualPages } from '../mm/virtual-pages.ts'
import { type MachineMemory, openCollections } from './machine-memory.ts'
import { discardIfItGoes, prepareBlock } from './prepare.ts'
import { nrFreePages, nrReservePages } from './room.ts'
import { trimBlock } from './trim.ts'
import { withdrawPages } from './withdraw.ts'

/** How long one request keeps the service thread from others. */
const SLICE_MS = 8
/** Pages that are compacted at a time. */
const COMPACT_PAGES = 64
/** A look at all pages that gains too little is followed by a rest so many times as long. */
const REST_FACTOR = 50
/** But by no longer one. */
const REST_MAX_MS = 10_000
/** Looks at readers before what was retired is left for later. */
const LOOKS = 10

/** How full a page may be, of all that it can hold, to be worth emptying. */
const BELOW = { always: 0.5, scarce: 0.75, onRequest: 0.95 } as const
/** Part of the pages that are free, below which they are scarce, and very scarce. */
const FREE_PART = { scarce: 0.2, veryScarce: 0.05 } as const

/** The duties, and what they work with. */
export class MemoryDuties implements Duties {
  readonly report: unknown
  private readonly allocator: PageAllocator
  private readonly pages: VirtualPages
  private readonly control: MemoryControl
  private readonly geometry: Geometry
  private readonly space: AddressSpace
  private readonly real: RealMemory
  private readonly tools: Tools
  private readonly blocks: Blocks
  private readonly migration: Migration
  private readonly requests: Requests
  private readonly reclaims: BarrierRequests
  private readonly compactor: Compactor
  private readonly orphans: Orphans
  private readonly pins: Pins
  /** Retired pages that await a grace period. */
  private retired: number[] = []
  /** The slot of a thread for which the last grace period waited in vain, or -1. */
  private inside = -1
  /** `memAddRemoveLock`, while what a dead operator left waits to be undone. */
  private held: Held | null = null
  private readonly onOwed: () => void
  /** Whether migration leaves compaction some pages, because that still makes room for it. */
  private leavesSome = true
  /** The grace period before a block leaves, if one has begun. */
  private leaving: GracePeriod | null = null
  /** When pages are looked at again though nobody asks for room. */
  private restsUntil = 0

  constructor(
    tools: Tools,
    memory: MachineMemory,
    arch: { space: AddressSpace; real: RealMemory },
    onOwed: () => void,
  ) {
    const { control } = memory
    const { slot, locks } = tools
    this.tools = tools
    this.control = control
    this.geometry = control.geometry
    this.space = arch.space
    this.real = arch.real
    this.onOwed = onOwed
    this.report = { discards: this.real.discards, reason: this.real.reason }
    this.blocks = new Blocks(control)
    this.allocator = new PageAllocator(slot, control, this.space, locks.guard)
    const { meanwhile } = locks.guard.waiting
    for (const { lock } of this.allocator.zones) lock.waiting.meanwhile = meanwhile
    const context = openCollections(
      memory,
      locks,
      { source: this.allocator, space: this.space },
      { onNoRoom: () => false },
    )
    this.pages = context.pages
    this.orphans = new Orphans(context)
    this.compactor = new Compactor(context)
    this.pins = new Pins(slot, memory.pins)
    new Notifiers(slot, memory.notifiers) // is told of the deaths that this thread reaps
    this.migration = new Migration(control, this.space, locks.guard, {
      take: () => this.takeTarget(),
      give: pfns => this.giveFrames(pfns),
      populate: (pfn, count) => this.populate(pfn, count),
    })
    this.requests = new Requests(control.events, REQUESTS, slot.slots, memory.stop)
    this.reclaims = new BarrierRequests(control.events, RECLAIM)
    this.requests.start()
    this.reclaims.start()
  }

  serve(): boolean {
    this.reclaims.serve(() => void this.reclaim(() => this.drain()))
    this.undoDead()
    const request = this.requests.next()
    if (request === null) return false
    try {
      this.requests.finish(this.answer(request))
    } catch (error) {
      if (!(error instanceof HotplugError)) throw error
      this.requests.fail(error.code)
    }
    return true
  }

  tick(): boolean {
    this.collect()
    const startedAt = now()
    if (startedAt < this.restsUntil) return false
    const nrRetired = this.compact(this.below())
    this.collect()
    const hasMore = nrRetired > COMPACT_PAGES / 2 // a few are not worth a look at all pages
    const endedAt = now()
    const restMs = Math.min(REST_FACTOR * (endedAt - startedAt), REST_MAX_MS)
    if (!hasMore) this.restsUntil = endedAt + restMs
    return hasMore
  }

  recover(): void {
    this.migration.settle()
    this.migration.recover()
    this.pages.recoverDead()
    this.allocator.recoverDead()
    this.allocator.enableLists() // a predecessor may have died while it drained them
    this.tools.locks.guard.synchronize()
    this.pages.freeStale()
    this.orphans.sweep()
    this.orphans.recount()
    const { control, space: frames, allocator, pins } = this
    freeDead({ control, frames, allocator, pins })
    this.held ??= this.tools.locks.memAddRemoveLock.tryLock()
    this.undoDead()
  }

  stop(): void {
    withdrawPages(this.control, this.takeBlank())
    this.migration.wakeWriters()
    this.tools.locks.guard.synchronize()
    const { blockSize } = this.geometry
    const high = this.blocks.high()
    for (let block = 0; block < high; block++) {
      if (this.blocks.stateName(block) === 'absent') continue
      discardIfItGoes(this.real, block * blockSize, blockSize)
    }
  }

  private answer({ kind, args }: Request): readonly number[] {
    const [first = 0, second = 0] = args
    switch (kind) {
      case RequestKind.Prepare:
        prepareBlock(this.real, this.geometry, this.space, first)
        return []
      case RequestKind.Migrate:
        return this.migrate(first, second === 1)
      case RequestKind.Discard:
        return this.discard(first, second === 1)
      case RequestKind.Compact:
        return this.compactSome(first, second === 1)
      case RequestKind.Trim:
        return [trimBlock(this.allocator.zones, this.blocks, this.real, first) / DISCARD_UNIT]
      case RequestKind.Recover:
        this.recoverBlocks()
        return []
      default:
        throw new HotplugError('ENOSYS', 'serve a request', `there is no kind ${kind}`)
    }
  }

  private migrate(block: number, isFirst: boolean): readonly number[] {
    if (isFirst) this.leavesSome = true
    const inside = isFirst ? this.tryDrain() : -1
    this.collect()
    const endsAt = now() + SLICE_MS
    let moved = 0
    let longestMs = 0
    let last: Batch = { moved: 0, stopped: inside === -1 ? 'no' : 'inside', inside }
    while (last.stopped === 'no' && now() < endsAt) {
      const startedAt = now()
      last = this.migration.batch(block)
      longestMs = Math.max(longestMs, now() - startedAt)
      moved += last.moved
      this.tools.serveBarriers()
    }
    if (last.stopped === 'noRoom') last = this.makeRoom(last)
    return sliceWords(moved, last, this.migration.leftover(block), longestMs)
  }

  /**
   * For what is migrated. If there is none, and will be none, migration may have what is kept back.
   *
   * @returns What came of the batch that found no room.
   */
  private makeRoom(last: Batch): Batch {
    const nrRetired = this.reclaim(() => void this.tryDrain())
    if (this.retired.length === 0) this.tryDrain() // also what compaction has freed
    const isThere = nrFreePages(this.allocator) > nrReservePages(this.blocks) / 2
    const isHeldUp = this.retired.length > 0 || this.inside !== -1
    this.leavesSome = isThere || nrRetired > 0 || isHeldUp
    if (this.leavesSome) return { ...last, stopped: 'no', inside: this.inside }
    return { ...last, inside: this.migration.trySettle() }
  }

  /** Free pages on threads' lists go back to their zones. */
  private drain(): void {
    this.allocator.drainAll()
    this.allocator.enableLists()
  }

  /** As `drain`, but waits for nobody for long. @returns Who stays inside the guard, or -1. */
  private tryDrain(): number {
    this.inside = this.allocator.tryDrainAll(LOOKS)
    if (this.inside === -1) this.allocator.enableLists()
    return this.inside
  }

  /** @returns See `RequestKind.Discard`. */
  private discard(block: number, isFirst: boolean): readonly number[] {
    const { blockSize } = this.geometry
    const begun = isFirst ? null : this.leaving
    const period = begun ?? this.tools.locks.guard.beginPeriod()
    const inside = period.tryEnd(LOOKS)
    this.leaving = inside === -1 ? null : period
    if (inside !== -1) return [0, inside]
    return [this.real.discard(block * blockSize, blockSize) / DISCARD_UNIT, -1]
  }

  /** @returns See `RequestKind.Compact`. */
  private compactSome(wanted: number, isFirst: boolean): readonly number[] {
    if (isFirst && this.tryDrain() !== -1) return [1, 0, 0, this.inside]
    const endsAt = now() + SLICE_MS
    let nrRetired = 1
    let nrEmptied = 0
    while (nrRetired > 0 && now() < endsAt) {
      const below = nrFreePages(this.allocator) >= wanted ? BELOW.always : BELOW.onRequest
      nrRetired = this.compact(below)
      nrEmptied += nrRetired
      this.collect()
      this.tools.serveBarriers()
    }
    const isFree = nrFreePages(this.allocator) >= wanted
    return [nrRetired > 0 ? 1 : 0, isFree ? 1 : 0, nrEmptied, this.inside]
  }

  /** Some pages are emptied, but none of a block that goes: those are moved, to room made here. */
  private compact(below: number): number {
    const { blocks, control, geometry } = this
    const spares = (vpn: number): boolean => {
      const pfn = pfnOf(load(control.pageTable, pteAt(vpn)))
      return blocks.state(blockOfPfn(geometry, pfn)) === BlockState.GoingOffline
    }
    return this.compactor.compact({ maxPages: COMPACT_PAGES, below, spares })
  }

  /** The fewer pages are free, the fuller ones are worth emptying. */
  private below(): number {
    const free = nrFreePages(this.allocator) / this.blocks.onlinePages()
    if (free < FREE_PART.veryScarce) return BELOW.onRequest
    return free < FREE_PART.scarce ? BELOW.scarce : BELOW.always
  }

  /**
   * Room for those who found none: as much again as is kept back, if that is not too much work.
   *
   * @param drain Free pages on threads' lists go back to their zones.
   * @returns How many pages were emptied for it.
   */
  private reclaim(drain: () => void): number {
    const reserve = nrReservePages(this.blocks)
    this.collect()
    // Threads' lists may have what is kept back, without which nothing can be compacted.
    if (nrFreePages(this.allocator) <= reserve) drain()
    const endsAt = now() + SLICE_MS
    let nrRetired = 0
    while (nrFreePages(this.allocator) <= 2 * reserve && now() < endsAt) {
      const nr = this.compact(BELOW.onRequest)
      if (nr === 0) break
      nrRetired += nr
      this.collect()
      this.tools.serveBarriers()
    }
    return nrRetired
  }

  /** What was retired, or has moved, is free; later, if somebody stays inside the guard. */
  private collect(): void {
    this.inside = -1
    const head = load(this.control.events, RETIRE_HEAD)
    if (head !== 0) for (const vpn of this.pages.takeRetired()) this.retired.push(vpn)
    if (this.retired.length === 0 && this.migration.isSettled()) return
    this.inside = this.tools.locks.guard.trySynchronize(LOOKS)
    if (this.inside !== -1) return
    this.migration.freeOld()
    for (let i = 0; i < this.retired.length; i++) this.pages.release(this.retired[i]!)
    this.retired = []
  }

  /**
   * What an operator that died left: undone once nobody walks the blocks. What notifiers are to be
   * told is told by main, if no operation comes first; asked for before others have the lock.
   */
  private undoDead(): void {
    if (this.held === null) return
    const isLeft = this.held.ownerDied || isUnderWay(this.blocks)
    if (isLeft && !this.undo()) return
    if (this.blocks.going() !== 0) this.onOwed()
    // Requests are made with the lock: what is there is of somebody who has left, and is not to be
    // done under the next one.
    if (this.requests.next() !== null) this.requests.finish([])
    this.held.release()
    this.held = null
  }

  private undo(): boolean {
    const mems = this.tools.locks.tryMemHotplugBegin()
    if (mems === null) return false
    this.blocks.beginChange(this.tools.slot.token)
    this.recoverBlocks()
    this.blocks.endChange()
    mems.release()
    return true
  }

  private recoverBlocks(): void {
    recoverBlocks(this.blocks, this.allocator.zones, block => this.discardIfItGoes(block))
  }

  private discardIfItGoes(block: number): void {
    const { blockSize } = this.geometry
    this.tools.locks.guard.synchronize()
    discardIfItGoes(this.real, block * blockSize, blockSize)
  }

  /** Half of what is kept back is for compaction, which gives more than it takes; if it does. */
  private takeTarget(): number {
    const isKeptBack = nrFreePages(this.allocator) <= nrReservePages(this.blocks) / 2
    return isKeptBack && this.leavesSome ? -1 : this.takeFrame()
  }

  /** Past the lists; -1: not one is free. */
  private takeFrame(): number {
    const pfn = this.allocator.zones[ZoneKind.Movable]!.alloc(0)
    return pfn === -1 ? this.allocator.zones[ZoneKind.Normal]!.alloc(0) : pfn
  }

  /** A frame of zeros; -1: not one is free. */
  private takeBlank(): number {
    const { geometry } = this
    const pfn = this.takeFrame()
    if (pfn === -1) return -1
    const words = this.space.block(blockOfPfn(geometry, pfn))
    fillPlain(words, pageOfPfn(geometry, pfn) << geometry.pageWordsShift, 0, geometry.pageWords)
    return pfn
  }

  private giveFrames(pfns: readonly number[]): void {
    for (let i = 0; i < pfns.length; i++) {
      const zone = this.blocks.zoneKind(blockOfPfn(this.geometry, pfns[i]!))
      this.allocator.zones[zone]!.free(pfns[i]!, 0)
    }
  }

  private populate(pfn: number, count: number): void {
    const { pageSize } = this.geometry
    this.real.populate(pfn * pageSize, count * pageSize)
  }
}
