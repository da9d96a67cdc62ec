/*
 * The end of a machine's memory, while threads may still be using maps.
 *
 *     E1  main: STOP                          reader    enters the guard, looks pages up, leaves
 *     E2  each page of entries or a table:    writer    the same; where a page is write-protected,
 *         its PTE is of a page of zeros                 it leaves, asks STOP, and throws
 *         each page: WRITE_PROTECTED          mapper    PTE, then STATE: Open, then asks STOP
 *     E3  grace period
 *     E4  blocks leave
 *
 * Nobody reads half of what leaves. Who looked a page up before E2 is inside still, and E3 waits
 * for it. Who comes later finds all tables empty; and who does not find its key asks STOP. Parts of
 * large values keep their frames: they are looked up in the section that has found their entry, so
 * since E3 by nobody, and until then they must be what they were.
 *
 * Nobody writes what has left: a writer that saw a page unprotected is inside until E3. A page that
 * E2 passes over, because it is not Open yet, is Open after E1; so who maps it finds STOP set.
 *
 * Checked by withdraw.check.ts.
 */
import { load, store } from '#atomics'
import {
  type MemoryControl,
  PTE,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_OWNER,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
  WRITE_PROTECTED,
} from '../mm/geometry.ts'
import { pteOf } from '../mm/page-table.ts'
import { kindOfOwner } from '../mm/virtual-pages.ts'

/**
 * E2: nothing is found in a map any more, and nobody begins to write. Service thread; a grace
 * period is to follow.
 *
 * @param blank A frame of zeros; -1: there is none, and what is read from now on may have left.
 */
export function withdrawPages({ pageTable, events }: MemoryControl, blank: number): void {
  const end = load(events, VIRTUAL_HIGH) * VIRTUAL_RECORD_WORDS
  for (let at = VIRTUAL_RECORD_WORDS; at < end; at += VIRTUAL_RECORD_WORDS) {
    const state = load(pageTable, at + VIRTUAL_STATE) & STATE_MASK
    if (state === VirtualState.Free || state === VirtualState.Reserved) continue
    const kind = kindOfOwner(load(pageTable, at + VIRTUAL_OWNER))
    const stays = kind === VirtualKind.Chunk || blank === -1
    const pte = stays ? load(pageTable, at + PTE) : pteOf(blank)
    store(pageTable, at + PTE, pte | WRITE_PROTECTED)
  }
}
