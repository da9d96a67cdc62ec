/* Words of the page table: where a virtual page's is, and which page frame it names. */
import { PTE, VIRTUAL_RECORD_WORDS } from './geometry.ts'

/** Where the PTE of a virtual page is. */
export function pteAt(vpn: number): number {
  return vpn * VIRTUAL_RECORD_WORDS + PTE
}

/** The PTE that maps to a frame. */
export function pteOf(pfn: number): number {
  return (pfn + 1) << 1
}

/** The frame that a PTE maps to, write-protected or not; -1: none. */
export function pfnOf(pte: number): number {
  return (pte >>> 1) - 1
}
