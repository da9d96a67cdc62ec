/*
 * Which pages to empty next: of a window of pages, those with the least on them first.
 *
 * To look at all pages costs more than to empty some. So one look at a window ranks them, and the
 * best of them are given out one by one, each looked at again, before there is another look: at
 * the window that follows.
 *
 * A page that was filled by compaction is left alone until a tenth of it is garbage: entries that
 * fill pages badly, as those of half a page and more, would move for ever.
 *
 * Checked by compactor.check.ts.
 */
import { VirtualKind } from '../mm/geometry.ts'
import { kindOfOwner, type VirtualPages } from '../mm/virtual-pages.ts'

/** Pages in a window. */
const WINDOW_SHIFT = 16
/** Pages that one look is good for. */
const RANKED_MAX = 512
/** What must be left of what a page was packed with, at most, to be packed once more. */
const WORTH_WHILE = 0.9

/** The service thread's list of pages that are worth to be emptied. */
export class Candidates {
  private readonly pages: VirtualPages
  /** Pages that compaction has filled, and how far: as well as what came could be packed. */
  private readonly packed = new Map<number, number>()
  /** Of each page that is worth it: what is live on it, and its place in the window. */
  private keys = new Int32Array(0)
  private nrKeys = 0
  private nextKey = 0
  /** Where the window begins, and the one after it. */
  private begin = 1
  private end = 1

  constructor(pages: VirtualPages) {
    this.pages = pages
  }

  /** A page was filled by compaction with so much. */
  fill(vpn: number, live: number): void {
    this.packed.set(vpn, live)
  }

  /**
   * The next page.
   *
   * @param most Units that are live on it: fewer than these.
   * @returns Its number; -1: there is none, or `look` finds more.
   */
  take(most: number): number {
    while (this.nextKey < this.nrKeys) {
      const key = this.keys[this.nextKey]!
      if (key >>> WINDOW_SHIFT >= most) return -1
      this.nextKey++
      const vpn = this.begin + (key & ((1 << WINDOW_SHIFT) - 1))
      const live = this.worth(vpn)
      if (live >= 0 && live < most) return vpn
    }
    return -1
  }

  /**
   * Looks at the next window, with fewer than `most` units live on a page.
   *
   * @returns How many pages there were to look at; 0: it begins again with the first.
   */
  look(most: number): number {
    this.begin = this.end
    this.end = Math.min(this.begin + (1 << WINDOW_SHIFT), this.pages.end())
    const nrPages = this.end - this.begin
    if (nrPages > this.keys.length) this.keys = new Int32Array(nrPages)
    let nrKeys = 0
    for (let i = 0; i < nrPages; i++) {
      const live = this.worth(this.begin + i)
      if (live >= 0 && live < most) this.keys[nrKeys++] = (live << WINDOW_SHIFT) | i
    }
    this.keys.subarray(0, nrKeys).sort()
    this.nrKeys = Math.min(nrKeys, RANKED_MAX)
    this.nextKey = 0
    if (nrPages === 0) this.end = 1
    return nrPages
  }

  /** Units that are live on a page that can be emptied; -1: it cannot, or is not worth it. */
  private worth(vpn: number): number {
    const { pages, packed } = this
    if (!pages.isSealed(vpn)) return -1
    const owner = pages.ownerOf(vpn)
    if (kindOfOwner(owner) !== VirtualKind.Entries) return -1
    const live = pages.liveOf(vpn)
    const full = packed.get(vpn)
    if (full === undefined) return live
    if (live > full)
      packed.delete(vpn) // it is another page
    else if (live > full * WORTH_WHILE) return -1
    return live
  }
}
