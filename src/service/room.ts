/*
 * Room for those who find none: pages that the service thread frees for them.
 *
 * A few pages are kept back, without which it could not move entries together to free others. Who
 * finds no more than those asks it to reclaim, and blocks until it has; again and again while that
 * gets anywhere, or while a block is on its way offline, whose pages come back if that fails. Only
 * then there is no room.
 */
import { load, wait } from '#atomics'
import { BarrierRequests } from '../arch/barrier.ts'
import type { Slot } from '../locking/slots.ts'
import type { Blocks } from '../mm/blocks.ts'
import { BlockState, RECLAIM, RETIRED_PAGES } from '../mm/geometry.ts'
import type { PageAllocator } from '../mm/page-allocator.ts'
import type { FrameSource } from '../mm/virtual-pages.ts'

/** Pages that are kept back: so many, or this part of a machine where that is less. */
const RESERVE_PAGES = 64
const RESERVE_PART = 1 / 32
/** Requests in a row that get nowhere before there is no room: a fraction of a second. */
const IDLE_MAX = 64
/** Requests altogether. */
const TRIES_MAX = 1000
const PAUSE_MS = 2

/** Pages free beyond which nobody has to ask. */
export function nrReservePages(blocks: Blocks): number {
  return Math.min(RESERVE_PAGES, Math.floor(blocks.onlinePages() * RESERVE_PART))
}

/** Free pages that can be given out, without those on threads' lists. */
export function nrFreePages({ zones }: PageAllocator): number {
  let sum = 0
  for (let i = 0; i < zones.length; i++) sum += zones[i]!.nrFree()
  return sum
}

/** What a thread takes pages from, and how it gets room. */
export class Room implements FrameSource {
  private readonly slot: Slot
  private readonly blocks: Blocks
  private readonly allocator: PageAllocator
  private readonly requests: BarrierRequests
  private readonly onHeartbeat: () => void

  /** @param onHeartbeat Called before it asks, and while that takes long; may throw. */
  constructor(slot: Slot, blocks: Blocks, allocator: PageAllocator, onHeartbeat: () => void) {
    this.slot = slot
    this.blocks = blocks
    this.allocator = allocator
    this.requests = new BarrierRequests(blocks.control.events, RECLAIM)
    this.onHeartbeat = onHeartbeat
  }

  /** As the allocator, but leaves what is kept back. */
  allocPage(): number {
    return this.hasRoom() ? this.allocator.allocPage() : -1
  }

  /** As the allocator. */
  freePage(pfn: number): void {
    this.allocator.freePage(pfn)
  }

  /** Has the service thread make room; blocks. @returns Whether there is some. */
  make(): boolean {
    const { events } = this.blocks.control
    let nrIdle = 0
    this.onHeartbeat()
    for (let i = 0; i < TRIES_MAX && nrIdle < IDLE_MAX; i++) {
      const before = load(events, RETIRED_PAGES)
      this.requests.request(this.slot.slots, this.onHeartbeat)
      if (this.hasRoom()) return true
      const after = load(events, RETIRED_PAGES)
      const isGoing = this.blocks.in(BlockState.GoingOffline).length > 0
      nrIdle = after === before && !isGoing ? nrIdle + 1 : 0
      wait(events, RETIRED_PAGES, after, PAUSE_MS)
    }
    return false
  }

  private hasRoom(): boolean {
    return nrFreePages(this.allocator) > nrReservePages(this.blocks)
  }
}
