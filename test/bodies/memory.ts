/*
 * Threads on real memory. Those that load koffi stand for the service thread: nobody terminates
 * them, and they return null where real memory cannot be had.
 */
import { readFileSync } from 'node:fs'
import { AddressSpace } from '../../src/arch/address-space.ts'
import { linuxMemory } from '../../src/arch/linux-memory.ts'
import type { RealMemory } from '../../src/arch/real-memory.ts'

interface Shared {
  readonly buffer: SharedArrayBuffer
  readonly blockBytes: number
}

interface Tools {
  readonly space: AddressSpace
  readonly memory: RealMemory
}

async function open({ buffer, blockBytes }: Shared): Promise<Tools | null> {
  const space = new AddressSpace(buffer, blockBytes)
  try {
    return { space, memory: await linuxMemory(buffer) }
  } catch {
    return null
  }
}

/** The bytes of this process that are in memory. */
function rssBytes(): number {
  const rollup = readFileSync('/proc/self/smaps_rollup', 'latin1')
  return Number(/^Rss:\s+(\d+) kB/m.exec(rollup)![1]) * 1024
}

/** Grows block by block, and adds its mark to each. */
export function growAndMark(data: Shared & { nrBlocks: number; id: number }): void {
  const space = new AddressSpace(data.buffer, data.blockBytes)
  for (let i = 0; i < data.nrBlocks; i++) {
    space.grow((i + 1) * data.blockBytes)
    Atomics.add(space.block(i), data.id, 1)
  }
}

/** Fills three blocks, discards the middle one. */
export async function fillAndDiscard(data: Shared) {
  const tools = await open(data)
  if (tools === null) {
    const space = new AddressSpace(data.buffer, data.blockBytes)
    space.grow(3 * data.blockBytes)
    return null
  }
  const { space, memory } = tools
  space.grow(3 * data.blockBytes)
  memory.prepare(0, 3 * data.blockBytes)
  for (let i = 0; i < 3; i++) space.block(i).fill(i + 1)
  const rssBefore = rssBytes()
  const returned = memory.discard(data.blockBytes, data.blockBytes)
  const rssAfter = rssBytes()
  const residentAfter = memory.resident(data.blockBytes, data.blockBytes)
  return { returned, rssBefore, rssAfter, residentAfter }
}

/** What is resident of the second block as it is read, written, populated, and discarded. */
export async function readThenPopulate(data: Shared) {
  const tools = await open(data)
  if (tools === null) return null
  const { blockBytes } = data
  const { space, memory } = tools
  const resident = (): number => memory.resident(blockBytes, blockBytes)
  const words = space.block(1)
  memory.prepare(0, 2 * blockBytes)
  const untouched = resident()
  const sum = words.reduce((total, word) => total + word, 0)
  const read = resident() + sum
  words[5000] = 77
  const oneWritten = resident()
  memory.populate(blockBytes + 1, blockBytes - 2)
  const populated = resident()
  const word = words[5000]
  return [untouched, read, oneWritten, populated, word, memory.discard(blockBytes, blockBytes)]
}

/** Locks the first MiB, discards it. */
export async function lockThenDiscard(data: Shared) {
  const tools = await open(data)
  if (tools === null) return null
  const { default: koffi } = await import('koffi')
  const mlock = koffi.load(null).func('int mlock(void *address, size_t bytes)')
  const mib = new Uint8Array(data.buffer, 0, 2 ** 20)
  if (mlock(mib, mib.length) !== 0) return null
  return tools.memory.discard(0, mib.length)
}

/** What is resident after a discarded block was written to. */
export async function writeAfterDiscard(data: Shared) {
  const tools = await open(data)
  if (tools === null) return null
  const { space, memory } = tools
  memory.prepare(0, data.blockBytes)
  space.block(0).fill(1)
  memory.discard(0, data.blockBytes)
  space.block(0)[4096] = 1
  return memory.resident(0, data.blockBytes)
}

/** Counts in a block of its own until told to stop; returns how many words were wrong. */
export function writeOwnBlock(data: Shared & { stop: Int32Array; id: number }): number {
  const words = new AddressSpace(data.buffer, data.blockBytes).block(data.id)
  let wrong = 0
  for (let round = 1; Atomics.load(data.stop, 0) === 0; round++) {
    for (let i = 0; i < words.length; i += 256) {
      if (words[i] !== round - 1) wrong++
      words[i] = round
    }
  }
  return wrong
}

/** Populates and discards all blocks but the first two, fifty times; returns what left. */
export async function discardOthers(data: Shared & { stop: Int32Array }) {
  const tools = await open(data)
  try {
    if (tools === null) return null
    const start = 2 * data.blockBytes
    const bytes = data.buffer.byteLength - start
    tools.memory.prepare(start, bytes)
    let returned = 0
    for (let i = 0; i < 50; i++) {
      tools.memory.populate(start, bytes)
      returned += tools.memory.discard(start, bytes)
    }
    return returned
  } finally {
    Atomics.store(data.stop, 0, 1)
  }
}

/** Resident bytes of a block of which every fourth page was written, by pagemap and mincore. */
export async function countBothWays(data: Shared) {
  const tools = await open(data)
  if (tools === null) return null
  const { space, memory } = tools
  memory.prepare(0, data.blockBytes)
  const words = space.block(0)
  for (let i = 0; i < words.length; i += 4 * 4096) words[i] = 1
  const byPagemap = memory.resident(0, data.blockBytes)
  const blind = memory as unknown as { nrInPagemap: () => null }
  blind.nrInPagemap = () => null
  return [byPagemap, memory.resident(0, data.blockBytes)]
}
