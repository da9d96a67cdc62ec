/*
 * Resize: asks for a size, and gets as near to it as can be.
 *
 * Whole blocks are added, or emptied and removed: first what is offline anyway, then the least used
 * of those whose pages can all move, the highest of them. Before that, heaps are compacted, so that
 * what is in use fits into fewer pages.
 *
 * Free pages of the blocks that stay give their memory back as well (trim.ts in service/).
 *
 * Each block is an operation of its own, so several operators may work at once; a block that
 * another one has taken meanwhile is passed over, and the next is chosen by what is there then.
 * Whether a block is still to go is asked once more with the lock held, or two that shrink at once
 * would go below what either asked for. A block that refuses to go is reported, and another tried.
 * Of two sizes that are asked for, the later one is gone on with: or each would undo the other's
 * steps for ever.
 */
import { load, store } from '#atomics'
import { type Blocker, HotplugError } from '../lib/errors.ts'
import { sizeText } from '../lib/units.ts'
import { addMemory, removeBlock } from './add-remove.ts'
import { Insider } from './blockers.ts'
import { BlockState, REQUESTED_BLOCKS, ZoneKind } from './geometry.ts'
import { blockName, exclusively, type Hotplug, isGone } from './hotplug.ts'
import { nrManagedPages } from './memmap.ts'
import { offlineBlock } from './offline.ts'
import { type OnlineType, onlineBlock } from './online.ts'
import { Limit, type OperationOptions } from './operation.ts'
import { DISCARD_UNIT, RequestKind } from './requests.ts'

/** What a resize came to; all sizes in bytes. */
export interface ResizeReport {
  readonly requestedBytes: number
  readonly beforeBytes: number
  readonly afterBytes: number
  /** What went back to the system. */
  readonly returnedBytes: number
  /** Why it is not the size that was asked for; empty if it is. */
  readonly blockedBy: readonly Blocker[]
}

/** Part of the pages that stays free: who writes needs some before others are garbage. */
const SPARE_PART = 1 / 16

/** Slices of compaction at most once what is in use fits, and before: writers make garbage anew. */
const TIDY_ROUNDS = 64
const ROUNDS_MAX = 1024

/** Errors that say that another operator has the block, or has made it needed. */
const TAKEN: readonly string[] = ['EINVAL', 'ENODEV', 'EBUSY']

/**
 * Adds or removes whole blocks until `bytes` are online, rounded up to whole blocks, at least one.
 * A deadline that has passed is one of the things that stand in the way.
 *
 * @param type How blocks that are added go online.
 * @throws {HotplugError} `EINVAL`: more than `maxMemory`, or a bad deadline. `EDEADLK`, `ENODEV`:
 *   as all operations. The signal's reason if aborted; blocks that have come or gone stay so.
 */
export async function resizeMemory(
  hotplug: Hotplug,
  bytes: number,
  type: OnlineType,
  options: OperationOptions = {},
): Promise<ResizeReport> {
  const limit = new Limit(`resize to ${sizeText(bytes)}`, options)
  const { geometry } = hotplug
  const target = Math.max(1, Math.ceil(bytes / geometry.blockSize))
  if (target > geometry.nrBlocks) {
    const reason = `maxMemory is ${sizeText(geometry.maxMemory)}`
    throw new HotplugError('EINVAL', limit.operation, reason)
  }
  const resize = new Resize(hotplug, limit, target)
  const before = resize.nrOnline()
  await resize.run(type)
  return {
    requestedBytes: target * geometry.blockSize,
    beforeBytes: before * geometry.blockSize,
    afterBytes: resize.nrOnline() * geometry.blockSize,
    returnedBytes: resize.returnedBytes,
    blockedBy: resize.blockedBy,
  }
}

/** One resize. */
class Resize {
  returnedBytes = 0
  readonly blockedBy: Blocker[] = []
  /** Pages that have come or gone, alone or with their blocks. */
  private nrMoved = 0
  private readonly hotplug: Hotplug
  private readonly limit: Limit
  private readonly target: number
  /** Blocks that have refused. */
  private readonly refused = new Set<number>()

  constructor(hotplug: Hotplug, limit: Limit, target: number) {
    this.hotplug = hotplug
    this.limit = limit
    this.target = target
  }

  nrOnline(): number {
    return this.hotplug.blocks.online().length
  }

  async run(type: OnlineType): Promise<void> {
    const { hotplug, limit, target } = this
    this.report()
    await this.attempt(-1, () =>
      exclusively(hotplug, limit, async () => {
        store(hotplug.blocks.control.events, REQUESTED_BLOCKS, target)
      }),
    )
    const isGrowing = this.nrOnline() < target
    await this.grow(type)
    if (!isGrowing) await this.attempt(-1, () => this.compact())
    await this.shrink()
    if (!isGrowing) await this.attempt(-1, () => this.trim())
    if (this.nrOnline() === target) await this.removeOffline()
    if (this.nrOnline() === target) this.blockedBy.length = 0
    else if (this.blockedBy.length === 0) {
      this.blockedBy.push({ device: 'memory', reason: 'another operator has changed its size' })
    }
    limit.reportDone(this.nrMoved, this.nrLeft(), hotplug.geometry.pageSize)
  }

  /** Pages of blocks that are still to come or go. */
  private nrLeft(): number {
    return Math.abs(this.nrOnline() - this.target) * this.hotplug.geometry.pagesPerBlock
  }

  private report(nrPages = 0): void {
    this.nrMoved += nrPages
    this.limit.report(this.nrMoved, this.nrLeft(), this.hotplug.geometry.pageSize)
  }

  /** After a block: how many were online before it. */
  private reportSince(before: number): void {
    this.report(this.nrOnline() === before ? 0 : this.hotplug.geometry.pagesPerBlock)
  }

  /** What is free in blocks that stay gives its memory back. */
  private async trim(): Promise<void> {
    const { blocks, geometry, requests } = this.hotplug
    for (const block of blocks.in(BlockState.Online)) {
      this.limit.check()
      const args = [block]
      const answer = await exclusively(this.hotplug, this.limit, () =>
        requests.askAsync({ kind: RequestKind.Trim, args }),
      )
      const bytes = answer[0]! * DISCARD_UNIT
      this.returnedBytes += bytes
      this.report(Math.floor(bytes / geometry.pageSize))
    }
  }

  private async grow(type: OnlineType): Promise<void> {
    const { hotplug, limit } = this
    while (this.isWanted() && this.nrOnline() < this.target && this.blockedBy.length === 0) {
      const before = this.nrOnline()
      const offline = hotplug.blocks.in(BlockState.Offline).find(one => !this.refused.has(one))
      if (offline === undefined) await this.addOne(type)
      else await this.attempt(offline, () => onlineBlock(hotplug, offline, type, limit.rest()))
      this.reportSince(before)
    }
  }

  /** A new block, online; if it cannot go online, it leaves again. */
  private async addOne(type: OnlineType): Promise<void> {
    const { hotplug, limit } = this
    await this.attempt(-1, async () => {
      const [block] = await addMemory(hotplug, hotplug.geometry.blockSize, limit.rest())
      try {
        await this.attempt(block!, () => onlineBlock(hotplug, block!, type, limit.rest()))
      } finally {
        const isOffline = hotplug.blocks.state(block!) === BlockState.Offline
        if (isOffline) await removeBlock(hotplug, block!).catch(() => {}) // or another has it
      }
    })
  }

  private async shrink(): Promise<void> {
    const { hotplug, limit } = this
    while (this.isTooMuch()) {
      const before = this.nrOnline()
      const block = this.leastUsed()
      if (block === -1) break
      if (!this.fits()) {
        const used = this.usedPages() * hotplug.geometry.pageSize
        this.blockedBy.push({ device: 'memory', reason: `${sizeText(used)} are in use` })
        break
      }
      await this.attempt(block, async () => {
        await offlineBlock(hotplug, block, limit.rest(), () => this.isTooMuch())
        this.returnedBytes += await removeBlock(hotplug, block, limit.rest())
      })
      this.reportSince(before)
    }
  }

  /** Whether a block is to go, and nothing stands in the way of each. */
  private isTooMuch(): boolean {
    const isBlocked = this.blockedBy.some(({ device }) => device === 'memory')
    return this.isWanted() && this.nrOnline() > this.target && !isBlocked
  }

  /** Whether this is the last size that was asked for: of two, the later one goes on. */
  private isWanted(): boolean {
    return load(this.hotplug.blocks.control.events, REQUESTED_BLOCKS) === this.target
  }

  /** Blocks that were offline already go, if there are more than asked for. */
  private async removeOffline(): Promise<void> {
    for (const block of this.hotplug.blocks.in(BlockState.Offline)) {
      await this.attempt(block, async () => {
        this.returnedBytes += await removeBlock(this.hotplug, block, this.limit.rest())
      })
    }
  }

  /** Tries a block, or, if -1, anything; what stands in the way is noted. */
  private async attempt(block: number, body: () => Promise<void>): Promise<void> {
    try {
      this.limit.check()
      await body()
    } catch (error) {
      if (this.limit.isAborted()) this.limit.end()
      if (!(error instanceof HotplugError) || this.isFinal(error)) throw error
      const { code, blockedBy = [] } = error
      if (block !== -1) this.refused.add(block)
      if (blockedBy.length === 0 && TAKEN.includes(code) && block !== -1) return
      const device = code === 'ETIMEDOUT' || block === -1 ? 'memory' : blockName(block)
      if (code === 'ETIMEDOUT' || blockedBy.length === 0) {
        this.blockedBy.push({ device, reason: error.message })
      }
      this.blockedBy.push(...blockedBy)
    }
  }

  /** Whether nothing else is worth a try: this is called by a notifier, or the machine is gone. */
  private isFinal({ code, blockedBy = [] }: HotplugError): boolean {
    if (isGone(this.hotplug)) return true
    return code === 'EDEADLK' && blockedBy.length === 0
  }

  /** Heaps take fewer pages, until what is in use fits, or nothing is to be gained. */
  private async compact(): Promise<void> {
    const { geometry, requests } = this.hotplug
    const room = this.target * nrManagedPages(geometry)
    const insider = new Insider()
    let isDrained = false
    for (let round = 1; ; round++) {
      const wanted = Math.max(0, this.nrOnline() * nrManagedPages(geometry) - room)
      const args = [wanted, isDrained ? 0 : 1]
      const answer: number[] = await exclusively(this.hotplug, this.limit, () =>
        requests.askAsync({ kind: RequestKind.Compact, args }),
      )
      const [hasMore, isFree] = [answer[0] === 1, answer[1] === 1]
      const inside = answer[3]!
      insider.note(inside)
      isDrained ||= inside === -1
      this.report(answer[2]!)
      if (!hasMore || round >= (isFree ? TIDY_ROUNDS : ROUNDS_MAX)) return
      this.limit.check(() => insider.blockers('memory'))
    }
  }

  private leastUsed(): number {
    const { blocks } = this.hotplug
    const online = blocks.in(BlockState.Online).filter(block => !this.refused.has(block))
    const cost = (block: number): number => {
      const isNormal = blocks.zoneKind(block) === ZoneKind.Normal
      return blocks.usedPages(block) + (isNormal ? this.hotplug.geometry.pagesPerBlock : 0)
    }
    return online.reduce((best, block) => {
      return best === -1 || cost(block) <= cost(best) ? block : best
    }, -1)
  }

  private usedPages(): number {
    const { blocks } = this.hotplug
    const online = blocks.online()
    return online.reduce((sum, block) => sum + blocks.usedPages(block), 0)
  }

  /** Whether what is in use fits into one block less, with room to work in. */
  private fits(): boolean {
    const room = (this.nrOnline() - 1) * nrManagedPages(this.hotplug.geometry)
    return this.usedPages() <= room * (1 - SPARE_PART)
  }
}
