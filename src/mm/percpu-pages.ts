/*
 * Per-CPU page lists: a thread's own free pages, so that most take and give no lock.
 *
 *     COUNT     pages in the list
 *     TOKEN     whose list it is
 *     ENTRIES   page frame numbers; the last comes first
 *
 *     owner                                     who drains, after blocks were isolated
 *     P1  enter guard                           D1  PERCPU_DISABLED = 1
 *     P2  PERCPU_DISABLED: leave, go to zone    D2  grace period
 *     P3  pop: WORD = Allocated, COUNT -= 1     D3  zone lock: every list back to its zone
 *         push, unless the block is isolated:   D4  PERCPU_DISABLED = 0
 *         WORD = Percpu, COUNT += 1
 *     P4  leave guard
 *     P5  zone lock; list full: a batch back;
 *         empty: PERCPU_DISABLED again, a batch
 *
 * One at a time. P3 has no lock, D3 does not stop the owner. But who enters after D1 sees it at P2,
 * and D2 waits for those who entered before; so between D2 and D4 no owner is at P3. A batch (P5)
 * has the same lock as D3. One that sees PERCPU_DISABLED not set comes before D3, which sees the
 * batch's pages; so between D3 and D4 lists are empty, and zones can give out all that is free.
 *
 * Who drains may wait for D2 for a while only, and then goes to D4 without D3: nothing has changed.
 *
 * Nothing of an isolated block is on a list after D3, nor comes there later: no batch takes from
 * it, and who enters after D2 sees at P3 that it is isolated.
 *
 * Deaths. A list's words are hints, the words of pages are the truth: who dies inside may leave an
 * entry whose page is Allocated already, or a page that is Percpu and in no list, and its next
 * owner empties a list that has another name. Each page is the dead thread's by its WORD, and
 * freed by `PageAllocator.recoverDead`; D3 frees only what is Percpu and of the list's owner.
 *
 * Checked by percpu-pages.check.ts and page-allocator.check.ts.
 */
import { load, loadPlain, store, storePlain, type Words } from '#atomics'
import type { Guard } from '../locking/guard.ts'
import type { Slot } from '../locking/slots.ts'
import {
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  NR_ZONES,
  PageState,
  PERCPU_DISABLED,
  PERCPU_LIST_WORDS,
} from './geometry.ts'
import { blockOfPfn, loadPageWord, pageWord, storePageWord } from './memmap.ts'
import type { Zone } from './zone.ts'

const COUNT = 0
const TOKEN = 1
const ENTRIES = 2

/** Pages that go between a list and its zone under one lock. */
export const PERCPU_BATCH = 16
/** Pages that one list can have. */
export const PERCPU_PAGES_MAX = PERCPU_LIST_WORDS - ENTRIES

/** A thread's own list of pages of one zone. */
export class PercpuPages {
  readonly zone: Zone
  readonly guard: Guard
  private readonly words: Words
  private readonly place: number
  /** Words of a page that this thread has, and of one on its list. */
  private readonly allocated: number
  private readonly listed: number

  /** @param slot The calling thread's own; what its last owner left in the list is forgotten. */
  constructor(slot: Slot, zone: Zone, guard: Guard) {
    slot.assertAttached('make per-CPU page list')
    this.zone = zone
    this.guard = guard
    this.words = zone.control.percpu
    this.place = placeOf(slot.index, zone)
    this.allocated = pageWord(PageState.Allocated, slot.token)
    this.listed = pageWord(PageState.Percpu, slot.token)
    if (load(this.words, this.place + TOKEN) !== slot.token) {
      store(this.words, this.place + COUNT, 0)
      store(this.words, this.place + TOKEN, slot.token)
    }
  }

  /** A page of the zone, Allocated by this thread; -1: there is none. */
  take(): number {
    this.guard.enter() // P1
    const pfn = this.pop()
    this.guard.leave() // P4
    return pfn === -1 ? this.refill() : pfn
  }

  /** The page, which is this thread's to give, is free. */
  give(pfn: number): void {
    this.guard.enter() // P1
    const isPushed = this.push(pfn)
    this.guard.leave() // P4
    if (!isPushed) this.flush(pfn)
  }

  /** P2, P3. Part of `take`. */
  pop(): number {
    const { control, frames } = this.zone
    if (load(control.events, PERCPU_DISABLED) !== 0) return -1
    const count = loadPlain(this.words, this.place + COUNT)
    if (count === 0) return -1
    const pfn = loadPlain(this.words, this.place + ENTRIES + count - 1)
    storePageWord(control.geometry, frames, pfn, this.allocated)
    storePlain(this.words, this.place + COUNT, count - 1)
    return pfn
  }

  /** P2, P3. Part of `give`. */
  push(pfn: number): boolean {
    const { control, frames } = this.zone
    const { blocks, events, geometry } = control
    const isolated = blockOfPfn(geometry, pfn) * BLOCK_RECORD_WORDS + BLOCK_ISOLATED
    if (load(events, PERCPU_DISABLED) !== 0 || load(blocks, isolated) !== 0) return false
    const count = loadPlain(this.words, this.place + COUNT)
    if (count === PERCPU_PAGES_MAX) return false
    storePageWord(geometry, frames, pfn, this.listed)
    storePlain(this.words, this.place + ENTRIES + count, pfn)
    storePlain(this.words, this.place + COUNT, count + 1)
    return true
  }

  /** P5. A page, and a batch for the next to come. Part of `take`. */
  refill(): number {
    const { zone } = this
    zone.begin()
    const pfn = zone.take(0, this.allocated)
    const isDisabled = load(zone.control.events, PERCPU_DISABLED) !== 0
    if (pfn !== -1 && !isDisabled) {
      let count = loadPlain(this.words, this.place + COUNT)
      while (count < PERCPU_BATCH - 1) {
        const next = zone.take(0, this.listed)
        if (next === -1) break
        storePlain(this.words, this.place + ENTRIES + count, next)
        count++
        storePlain(this.words, this.place + COUNT, count)
      }
    }
    zone.end()
    return pfn
  }

  /** P5. The page goes to the zone; if the list is full, a batch of it too. Part of `give`. */
  flush(pfn: number): void {
    const { zone } = this
    zone.begin()
    zone.put(pfn, 0)
    const count = loadPlain(this.words, this.place + COUNT)
    if (count === PERCPU_PAGES_MAX) {
      giveEntries(this.words, this.place, PERCPU_PAGES_MAX - PERCPU_BATCH, zone)
    }
    zone.end()
  }
}

/** D3. Gives back what is on all slots' lists of a zone. Call between D2 and D4. */
export function drainLists(zone: Zone): void {
  const { percpu } = zone.control
  const { nrSlots } = zone.slot.slots
  zone.begin()
  for (let slot = 0; slot < nrSlots; slot++) giveEntries(percpu, placeOf(slot, zone), 0, zone)
  zone.end()
}

/** Gives back all entries from number `from` on, last first. Call between `begin` and `end`. */
function giveEntries(words: Words, place: number, from: number, zone: Zone): void {
  const { control, frames } = zone
  let count = load(words, place + COUNT)
  if (count <= from) return
  const token = load(words, place + TOKEN)
  const listed = pageWord(PageState.Percpu, token)
  for (; count > from; count--) {
    const pfn = load(words, place + ENTRIES + count - 1)
    const word = loadPageWord(control.geometry, frames, pfn)
    if (word === listed) zone.put(pfn, 0)
  }
  store(words, place + COUNT, from)
}

function placeOf(slot: number, zone: Zone): number {
  return (slot * NR_ZONES + zone.kind) * PERCPU_LIST_WORDS
}
