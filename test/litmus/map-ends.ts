/*
 * What must hold of one bucket of a map when all threads of a model have ended: words that belong
 * together agree, and nothing is lost.
 */
import {
  addressesOf,
  COUNT,
  ENTRY_HASH,
  ENTRY_HEADER_WORDS,
  ENTRY_KIND_MASK,
  ENTRY_SIZES,
  EntryKind,
  EPOCH,
  FULL,
  homeOf,
  KEY_BYTES_MASK,
  LIMIT,
  LOCK,
  STAMPS,
  TABLE,
  TOMBSTONE,
  USED,
  unitsOf,
  VALUE_BYTES_SHIFT,
  wordsOf,
} from '../../src/collections/layout.ts'
import {
  FREE_LIST_HEADS,
  type Geometry,
  PAGE_RECORD_WORDS,
  PageState,
  PTE,
  RETIRE_HEAD,
  STATE_BITS,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_LIVE,
  VIRTUAL_OWNER,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
} from '../../src/mm/geometry.ts'
import { pfnOf } from '../../src/mm/page-table.ts'
import { kindOfOwner, OWNER_RUN_SHIFT } from '../../src/mm/virtual-pages.ts'

type View = Readonly<Record<number, number>>

/** The words of a state. */
export interface Seen {
  readonly t: View
  readonly e: View
  readonly f: View
  readonly c: View
  readonly h: View
}

/** How a model may end. */
export interface EndOptions {
  /** How often the table may have been replaced; never if left out. */
  readonly changes?: readonly number[]
  /** Somebody may have died: LIVE may be too high, and empty pages are found later. */
  readonly isDeadly?: boolean
  /** Frames are moved by the model itself: they do not say of which page they are. */
  readonly isMoved?: boolean
  /** Somebody stopped in the middle, and nobody recovers: only what else must hold is looked at. */
  readonly isCut?: boolean
  /** What each key has in the end, if that is certain: keys and values of one word. */
  readonly content?: readonly (readonly [number, number])[]
  /** What else must hold. */
  also?(s: Seen, content: ReadonlyMap<number, number>): boolean
}

interface Whole extends EndOptions {
  readonly geometry: Geometry
  /** EPOCH at first. */
  readonly epoch: number
}

/** What the table names. */
interface Named {
  /** The table has so many slots; not empty are so many. */
  readonly nrSlots: number
  readonly nrUsed: number
  /** By page: units that are live. */
  readonly live: ReadonlyMap<number, number>
  /** Whole pages. */
  readonly pages: ReadonlySet<number>
  /** By key: the value's first word, or a large value's stamp. */
  readonly content: ReadonlyMap<number, number>
  /** Every entry is found by its hash, on a page that says that it is in use. */
  readonly isFound: boolean
  readonly stamps: ReadonlySet<number>
}

/** Whether table, counts, pages and frames agree. */
export function isWhole(s: Seen, options: Whole): boolean {
  const { changes = [0], epoch, content } = options
  if (options.isCut) return options.also?.(s, new Map()) ?? true
  const named = namedBy(s, options.geometry)
  if (s.c[LOCK] !== 0 && options.isDeadly !== true) return false
  if (!changes.includes(s.c[EPOCH]! - epoch)) return false
  if (!areCountsRight(s, named) || !named.isFound) return false
  if (!arePagesRight(s, named, options) || !areFramesRight(s, options)) return false
  if (content !== undefined) {
    if (named.content.size !== content.length) return false
    if (!content.every(([key, value]) => named.content.get(key) === value)) return false
  }
  return options.also?.(s, named.content) ?? true
}

function namedBy(s: Seen, geometry: Geometry): Named {
  const { unitsPerPageShift, pageWordsShift } = geometry
  const { addressMask } = addressesOf(geometry)
  const table = s.c[TABLE]!
  const live = new Map<number, number>()
  const pages = new Set<number>()
  const content = new Map<number, number>()
  const stamps = new Set<number>()
  const vpn = table >>> unitsPerPageShift
  const isRun = table !== 0 && (table & ((1 << unitsPerPageShift) - 1)) === 0
  let nrSlots = 0
  if (isRun) {
    const nrPages = recordOf(s, vpn, VIRTUAL_OWNER) >>> OWNER_RUN_SHIFT
    nrSlots = nrPages << pageWordsShift
    for (let i = 0; i < nrPages; i++) pages.add(vpn + i)
  } else if (table !== 0) {
    const sizes = s.f[indexOf(s, geometry, table) + ENTRY_SIZES]!
    nrSlots = sizes >>> (VALUE_BYTES_SHIFT + 2)
    live.set(vpn, unitsOf(sizes))
  }
  const slotAt = (i: number): number => {
    if (!isRun) return s.f[indexOf(s, geometry, table) + ENTRY_HEADER_WORDS + i]!
    const page = (vpn + (i >>> pageWordsShift)) << unitsPerPageShift
    return s.f[indexOf(s, geometry, page) + (i & ((1 << pageWordsShift) - 1))]!
  }
  let nrUsed = 0
  let isFound = true
  for (let i = 0; i < nrSlots; i++) {
    const slot = slotAt(i)
    if (slot !== 0) nrUsed++
    if (slot === 0 || slot === TOMBSTONE) continue
    const address = slot & addressMask
    const entry = entryAt(s, geometry, address)
    const page = address >>> unitsPerPageShift
    live.set(page, (live.get(page) ?? 0) + entry.units)
    for (let at = homeOf(entry.hash, nrSlots); at !== i; at = (at + 1) % nrSlots) {
      if (slotAt(at) === 0) isFound = false
    }
    if (content.has(entry.key) || !entry.isOnPage) isFound = false
    content.set(entry.key, entry.value)
    for (const chunk of entry.pages) pages.add(chunk)
    if (entry.pages.length > 0) stamps.add(entry.value)
  }
  return { nrSlots, nrUsed, live, pages, content, isFound, stamps }
}

function entryAt(s: Seen, geometry: Geometry, address: number) {
  const at = indexOf(s, geometry, address)
  const unit = address & ((1 << geometry.unitsPerPageShift) - 1)
  const sizes = s.f[at + ENTRY_SIZES]!
  const units = unitsOf(sizes)
  const valueAt = at + ENTRY_HEADER_WORDS + wordsOf(sizes & KEY_BYTES_MASK)
  const pages: number[] = []
  if ((sizes & ENTRY_KIND_MASK) === EntryKind.Large) {
    const end = valueAt + (sizes >>> (VALUE_BYTES_SHIFT + 2))
    for (let run = valueAt + 2; run < end; run += 2) {
      for (let i = 0; i < s.f[run + 1]!; i++) pages.push(s.f[run]! + i)
    }
  }
  const used = s.f[indexOf(s, geometry, address - unit)]!
  return {
    hash: s.f[at + ENTRY_HASH]!,
    key: s.f[at + ENTRY_HEADER_WORDS]!,
    value: s.f[valueAt]!,
    units,
    pages,
    isOnPage: unit + units <= used,
  }
}

function areCountsRight(s: Seen, { nrSlots, nrUsed, content, stamps }: Named): boolean {
  const isCounted = s.c[COUNT] === content.size && s.c[USED] === nrUsed
  const isLimited =
    s.c[LIMIT] === Math.floor(nrSlots * 0.8) && s.c[FULL] === Math.floor(nrSlots * 0.9)
  const large = [...stamps]
  return isCounted && isLimited && large.every(stamp => stamp >= 0 && stamp < s.c[STAMPS]!)
}

function arePagesRight(s: Seen, { live, pages }: Named, { isDeadly = false }: Whole): boolean {
  const stacked: number[] = []
  for (let vpn = s.e[RETIRE_HEAD]!; vpn !== 0; vpn = recordOf(s, vpn, VIRTUAL_LIVE)) {
    if (stacked.includes(vpn)) return false
    stacked.push(vpn)
  }
  for (let vpn = 1; vpn < s.e[VIRTUAL_HIGH]!; vpn++) {
    const state = recordOf(s, vpn, VIRTUAL_STATE) & STATE_MASK
    const isEntries = kindOfOwner(recordOf(s, vpn, VIRTUAL_OWNER)) === VirtualKind.Entries
    const named = live.get(vpn) ?? 0
    const isNamed = isEntries ? named > 0 : pages.has(vpn)
    if (state === VirtualState.Reserved && !isDeadly) return false
    if (state === VirtualState.Free || state === VirtualState.Retired) {
      if (isNamed || (state === VirtualState.Retired) !== stacked.includes(vpn)) return false
      continue
    }
    if (stacked.includes(vpn)) return false
    if (isEntries) {
      const units = recordOf(s, vpn, VIRTUAL_LIVE)
      if (units < named || (units !== named && !isDeadly)) return false
    }
    if (state === VirtualState.Sealed && !isNamed && !(isDeadly && isEntries)) return false
  }
  return true
}

function areFramesRight(s: Seen, { geometry, isDeadly, isMoved }: Whole): boolean {
  if (isDeadly || isMoved) return true
  const { memmapPages, nrFrames } = geometry
  let nrTaken = 0
  for (let pfn = memmapPages; pfn < nrFrames; pfn++) if (frameWord(s, pfn) !== 0) nrTaken++
  for (let vpn = 1; vpn < geometry.nrVirtual; vpn++) {
    const pte = recordOf(s, vpn, PTE)
    if (pte === 0) continue
    nrTaken--
    if (frameWord(s, pfnOf(pte)) !== ((vpn << STATE_BITS) | PageState.Mapped)) return false
  }
  return nrTaken === 0
}

function frameWord(s: Seen, pfn: number): number {
  return s.f[FREE_LIST_HEADS + pfn * PAGE_RECORD_WORDS]!
}

function recordOf(s: Seen, vpn: number, word: number): number {
  return s.t[vpn * VIRTUAL_RECORD_WORDS + word]!
}

/** Where in the frames an address is. */
function indexOf(s: Seen, geometry: Geometry, address: number): number {
  const { unitsPerPageShift, pageWords } = geometry
  const pte = recordOf(s, address >>> unitsPerPageShift, PTE)
  return pfnOf(pte) * pageWords + (address & ((1 << unitsPerPageShift) - 1)) * 4
}
