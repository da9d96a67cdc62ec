/*
 * The memory of models of virtual pages, and what must hold of it when all threads have ended.
 */
import {
  FREE_LIST_HEADS,
  RETIRE_HEAD,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_LIVE,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
} from '../../src/mm/geometry.ts'
import { pfnOf, pteAt } from '../../src/mm/page-table.ts'
import { tinyGeometry } from './geometry.ts'

/** Pages of a few words: one that holds the records, two that can be had; vpns 1 to 3. */
export const TINY = tinyGeometry({ pagesPerBlock: 4, pageWords: 4, nrFrames: 3, nrVirtual: 4 })

/** The page that is found by all. */
export const PUBLISHED = 0

/** Two frames say that they are one page's; but for a moment after a death none is stale. */
export function isShared(f: Readonly<Record<number, number>>): boolean {
  const first = f[FREE_LIST_HEADS + 2]!
  return first !== 0 && (first & 7) === 4 && first === f[FREE_LIST_HEADS + 4]!
}

interface Readable {
  readonly t: Readonly<Record<number, number>>
  readonly e: Readonly<Record<number, number>>
  readonly f: Readonly<Record<number, number>>
  readonly p: Readonly<Record<number, number>>
}

/** Pages that are retired, and those alone, are on the stack, and below the highest. */
function isStacked({ t, e }: Readable, nrRetired: number): boolean {
  const stacked = new Set<number>()
  for (let vpn = e[RETIRE_HEAD]!; vpn !== 0; ) {
    const at = vpn * VIRTUAL_RECORD_WORDS
    const isRetired = (t[at + VIRTUAL_STATE]! & STATE_MASK) === VirtualState.Retired
    if (!isRetired || stacked.has(vpn)) return false
    stacked.add(vpn)
    vpn = t[at + VIRTUAL_LIVE]!
  }
  return stacked.size === nrRetired
}

/**
 * Each page is free, or mapped to a frame that says so, and below the highest; each frame is free,
 * or so mapped. What is retired is on the stack, and what is published is sealed.
 */
export function isWhole(s: Readable): boolean {
  let nrRetired = 0
  let nrMapped = 0
  for (let vpn = 1; vpn < TINY.nrVirtual; vpn++) {
    const pte = s.t[pteAt(vpn)]!
    const state = s.t[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE]! & STATE_MASK
    if (state === VirtualState.Reserved || (state === VirtualState.Free) !== (pte === 0)) {
      return false
    }
    if (pte === 0) continue
    if (vpn >= s.e[VIRTUAL_HIGH]!) return false
    if (state === VirtualState.Retired) nrRetired++
    nrMapped++
    const pfn = pfnOf(pte)
    if (s.f[FREE_LIST_HEADS + 2 * pfn] !== ((vpn << 3) | 4)) return false
  }
  const published = s.p[PUBLISHED]!
  const state = s.t[published * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE]!
  if (published !== 0 && state !== VirtualState.Sealed) return false
  const frames = [1, 2].filter(pfn => s.f[FREE_LIST_HEADS + 2 * pfn] !== 0)
  return frames.length === nrMapped && isStacked(s, nrRetired)
}
