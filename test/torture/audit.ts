/*
 * What must be true of a machine when a memory torture is over, and who waits for whom when it is
 * not: for no page may be lost, whoever died where.
 */
import type { Machine } from '../../src/index.ts'
import { ownerOfWord } from '../../src/locking/mutex.ts'
import { slotOfToken } from '../../src/locking/slots.ts'
import {
  BlockState,
  CHANGED_BY,
  PageState,
  RECLAIM,
  REQUESTS,
  RETIRE_HEAD,
  STATE_BITS,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
} from '../../src/mm/geometry.ts'
import { loadPageWord, nrManagedPages, payloadOfWord, stateOfWord } from '../../src/mm/memmap.ts'
import { pfnOf, pteAt } from '../../src/mm/page-table.ts'
import { assertWhole, type Insides, insides } from '../bodies/blocks.ts'

/** How many pages are what, in blocks that are online. */
export interface Pages {
  readonly free: number
  readonly listed: number
  readonly taken: number
  readonly mapped: number
  readonly raw: number
}

/**
 * What is wrong, '' if nothing. Call when nobody works on the machine; what the dead left may take
 * the service thread a moment.
 */
export function whatIsWrong(machine: Machine): string {
  try {
    assertWhole(machine)
    const frames = new Map<number, number>()
    const pages = countPages(machine, frames)
    requireMapped(machine, frames)
    requireRaw(machine, pages.raw)
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

/** @param frames Is given the frame that each vpn is said to be on. */
function countPages(machine: Machine, frames: Map<number, number>): Pages {
  const { geometry, space, blocks } = insides(machine).hotplug
  const { slots } = machine.locks.slot
  const pages = { free: 0, listed: 0, taken: 0, mapped: 0, raw: 0 }
  let nrManaged = 0
  for (const block of blocks.in(BlockState.Online)) {
    nrManaged += nrManagedPages(geometry)
    for (let page = geometry.memmapPages; page < geometry.pagesPerBlock; page++) {
      const pfn = block * geometry.pagesPerBlock + page
      const word = loadPageWord(geometry, space, pfn)
      const [state, payload] = [stateOfWord(word), payloadOfWord(word)]
      if (state === PageState.Tail || state === PageState.Free) pages.free++
      else if (state === PageState.Percpu) pages.listed++
      else if (state === PageState.Allocated) pages.taken++
      else if (state === PageState.Raw) pages.raw++
      else if (state === PageState.Mapped) pages.mapped++
      const isOwned = state === PageState.Percpu || state === PageState.Allocated
      if (isOwned && !slots.isAlive(payload)) throw new Error(`page ${pfn} is of the dead`)
      if (state !== PageState.Mapped) continue
      if (frames.has(payload)) throw new Error(`vpn ${payload} has two frames`)
      frames.set(payload, pfn)
    }
  }
  const sum = pages.free + pages.listed + pages.taken + pages.mapped + pages.raw
  if (sum !== nrManaged) throw new Error(`${sum} pages of ${nrManaged}: ${JSON.stringify(pages)}`)
  return pages
}

/** Each mapped frame is where its vpn's entry says, and the other way round. */
function requireMapped(machine: Machine, frames: Map<number, number>): void {
  const { pageTable, events } = machine.handle.memory.control
  const { slots } = machine.locks.slot
  for (let vpn = 1; vpn < Atomics.load(events, VIRTUAL_HIGH); vpn++) {
    const pte = Atomics.load(pageTable, pteAt(vpn))
    const word = Atomics.load(pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE)
    const [state, token] = [word & STATE_MASK, word >>> STATE_BITS]
    const isOwned = state === VirtualState.Reserved || state === VirtualState.Open
    if (isOwned && !slots.isAlive(token)) throw new Error(`vpn ${vpn} is of the dead`)
    if ((state === VirtualState.Free) !== (pte === 0)) {
      throw new Error(`vpn ${vpn} has state ${state} and entry ${pte}`)
    }
    const pfn = frames.get(vpn) ?? -1
    if (pfn !== pfnOf(pte)) throw new Error(`vpn ${vpn} is on ${pfn}, its entry is ${pte}`)
    if ((pte & 1) !== 0) throw new Error(`vpn ${vpn} is write-protected`)
    frames.delete(vpn)
  }
  for (const [vpn, pfn] of frames) throw new Error(`page ${pfn} is mapped by ${vpn}, or by nobody`)
}

/** What is held is what records say. */
function requireRaw(machine: Machine, nrRaw: number): void {
  const nrPinned = machine.pins().reduce((sum, { nrPages }) => sum + nrPages, 0)
  if (nrPinned !== nrRaw) throw new Error(`${nrRaw} pages are raw, records say ${nrPinned}`)
}

/** Who has which lock, what waits, what is on its way. */
export function dumpText(machine: Machine): string {
  const { hotplug } = insides(machine) as Insides
  const { locks } = machine
  const { slots } = locks.slot
  const { control, collections, stop } = machine.handle.memory
  const { events } = control
  const owner = (word: number): string => {
    const token = ownerOfWord(word)
    if (token === 0) return word === 0 ? 'free' : 'free, its owner died'
    const marks = `${slots.isAlive(token) ? '' : ', dead'}${(word & 1) === 1 ? ', waited for' : ''}`
    return `slot ${slotOfToken(token)} (${token}${marks})`
  }
  const infos = machine.memory.blocks()
  const blocks = infos.map(({ block, state, zone }) => `${block} ${state} ${zone}`)
  const lines = [
    `memAddRemoveLock: ${owner(wordOf(locks.memAddRemoveLock))}`,
    ...hotplug.zones.map((zone, i) => `zone ${i}: ${owner(wordOf(zone.lock))}`),
    `changed by ${Atomics.load(events, CHANGED_BY)}`,
    `requests: ${Array.from(events.subarray(REQUESTS, REQUESTS + 7))}, stop ${stop[0]}`,
    `reclaim: ${Array.from(events.subarray(RECLAIM, RECLAIM + 4))}`,
    `retired: ${Atomics.load(events, RETIRE_HEAD)}`,
    `blocks: ${blocks}`,
    `free: ${hotplug.zones.map(zone => zone.nrFree())} of ${hotplug.blocks.onlinePages()}`,
  ]
  for (let i = 0; i < collections.shards.length; i += 16) {
    const word = Atomics.load(collections.shards, i)
    if (word !== 0) lines.push(`shard ${i / 16}: ${owner(word)}`)
  }
  const { guard } = locks
  for (let slot = 0; slot < slots.nrSlots; slot++) {
    const at = guard.index + 16 * (slot + 1)
    const isInside = (Atomics.load(guard.words, at) & 1) === 1
    const token = slots.tokenAt(slot)
    const isSame = Atomics.load(guard.words, at + 1) === token
    if (token !== 0 || isInside) {
      const inside = isInside ? `, inside the guard${isSame ? '' : ' (a dead one)'}` : ''
      lines.push(`slot ${slot}: token ${token}, state ${slots.stateAt(slot)}${inside}`)
    }
  }
  return lines.join('\n')
}

function wordOf({ words, index }: { words: Int32Array; index: number }): number {
  return Atomics.load(words, index)
}
