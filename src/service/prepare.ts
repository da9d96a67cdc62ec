import type { RealMemory } from '../arch/real-memory.ts'
import { HotplugError } from '../lib/errors.ts'
import type { Frames, Geometry } from '../mm/geometry.ts'
import { initMemmap } from '../mm/memmap.ts'

/**
 * A block's memory arrives: no huge pages, and its pages have records, which are resident.
 *
 * @throws {HotplugError} `ENOMEM`: the system has no memory left. None of the block's is resident.
 */
export function prepareBlock(
  real: RealMemory,
  geometry: Geometry,
  frames: Frames,
  block: number,
): void {
  const { blockSize, memmapPages, pageSize } = geometry
  const start = block * blockSize
  real.prepare(start, blockSize)
  try {
    real.populate(start, memmapPages * pageSize)
  } catch (error) {
    discardIfItGoes(real, start, blockSize)
    throw error
  }
  initMemmap(geometry, frames, block)
}

/** Gives a range back; where the system keeps it, it stays resident. */
export function discardIfItGoes(real: RealMemory, start: number, bytes: number): void {
  try {
    real.discard(start, bytes)
  } catch (error) {
    if (!(error instanceof HotplugError)) throw error
  }
}
