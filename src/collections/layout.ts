/*
 * What lies where in a map: its shards in control memory, its entries and tables on pages.
 *
 *     shard   16 words of control memory, a cache line: lock, address of its table, counts
 *     table   open-addressed array of slot words, on an entries page or on a run of whole pages
 *     slot    0 empty, TOMBSTONE, or the address of an entry, with a tag of its hash above
 *     entry   header of two words, then the key, then the value, each padded to words
 *
 * An entries page begins with one unit that says how many units are in use; entries follow, each
 * at a unit. A table on an entries page is an entry without a key, whose value are its slots.
 */
import type { Words } from '#atomics'
import type { Guard } from '../locking/guard.ts'
import type { Lockdep } from '../locking/lockdep.ts'
import { CACHE_LINE_WORDS, type Slot } from '../locking/slots.ts'
import type { Frames, Geometry, MemoryControl } from '../mm/geometry.ts'
import type { VirtualPages } from '../mm/virtual-pages.ts'

/** Maps that a machine can have. */
export const MAPS_MAX = 256
/** Shards of a map. */
export const SHARDS = 256

/** Words of a shard: a cache line. */
export const SHARD_WORDS = CACHE_LINE_WORDS
/** Mutex: who changes the shard's table, and all below. */
export const LOCK = 0
/** Address of the shard's table; 0: none yet. */
export const TABLE = 1
/** Keys in the table. */
export const COUNT = 2
/** Slots that are not empty. */
export const USED = 3
/** With so many slots used the table should grow. */
export const LIMIT = 4
/** With so many slots used it must. */
export const FULL = 5
/** Changes just before `TABLE` does. */
export const EPOCH = 6
/** Stamps of large values that were given out. */
export const STAMPS = 7

/** Bits of a hash that choose the shard. What is above chooses the slot. */
export const SHARD_BITS = 8

/** In a slot: here was an entry, go on. Its vpn, 0, is never given out. */
export const TOMBSTONE = 1

/** Slots of a table that are looked at in one section of the guard. */
export const SECTION_SLOTS = 512

/** Entry's word 0: the key's hash; a table's shard. */
export const ENTRY_HASH = 0
/** Entry's word 1: key bytes, `EntryKind << 12`, value bytes << 14. */
export const ENTRY_SIZES = 1
/** Words before the key. */
export const ENTRY_HEADER_WORDS = 2
/** Bits of a length of keys. */
export const KEY_BYTES_MASK = 0xfff
/** The longest key, in bytes of UTF-8. */
export const KEY_BYTES_MAX = KEY_BYTES_MASK
/** Bits of the kind, in place. */
export const ENTRY_KIND_MASK = 3 << 12
/** Where the length of the value begins. */
export const VALUE_BYTES_SHIFT = 14

/** What an entry is; in place in its word 1. */
export const EntryKind = {
  Small: 0,
  /** Its value are slots. */
  Table: 1 << 12,
  /** Its value says on which pages the value is. */
  Large: 2 << 12,
} as const

/** Entries page's word 0: units in use, this one included. */
export const PAGE_USED = 0
/** Units before the first entry. */
export const PAGE_HEADER_UNITS = 1

/** Words that hold `nrBytes` bytes. */
export function wordsOf(nrBytes: number): number {
  return (nrBytes + 3) >>> 2
}

/** Units of an entry whose word 1 is `sizes`. */
export function unitsOf(sizes: number): number {
  const keyWords = wordsOf(sizes & KEY_BYTES_MASK)
  return (ENTRY_HEADER_WORDS + keyWords + wordsOf(sizes >>> VALUE_BYTES_SHIFT) + 3) >>> 2
}

/** Shared memory of a machine's collections. Cloneable. */
export interface CollectionsControl {
  /** `SHARD_WORDS` a shard, `nrShards` a map. */
  readonly shards: Words
  readonly nrShards: number
  /** Names of the maps; see registry.ts. */
  readonly registry: Words
  /** What hashes begin with, so that nobody outside can make keys collide. */
  readonly seed: number
}

/** What collections need of the machine, as one thread has it. */
export interface CollectionsContext {
  readonly slot: Slot
  readonly guard: Guard
  readonly memory: MemoryControl
  readonly control: CollectionsControl
  readonly frames: Frames
  readonly pages: VirtualPages
  /** Lockdep's hand of this thread; null: it is off. */
  readonly lockdep: Lockdep | null
  /** Called when there is no page. @returns Whether some may have been freed: try again. */
  onNoRoom(): boolean
  /**
   * Throws once the machine is shut down: asked when a key is not there, when a page was mapped,
   * and by what takes long anyway.
   */
  readonly assertOpen?: () => void
  /** As `assertOpen`, before each sleep until the service thread has moved a page. */
  readonly onWait?: () => void
}

/** How addresses and slots are taken apart. */
export interface Addresses {
  /** Units of a page, as a shift and as a mask. */
  readonly unitShift: number
  readonly unitMask: number
  /** Bits of an address; above it a slot has a tag. */
  readonly addressBits: number
  readonly addressMask: number
  readonly tagMask: number
}

/** @returns How addresses are taken apart in memory so divided. */
export function addressesOf({ nrVirtual, unitsPerPageShift }: Geometry): Addresses {
  const addressBits = Math.ceil(Math.log2(nrVirtual)) + unitsPerPageShift
  return {
    unitShift: unitsPerPageShift,
    unitMask: (1 << unitsPerPageShift) - 1,
    addressBits,
    addressMask: addressBits >= 32 ? -1 : (1 << addressBits) - 1,
    tagMask: addressBits >= 32 ? 0 : (1 << Math.min(16, 32 - addressBits)) - 1,
  }
}

/**
 * Whether the table at `address` is a run of whole pages: it begins with the first unit of one, and
 * no entry does.
 */
export function isRun(address: number, unitMask: number): boolean {
  return (address & unitMask) === 0
}

const HOME_SCALE = 2 ** (SHARD_BITS - 32)
const HOME_SLOTS_MAX = 0xffff

/** The slot where the search for a hash begins, in a table of `nrSlots`. */
export function homeOf(hash: number, nrSlots: number): number {
  if (nrSlots <= HOME_SLOTS_MAX) return Math.imul(hash >>> 16, nrSlots) >>> 16
  return ((hash >>> SHARD_BITS) * nrSlots * HOME_SCALE) | 0
}

/** Slots of a table that is an entry whose word 1 is `sizes`. */
export function nrSlotsOf(sizes: number): number {
  return sizes >>> (VALUE_BYTES_SHIFT + 2)
}
