/*
 * The records of a block's pages, in the block's own first pages: adding memory needs no memory.
 *
 *     FREE_LIST_HEADS words   first page of each list of free chunks, by order; see buddy.ts
 *     2 words a page          WORD: what the page is; LINK: its place in a free list
 *
 * WORD is the truth. Lists and counters say the same in a form that is quicker to use, and are made
 * anew from the words when a thread has died while it changed them. So a page changes hands by one
 * store, and each value names who answers for the page:
 *
 *     Tail, Free              the zone: nobody has it            changed under the zone's lock
 *     Percpu, Allocated       the thread that the token names    by it; by the zone when it is dead
 *     Mapped, Raw             a virtual page, a pin record       by the service thread
 *     Reserved                this memmap                        never
 *
 * Page 0 of a block is always Reserved, so that 0 is no page in lists.
 */
import { load, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import {
  FREE_LIST_HEADS,
  type Frames,
  type Geometry,
  PAGE_RECORD_WORDS,
  PAGE_WORD,
  PageState,
  STATE_BITS,
  STATE_MASK,
} from './geometry.ts'

/** A page word. */
export function pageWord(state: number, payload: number): number {
  return state | (payload << STATE_BITS)
}

/** What a page is: a `PageState`. */
export function stateOfWord(word: number): number {
  return word & STATE_MASK
}

/** What belongs to the state: a token, a vpn, a record's number. */
export function payloadOfWord(word: number): number {
  return word >>> STATE_BITS
}

/** Whether nobody has the page. */
export function isFreeWord(word: number): boolean {
  const state = stateOfWord(word)
  return state === PageState.Tail || state === PageState.Free
}

/** Index in a block's words of the record of its page `page`. */
export function recordOfPage(page: number): number {
  return FREE_LIST_HEADS + page * PAGE_RECORD_WORDS
}

/** The block of a page frame. */
export function blockOfPfn(geometry: Geometry, pfn: number): number {
  return pfn >>> geometry.pagesPerBlockShift
}

/** Which page of its block a page frame is. */
export function pageOfPfn(geometry: Geometry, pfn: number): number {
  return pfn & (geometry.pagesPerBlock - 1)
}

/** Pages of a block that can be given out. */
export function nrManagedPages(geometry: Geometry): number {
  return geometry.pagesPerBlock - geometry.memmapPages
}

/** The word of a page frame, whose block is there. */
export function loadPageWord(geometry: Geometry, frames: Frames, pfn: number): number {
  const memmap = frames.block(blockOfPfn(geometry, pfn))
  return load(memmap, recordOfPage(pageOfPfn(geometry, pfn)) + PAGE_WORD)
}

/** Says what a page frame is. Call as whoever answers for the page, by what its word was. */
export function storePageWord(geometry: Geometry, frames: Frames, pfn: number, word: number): void {
  const memmap = frames.block(blockOfPfn(geometry, pfn))
  store(memmap, recordOfPage(pageOfPfn(geometry, pfn)) + PAGE_WORD, word)
}

/**
 * Writes the records of a block that was just added: its own pages Reserved, nobody has the rest.
 * Its lists are whatever was there until `Zone.giveBlock`. Call with the block Adding: nobody else
 * looks at it.
 */
export function initMemmap(geometry: Geometry, frames: Frames, block: number): void {
  assert(geometry.memmapPages > 0, 'memmap: page 0 of a block can be given out')
  const memmap: Words = frames.block(block)
  for (let page = 0; page < geometry.pagesPerBlock; page++) {
    const state = page < geometry.memmapPages ? PageState.Reserved : PageState.Tail
    store(memmap, recordOfPage(page) + PAGE_WORD, pageWord(state, 0))
  }
}
