/*
 * Buddy lists of one block: its free pages as chunks of 2^order pages, each at a multiple of its
 * size. Two halves of a chunk are each other's buddies: page numbers that differ in one bit.
 *
 *     take   the smallest chunk that is large enough leaves its list; while it is too large, its
 *            upper half goes back
 *     give   while the buddy is free and whole it leaves its list, and both are one
 *
 * A list is linked through LINK of the first pages of its chunks: next in the low half, previous in
 * the high half, 0 for none. Lists never leave the block, so that a block goes by being skipped.
 *
 * All of it changes under the zone's lock. WORD alone is the truth: a page is free if its WORD is
 * Tail or Free, whichever of the two; `rebuildLists` makes the rest from that. In particular a
 * chunk that is being taken or given when a thread dies is free page by page, or not.
 *
 * Checked by buddy.check.ts.
 */
import { load, store, type Words } from '#atomics'
import { FREE_LIST_HEADS, type Geometry, PAGE_LINK, PAGE_WORD, PageState } from './geometry.ts'
import { isFreeWord, pageWord, recordOfPage } from './memmap.ts'

const NEXT_MASK = 0xffff
const PREVIOUS_SHIFT = 16
const TAIL = pageWord(PageState.Tail, 0)

/**
 * Takes 2^`order` pages; the WORD of each becomes `word`.
 *
 * @returns The first page, or 0: no chunk is large enough.
 */
export function takeChunk(memmap: Words, geometry: Geometry, order: number, word: number): number {
  for (let found = order; found < geometry.pagesPerBlockShift; found++) {
    const page = load(memmap, found)
    if (page === 0) continue
    unlink(memmap, page, found)
    for (let half = found - 1; half >= order; half--) link(memmap, page + (1 << half), half)
    for (let i = page; i < page + (1 << order); i++) storeWord(memmap, i, word)
    return page
  }
  return 0
}

/** The 2^`order` pages from `page` on become free. */
export function giveChunk(memmap: Words, page: number, order: number): void {
  for (let i = page; i < page + (1 << order); i++) storeWord(memmap, i, TAIL)
  let first = page
  let whole = order
  for (;;) {
    const buddy = first ^ (1 << whole)
    const buddyWord = load(memmap, recordOfPage(buddy) + PAGE_WORD)
    if (buddyWord !== pageWord(PageState.Free, whole)) break // at the latest that of page 0
    unlink(memmap, buddy, whole)
    storeWord(memmap, buddy, TAIL)
    first &= ~(1 << whole)
    whole++
  }
  link(memmap, first, whole)
}

/**
 * Makes the lists from the words of the pages.
 *
 * @returns How many pages are free.
 */
export function rebuildLists(memmap: Words, geometry: Geometry): number {
  for (let order = 0; order < FREE_LIST_HEADS; order++) store(memmap, order, 0)
  let nrFree = 0
  let page = geometry.memmapPages
  while (page < geometry.pagesPerBlock) {
    const end = endOfRun(memmap, geometry, page)
    nrFree += end - page
    linkRun(memmap, page, end)
    page = end + 1 // `end` is not free
  }
  return nrFree
}

/** No page is in a list any more. Call with all pages free. */
export function forgetLists(memmap: Words, geometry: Geometry): void {
  for (let order = 0; order < FREE_LIST_HEADS; order++) store(memmap, order, 0)
  endOfRun(memmap, geometry, geometry.memmapPages)
}

/** How many pages are free, by their words. */
export function countFree(memmap: Words, geometry: Geometry): number {
  let nrFree = 0
  for (let page = geometry.memmapPages; page < geometry.pagesPerBlock; page++) {
    const word = load(memmap, recordOfPage(page) + PAGE_WORD)
    if (isFreeWord(word)) nrFree++
  }
  return nrFree
}

/** The first page from `page` on that is not free. Those before become Tail. */
function endOfRun(memmap: Words, geometry: Geometry, page: number): number {
  let end = page
  for (; end < geometry.pagesPerBlock; end++) {
    const word = load(memmap, recordOfPage(end) + PAGE_WORD)
    if (!isFreeWord(word)) break
    if (word !== TAIL) storeWord(memmap, end, TAIL)
  }
  return end
}

/** Links [`page`, `end`) as the largest chunks that fit. */
function linkRun(memmap: Words, page: number, end: number): void {
  let first = page
  while (first < end) {
    const alignment = 31 - Math.clz32(first & -first)
    const size = 31 - Math.clz32(end - first)
    const order = Math.min(alignment, size)
    link(memmap, first, order)
    first += 1 << order
  }
}

function link(memmap: Words, page: number, order: number): void {
  const next = load(memmap, order)
  if (next !== 0) setPrevious(memmap, next, page)
  storeLink(memmap, page, next)
  storeWord(memmap, page, pageWord(PageState.Free, order))
  store(memmap, order, page)
}

function unlink(memmap: Words, page: number, order: number): void {
  const links = loadLink(memmap, page)
  const next = links & NEXT_MASK
  const previous = links >>> PREVIOUS_SHIFT
  if (next !== 0) setPrevious(memmap, next, previous)
  if (previous === 0) {
    store(memmap, order, next)
    return
  }
  const before = loadLink(memmap, previous)
  storeLink(memmap, previous, (before & ~NEXT_MASK) | next)
}

function setPrevious(memmap: Words, page: number, previous: number): void {
  const links = loadLink(memmap, page)
  storeLink(memmap, page, (links & NEXT_MASK) | (previous << PREVIOUS_SHIFT))
}

function loadLink(memmap: Words, page: number): number {
  return load(memmap, recordOfPage(page) + PAGE_LINK)
}

function storeLink(memmap: Words, page: number, links: number): void {
  store(memmap, recordOfPage(page) + PAGE_LINK, links)
}

function storeWord(memmap: Words, page: number, word: number): void {
  store(memmap, recordOfPage(page) + PAGE_WORD, word)
}
