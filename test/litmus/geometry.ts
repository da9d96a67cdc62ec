/*
 * Geometries for tests and models, smaller than any real one.
 */
import {
  FREE_LIST_HEADS,
  type Geometry,
  PAGE_RECORD_WORDS,
  UNIT_WORDS,
} from '../../src/mm/geometry.ts'

/** What is chosen of a geometry; the rest follows. */
export interface TinySizes {
  /** 1 if left out. */
  readonly nrBlocks?: number
  readonly pagesPerBlock: number
  /** 1 if left out. */
  readonly memmapPages?: number
  /** If left out, as few as hold the records: a page holds little but those. */
  readonly pageWords?: number
  /** All pages of all blocks if left out. */
  readonly nrFrames?: number
  /** As many as frames if left out. */
  readonly nrVirtual?: number
}

/** A geometry of few and small pages. */
export function tinyGeometry(sizes: TinySizes): Geometry {
  const { nrBlocks = 1, pagesPerBlock, memmapPages = 1 } = sizes
  const memmapWords = FREE_LIST_HEADS + pagesPerBlock * PAGE_RECORD_WORDS
  const { pageWords = 2 ** Math.ceil(Math.log2(memmapWords / memmapPages)) } = sizes
  const { nrFrames = nrBlocks * pagesPerBlock } = sizes
  const { nrVirtual = nrFrames } = sizes
  const blockWords = pageWords * pagesPerBlock
  return {
    pageSize: pageWords * 4,
    blockSize: blockWords * 4,
    maxMemory: blockWords * 4 * nrBlocks,
    pageWords,
    pageWordsShift: Math.log2(pageWords),
    blockWords,
    pagesPerBlock,
    pagesPerBlockShift: Math.log2(pagesPerBlock),
    nrBlocks,
    nrFrames,
    unitsPerPageShift: Math.log2(pageWords / UNIT_WORDS),
    nrVirtual,
    memmapPages,
  }
}
