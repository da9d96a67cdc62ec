/*
 * How memory is divided, and what lies where in the control buffer.
 *
 *     block     unit that comes and goes; begins with the records of its own pages (memmap)
 *     page      unit that is mapped and moved: a page frame, by its number (pfn)
 *     unit      16 bytes: what heap addresses count
 *
 *     pfn       = block << pagesPerBlockShift | page in the block
 *     address   = virtual page (vpn) << unitsPerPageShift | unit in the page; 32 bits, 0 is null
 *
 * Every word that anyone waits on is in the control buffer, which never moves and never leaves.
 */
import type { Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { sizeText } from '../lib/units.ts'
import { CACHE_LINE_WORDS } from '../locking/slots.ts'

/** Bytes of a unit. */
export const UNIT_BYTES = 16
/** Words of a unit. */
export const UNIT_WORDS = UNIT_BYTES / 4

const PAGE_MIN = 4096
const PAGE_MAX = 65536
const BLOCK_MIN = 4 * 1024 * 1024
const BLOCK_MAX = 1024 * 1024 * 1024
const PAGES_PER_BLOCK_MAX = 65536
/** Blocks that one machine can have. */
export const BLOCKS_MAX = 16384

/** Sizes of one machine's memory; all in bytes, powers of two but `maxMemory`. */
export interface MemorySizes {
  readonly pageSize: number
  readonly blockSize: number
  /** What is reserved: a multiple of `blockSize`. */
  readonly maxMemory: number
}

/** Sizes, and what follows from them. Cloneable. */
export interface Geometry extends MemorySizes {
  readonly pageWords: number
  /** log2 of `pageWords`. */
  readonly pageWordsShift: number
  readonly blockWords: number
  readonly pagesPerBlock: number
  readonly pagesPerBlockShift: number
  readonly nrBlocks: number
  readonly nrFrames: number
  /** log2 of the units of a page. */
  readonly unitsPerPageShift: number
  /** Virtual pages; vpn 0 is never given out. */
  readonly nrVirtual: number
  /** Pages at the beginning of a block that hold the records of its pages. */
  readonly memmapPages: number
}

/** Free-list heads at the beginning of a block, before the records of its pages. */
export const FREE_LIST_HEADS = 32
/** Words of a page's record. */
export const PAGE_RECORD_WORDS = 2

/**
 * @throws {HotplugError} `EINVAL`: a size is not a power of two, out of bounds, or does not fit the
 *   others.
 */
export function geometryOf(sizes: MemorySizes): Geometry {
  const { pageSize, blockSize, maxMemory } = sizes
  requirePowerOfTwo('pageSize', pageSize, PAGE_MIN, PAGE_MAX)
  requirePowerOfTwo('blockSize', blockSize, BLOCK_MIN, BLOCK_MAX)
  const pagesPerBlock = blockSize / pageSize
  if (pagesPerBlock > PAGES_PER_BLOCK_MAX) {
    refuse(`${pagesPerBlock} pages a block are more than ${PAGES_PER_BLOCK_MAX}`)
  }
  const nrBlocks = maxMemory / blockSize
  if (!Number.isInteger(nrBlocks) || nrBlocks < 1) {
    refuse(`maxMemory ${maxMemory} is not a multiple of blockSize ${sizeText(blockSize)}`)
  }
  if (nrBlocks > BLOCKS_MAX) {
    refuse(`${nrBlocks} blocks are more than ${BLOCKS_MAX}: ask for a larger blockSize`)
  }
  const nrFrames = nrBlocks * pagesPerBlock
  const memmapWords = FREE_LIST_HEADS + pagesPerBlock * PAGE_RECORD_WORDS
  return {
    pageSize,
    blockSize,
    maxMemory,
    pageWords: pageSize / 4,
    pageWordsShift: Math.log2(pageSize / 4),
    blockWords: blockSize / 4,
    pagesPerBlock,
    pagesPerBlockShift: Math.log2(pagesPerBlock),
    nrBlocks,
    nrFrames,
    unitsPerPageShift: Math.log2(pageSize / UNIT_BYTES),
    nrVirtual: Math.min(nrFrames, 2 ** 32 / (pageSize / UNIT_BYTES)),
    memmapPages: Math.ceil(memmapWords / (pageSize / 4)),
  }
}

function requirePowerOfTwo(name: string, size: number, min: number, max: number): void {
  const isPowerOfTwo = Number.isInteger(size) && size > 0 && Number.isInteger(Math.log2(size))
  if (isPowerOfTwo && size >= min && size <= max) return
  refuse(`${name} ${size} is not a power of two from ${sizeText(min)} to ${sizeText(max)}`)
}

function refuse(reason: string): never {
  throw new HotplugError('EINVAL', 'divide memory', reason)
}

/** A virtual page's record: 4 words at `vpn * VIRTUAL_RECORD_WORDS` of `pageTable`. */
export const VIRTUAL_RECORD_WORDS = 4
/** 0, or `(pfn + 1) << 1 | WRITE_PROTECTED`. */
export const PTE = 0
/** `VirtualState | token << 3`. */
export const VIRTUAL_STATE = 1
/** 0, or `nrPages << 11 | map << 3 | VirtualKind`: of how many pages the run is that it is of. */
export const VIRTUAL_OWNER = 2
/**
 * Entries: units that are in use, or will be. Table: its shard. Chunk: its key's hash.
 * While Retired: the retire stack's link.
 */
export const VIRTUAL_LIVE = 3

/** In a PTE: readers go on, writers leave the guard and wait. */
export const WRITE_PROTECTED = 1

/** What a virtual page is. */
export const VirtualState = {
  Free: 0,
  /** Taken by the thread that the token names; nobody else can reach it. */
  Reserved: 1,
  /** The thread that the token names appends to it. */
  Open: 2,
  /** Nobody appends to it. */
  Sealed: 3,
  /** Nobody can reach it who does not look at it already; free after a grace period. */
  Retired: 4,
} as const

/** What is on a virtual page. */
export const VirtualKind = { Entries: 1, Table: 2, Chunk: 3 } as const

/** A page's own record in its block's memmap: state and payload; link of free lists. */
export const PAGE_WORD = 0
/** Next and previous of a free list. */
export const PAGE_LINK = 1
/** Low bits of a page word and of `VIRTUAL_STATE` that hold the state. */
export const STATE_BITS = 3
/** The same, as a mask. */
export const STATE_MASK = (1 << STATE_BITS) - 1

/** What a page frame is; the payload of its word stands beside each. */
export const PageState = {
  /** Inside a larger free chunk. */
  Tail: 0,
  /** First page of a free chunk: its order. */
  Free: 1,
  /** On the per-CPU list of a thread: its token. */
  Percpu: 2,
  /** Taken, not mapped yet: the taker's token. */
  Allocated: 3,
  /** Reached through the page table: its vpn. */
  Mapped: 4,
  /** Holds the records of the block's pages: nothing. */
  Reserved: 5,
  /** Raw memory that cannot move: the number of its pin record. */
  Raw: 6,
} as const

/** A block's record: 16 words at `block * BLOCK_RECORD_WORDS` of `blocks`. */
export const BLOCK_RECORD_WORDS = CACHE_LINE_WORDS
/** A `BlockState`. Changes under `memAddRemoveLock` and `memHotplugLock`. */
export const BLOCK_STATE = 0
/** A `ZoneKind`, while it is on the way to online, online, or on the way to offline. */
export const BLOCK_ZONE = 1
/** Free pages in its buddy lists. Changes under the zone's lock, as the next. */
export const BLOCK_FREE = 2
/** Not 0: gives out no page, keeps each page freed into it. */
export const BLOCK_ISOLATED = 3
/** Counts how often the block was added. */
export const BLOCK_EPOCH = 4

/** What a block is. */
export const BlockState = {
  Absent: 0,
  Adding: 1,
  Offline: 2,
  GoingOnline: 3,
  Online: 4,
  GoingOffline: 5,
  Removing: 6,
} as const

/** Where pages come from: what cannot move, and what can. */
export const ZoneKind = { Normal: 0, Movable: 1 } as const
/** How many zones there are. */
export const NR_ZONES = 2

/** A zone's record: 16 words at `zone * ZONE_RECORD_WORDS` of `zones`. */
export const ZONE_RECORD_WORDS = CACHE_LINE_WORDS
/** Mutex: the zone's lock. */
export const ZONE_LOCK = 0
/** No block below has a free page that can be given out. */
export const ZONE_HINT = 1
/** 0, or the block whose lists are being changed, + 1. */
export const ZONE_DIRTY = 2
/** Free pages in the buddy lists of its blocks that are not isolated. */
export const ZONE_FREE = 3

/** Changes whenever write protection is taken away; writers wait on it. In `events`. */
export const WRITE_PROTECT_EVENT = 0
/** Head of the stack of retired virtual pages: vpn, or 0. In `events`. */
export const RETIRE_HEAD = CACHE_LINE_WORDS
/** How many pages were ever retired. In `events`, as the next. */
export const RETIRED_PAGES = RETIRE_HEAD + 1
/** No virtual page from this number on was ever taken. In `events`. */
export const VIRTUAL_HIGH = 3 * CACHE_LINE_WORDS
/** Where to look for a free virtual page first; a hint. In `events`. */
export const VIRTUAL_HINT = VIRTUAL_HIGH + 1
/** Not 0: per-CPU page lists are not to be used. */
export const PERCPU_DISABLED = 2 * CACHE_LINE_WORDS
/** Pages of online blocks, but those that hold records. Changes under `memHotplugLock`. */
export const ONLINE_PAGES = 4 * CACHE_LINE_WORDS
/** What was asked for last, by boot or resize, in blocks. */
export const REQUESTED_BLOCKS = ONLINE_PAGES + 1
/** 0, or the token of who is changing the blocks' states. Changes under `memHotplugLock`. */
export const CHANGED_BY = ONLINE_PAGES + 2
/** What notifiers are still to be told the end of: see ends.ts. */
export const GOING = ONLINE_PAGES + 3
/** No block from this number on was ever added. Changes under `memHotplugLock`. */
export const BLOCKS_HIGH = ONLINE_PAGES + 4
/** What is asked of the service thread (requests.ts). */
export const REQUESTS = 5 * CACHE_LINE_WORDS
/** Requests for room (service thread: unmap, compact), counted as barriers are. */
export const RECLAIM = 8 * CACHE_LINE_WORDS
const EVENT_WORDS = 10 * CACHE_LINE_WORDS

/** A thread's list of free pages of one zone: a count, a token, then page frame numbers. */
export const PERCPU_LIST_WORDS = 2 * CACHE_LINE_WORDS

/** Shared memory of one machine's memory management. Cloneable. */
export interface MemoryControl {
  readonly geometry: Geometry
  readonly zones: Words
  readonly blocks: Words
  readonly pageTable: Words
  readonly events: Words
  /** `PERCPU_LIST_WORDS` a zone, for each slot. */
  readonly percpu: Words
}

/** Zeroed shared memory for `nrSlots` threads: everything absent. */
export function makeMemoryControl(geometry: Geometry, nrSlots: number): MemoryControl {
  const words = (nrWords: number): Words => new Int32Array(new SharedArrayBuffer(nrWords * 4))
  return {
    geometry,
    zones: words(NR_ZONES * ZONE_RECORD_WORDS),
    blocks: words(geometry.nrBlocks * BLOCK_RECORD_WORDS),
    pageTable: words(geometry.nrVirtual * VIRTUAL_RECORD_WORDS),
    events: words(EVENT_WORDS),
    percpu: words(nrSlots * NR_ZONES * PERCPU_LIST_WORDS),
  }
}

/** The blocks' memory, as one thread sees it: a view per block, made when it is first touched. */
export interface Frames {
  /** All of the block's words. The view stays valid; what it shows may leave. */
  block(block: number): Words
}
