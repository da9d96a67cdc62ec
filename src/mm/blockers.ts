/*
 * What stands in the way of a block that is to leave: whose its pages are, and who keeps them from
 * moving. By what the words say at the moment; nothing stops them from changing.
 */
import { load } from '#atomics'
import { now, wallClock } from '../arch/clock.ts'
import type { Blocker } from '../lib/errors.ts'
import { slotOfToken } from '../locking/slots.ts'
import {
  PageState,
  STATE_MASK,
  VIRTUAL_OWNER,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualState,
} from './geometry.ts'
import { blockName, type Hotplug } from './hotplug.ts'
import { blockOfPfn, isFreeWord, loadPageWord, payloadOfWord, stateOfWord } from './memmap.ts'
import { pfnOf, pteAt } from './page-table.ts'
import { mapOfOwner } from './virtual-pages.ts'

/** Pages that a failure names. */
const BLOCKERS_MAX = 16

/** The first pages of a block that somebody has; only those that cannot move, if so asked. */
export function blockersOf(hotplug: Hotplug, block: number, unmovable = false): Blocker[] {
  const { geometry } = hotplug
  const found: Blocker[] = []
  const end = (block + 1) * geometry.pagesPerBlock
  let pfn = end - geometry.pagesPerBlock + geometry.memmapPages
  let last = -1
  for (; pfn < end && found.length < BLOCKERS_MAX; pfn++) {
    const word = loadPageWord(geometry, hotplug.space, pfn)
    const isRaw = stateOfWord(word) === PageState.Raw
    if (isFreeWord(word) || (unmovable && !isRaw)) continue
    if (isRaw && word === last) continue // one holding, many pages
    last = word
    found.push(blockerOf(hotplug, pfn, word))
  }
  return found
}

function blockerOf(hotplug: Hotplug, pfn: number, word: number): Blocker {
  const device = blockName(blockOfPfn(hotplug.geometry, pfn))
  const payload = payloadOfWord(word)
  switch (stateOfWord(word)) {
    case PageState.Raw: {
      const pin = hotplug.pins.describe(payload)
      const owner = pin?.owner ?? 'nobody any more'
      const sinceMs = pin === null ? 0 : wallClock() - pin.sinceMs
      return { device, pfn, owner, sinceMs, reason: `page ${pfn} is held by ${owner}` }
    }
    case PageState.Mapped:
      return { device, pfn, ...mappedBlocker(hotplug, pfn, payload) }
    case PageState.Percpu: {
      const owner = `slot ${slotOfToken(payload)}`
      return { device, pfn, owner, reason: `page ${pfn} is on the list of ${owner}` }
    }
    default: {
      const owner = `slot ${slotOfToken(payload)}`
      return { device, pfn, owner, reason: `page ${pfn} was just taken by ${owner}` }
    }
  }
}

/** @param vpn The virtual page that the frame's word names. */
function mappedBlocker(
  { blocks, nameOfMap }: Hotplug,
  pfn: number,
  vpn: number,
): Pick<Blocker, 'owner' | 'reason'> {
  const { pageTable } = blocks.control
  const state = load(pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE)
  const map = mapOfOwner(load(pageTable, vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_OWNER))
  const name = nameOfMap(map)
  const owner = name === null ? `map ${map}` : `map '${name}'`
  if ((state & STATE_MASK) === VirtualState.Reserved) {
    const slot = slotOfToken(payloadOfWord(state))
    return { owner, reason: `page ${pfn} was just taken by slot ${slot} for ${owner}` }
  }
  const isThere = pfnOf(load(pageTable, pteAt(vpn))) === pfn
  if (isThere) return { owner, reason: `page ${pfn} of ${owner} has not moved yet` }
  return { reason: `page ${pfn} has moved, and may still be looked at` }
}

/** Who stays inside the guard, as one operation sees it again and again: who keeps it waiting. */
export class Insider {
  private slot = -1
  private since = 0

  /** @param slot Whom a grace period waited for in vain; -1: for nobody. */
  note(slot: number): void {
    if (slot !== this.slot) this.since = now()
    this.slot = slot
  }

  /** @param device What cannot go on: `memory12`. */
  blockers(device: string): Blocker[] {
    if (this.slot === -1) return []
    const owner = `slot ${this.slot}`
    const sinceMs = now() - this.since
    return [{ device, owner, sinceMs, reason: `${owner} stays inside the guard` }]
  }
}
