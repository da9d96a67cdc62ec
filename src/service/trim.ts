/*
 * Trim: free pages of a block that stays give back what they hold, as the kernel reports free pages
 * to whoever runs it.
 *
 *     T1  zone lock: free chunks of the block, the largest first, are taken
 *     T2  their memory goes back to the system
 *     T3  zone lock: they are free again; whoever touches them finds zeroes
 *
 * The pages are Allocated by the service thread meanwhile, so if it dies they are found as all that
 * a dead thread has taken (`PageAllocator.recoverDead`).
 */
import type { RealMemory } from '../arch/real-memory.ts'
import type { Blocks } from '../mm/blocks.ts'
import { BlockState, PageState } from '../mm/geometry.ts'
import { pageWord } from '../mm/memmap.ts'
import type { Zone } from '../mm/zone.ts'

/** Smaller chunks are not worth a call; also no smaller than any system's page. */
const CHUNK_BYTES_MIN = 65536

/** @returns How many bytes have left. */
export function trimBlock(
  zones: readonly Zone[],
  blocks: Blocks,
  real: RealMemory,
  block: number,
): number {
  if (blocks.state(block) !== BlockState.Online) return 0
  const { pageSize, pagesPerBlockShift } = blocks.geometry
  const kind = blocks.zoneKind(block)
  const zone = zones[kind]!
  const orderMin = Math.log2(CHUNK_BYTES_MIN / pageSize)
  const taken = takeChunks(zone, block, [orderMin, pagesPerBlockShift]) // T1
  let bytes = 0
  try {
    for (const [pfn, order] of taken) {
      bytes += real.discard(pfn * pageSize, pageSize << order) // T2
    }
  } finally {
    zone.begin()
    for (const [pfn, order] of taken) zone.put(pfn, order) // T3
    zone.end()
  }
  return bytes
}

function takeChunks(
  zone: Zone,
  block: number,
  [orderMin, orderMax]: readonly [number, number],
): (readonly [number, number])[] {
  const word = pageWord(PageState.Allocated, zone.slot.token)
  const taken: (readonly [number, number])[] = []
  zone.begin()
  for (let order = orderMax - 1; order >= orderMin; order--) {
    for (;;) {
      const pfn = zone.takeFrom(block, order, word)
      if (pfn === -1) break
      taken.push([pfn, order])
    }
  }
  zone.end()
  return taken
}
