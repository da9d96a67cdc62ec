/*
 * What must be true of pages, lists and counters when nobody is in the middle of anything. For
 * tests and for models.
 */
import {
  BLOCK_FREE,
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  BLOCK_ZONE,
  FREE_LIST_HEADS,
  type Geometry,
  NR_ZONES,
  PAGE_LINK,
  PAGE_WORD,
  PageState,
  ZONE_DIRTY,
  ZONE_FREE,
  ZONE_HINT,
  ZONE_RECORD_WORDS,
} from '../../src/mm/geometry.ts'
import { isFreeWord, pageWord, recordOfPage, stateOfWord } from '../../src/mm/memmap.ts'

/** Words that can be read. */
export interface Readable {
  readonly [index: number]: number
}

/** Shared words of some blocks. */
export interface PageMemory {
  readonly geometry: Geometry
  readonly zones: Readable
  readonly blocks: Readable
  /** By block; null where none is. */
  readonly memmaps: readonly (Readable | null)[]
}

/** Pages that have a state, in all blocks. */
export function countPages({ geometry, memmaps }: PageMemory, state: number): number {
  let count = 0
  for (const memmap of memmaps) {
    if (memmap === null) continue
    for (let page = 0; page < geometry.pagesPerBlock; page++) {
      if (stateOfWord(wordOf(memmap, page)) === state) count++
    }
  }
  return count
}

/** What is wrong with lists and counters, by the words of the pages; '' if nothing. */
export function whatIsWrong(memory: PageMemory): string {
  for (let kind = 0; kind < NR_ZONES; kind++) {
    const wrong = wrongInZone(memory, kind)
    if (wrong !== '') return `zone ${kind}: ${wrong}`
  }
  return ''
}

function wrongInZone({ geometry, zones, blocks, memmaps }: PageMemory, kind: number): string {
  const zone = (field: number): number => zones[kind * ZONE_RECORD_WORDS + field]!
  if (zone(ZONE_DIRTY) !== 0) return `block ${zone(ZONE_DIRTY) - 1} is being changed`
  let sum = 0
  for (let block = 0; block < geometry.nrBlocks; block++) {
    const field = (index: number): number => blocks[block * BLOCK_RECORD_WORDS + index]!
    const memmap = memmaps[block]!
    if (field(BLOCK_ZONE) !== kind || memmap === null) continue
    const wrong = wrongInBlock(geometry, memmap, field(BLOCK_FREE))
    if (wrong !== '') return `block ${block}: ${wrong}`
    if (field(BLOCK_ISOLATED) !== 0 || field(BLOCK_FREE) === 0) continue
    if (zone(ZONE_HINT) > block) return `block ${block} is below the hint`
    sum += field(BLOCK_FREE)
  }
  return sum === zone(ZONE_FREE) ? '' : `says ${zone(ZONE_FREE)} free pages, has ${sum}`
}

/** What is wrong with the lists of one block; '' if nothing. */
export function wrongInBlock(geometry: Geometry, memmap: Readable, nrFree: number): string {
  const listed = new Set<number>()
  for (let order = 0; order < FREE_LIST_HEADS; order++) {
    const wrong = wrongInList(memmap, order, listed)
    if (wrong !== '') return wrong
  }
  if (listed.size !== nrFree) return `says ${nrFree} free pages, lists ${listed.size}`
  if (nrFree === 0) return '' // it may be offline
  for (let page = 0; page < geometry.pagesPerBlock; page++) {
    const isFree = isFreeWord(wordOf(memmap, page))
    if (listed.has(page) !== isFree) return `page ${page} is ${isFree ? 'free' : 'taken'}`
  }
  return ''
}

function wrongInList(memmap: Readable, order: number, listed: Set<number>): string {
  let previous = 0
  for (let first = memmap[order]!; first !== 0; ) {
    const links = memmap[recordOfPage(first) + PAGE_LINK]!
    const free = pageWord(PageState.Free, order)
    if (links >>> 16 !== previous) return `page ${first} has not ${previous} before it`
    if (wordOf(memmap, first) !== free) return `page ${first} is not a chunk of order ${order}`
    if (first % (1 << order) !== 0) return `page ${first} is no multiple of its size`
    if (wordOf(memmap, first ^ (1 << order)) === free) return `page ${first} has a free buddy`
    for (let page = first; page < first + (1 << order); page++) {
      if (listed.has(page)) return `page ${page} is in two chunks`
      if (page !== first && wordOf(memmap, page) !== 0) return `page ${page} is no tail`
      listed.add(page)
    }
    previous = first
    first = links & 0xffff
  }
  return ''
}

function wordOf(memmap: Readable, page: number): number {
  return memmap[recordOfPage(page) + PAGE_WORD]!
}
