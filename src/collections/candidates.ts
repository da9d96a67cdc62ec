/*
 * Which pages to empty next: of a window of pages, those with the least on them first.
 *
 * To look at all pages costs more than to empty some. So one look at a window ranks them, and the
 * best of them are given out one by one, each looked at again, before there is another look: at
 * the window that follows.
 *
 * A page that was filled by compaction is left alone until a tenth of it is garbage: entries that
 * fill pages badly, as those of half a page and more, would move for ever.
 */
import { VirtualKind } from '../mm/geometry.ts'
import { kindOfOwner, type VirtualPages } from '../mm/virtual-pages.ts'

/** log2 of the pages in a window. */
const WINDOW_SHIFT = 16
/** Pages that one look is good for. */
const RANKED_MAX = 512
/** What must be left of what a page was packed with, at most, to be packed once more. */
const WORTH_WHILE = 0.9

/** The service thread's list of pages that are worth emptying. */
export class Candidates {
  private readonly pages: VirtualPages
  /** Pages that compaction has filled, and how far: as well as what came could be packed. */
  private readonly packed = new Map<number, number>()
  /** Of each page that is worth it: what is live on it, and its place in the window. */
  private keys = new Int32Array(0)
  private nrKeys = 0
  private nextKey = 0
  /** Where the window begins, and the one after it. */
  private startVpn = 1
  private endVpn = 1

  constructor(pages: VirtualPages) {
    this.pages = pages
  }

  /** A page was filled by compaction, with so many units. */
  notePacked(vpn: number, live: number): void {
    this.packed.set(vpn, live)
  }

  /**
   * The next page.
   *
   * @param belowUnits Fewer than these are live on it.
   * @returns Its number; -1: there is none, or `look` finds more.
   */
  take(belowUnits: number): number {
    while (this.nextKey < this.nrKeys) {
      const key = this.keys[this.nextKey]!
      if (key >>> WINDOW_SHIFT >= belowUnits) return -1
      this.nextKey++
      const vpn = this.startVpn + (key & ((1 << WINDOW_SHIFT) - 1))
      const live = this.worth(vpn)
      if (live >= 0 && live <= key >>> WINDOW_SHIFT) return vpn // else it is another page by now
    }
    return -1
  }

  /**
   * Looks at the next window, after the last at the first again, for pages with fewer than
   * `belowUnits` live that are not to be left alone.
   *
   * @returns How many pages it has, or 1 if there is none.
   */
  look(belowUnits: number, spares: (vpn: number) => boolean = () => false): number {
    const end = this.pages.end()
    this.startVpn = this.endVpn < end ? this.endVpn : 1
    this.endVpn = Math.min(this.startVpn + (1 << WINDOW_SHIFT), Math.max(1, end))
    const nrPages = this.endVpn - this.startVpn
    if (nrPages > this.keys.length) this.keys = new Int32Array(nrPages)
    let nrKeys = 0
    for (let i = 0; i < nrPages; i++) {
      const live = this.worth(this.startVpn + i)
      if (live < 0 || live >= belowUnits || spares(this.startVpn + i)) continue
      this.keys[nrKeys++] = (live << WINDOW_SHIFT) | i
    }
    this.keys.subarray(0, nrKeys).sort()
    this.nrKeys = Math.min(nrKeys, RANKED_MAX)
    this.nextKey = 0
    return Math.max(1, nrPages)
  }

  /** Units that are live on a page that can be emptied; -1: it cannot, or is not worth it. */
  private worth(vpn: number): number {
    const { pages, packed } = this
    const isSealed = pages.isSealed(vpn)
    const owner = pages.ownerOf(vpn)
    const isCandidate = isSealed && kindOfOwner(owner) === VirtualKind.Entries
    const live = isCandidate ? pages.liveOf(vpn) : -1
    const full = packed.get(vpn)
    if (full === undefined) return live
    if (!isCandidate || live > full)
      packed.delete(vpn) // it is another page by now
    else if (live > full * WORTH_WHILE) return -1
    return live
  }
}
