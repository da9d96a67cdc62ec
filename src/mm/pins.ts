/*
 * Pins: who holds memory that cannot move, since when.
 *
 * A record per holding, in shared memory, so that an offline that fails can name the owner of each
 * page that stood in its way, and so that what a thread held is freed when it is gone.
 *
 *     WORD    0, or the holder's token << 1 | READY?
 *     TURN    counts how often the record was taken
 *     ...     which pages, whose, since when
 *
 *     take                              describe
 *     T1  WORD: 0 -> token              D1  turn = TURN
 *     T2  TURN + 1                      D2  WORD is not READY: nobody's
 *     T3  pages, owner, since           D3  pages, owner, since
 *     T4  WORD: token | READY           D4  TURN = turn: they belong together; else D1
 *
 *     release                           recover
 *     R1  WORD: token | READY -> 0      V1  the token's slot is freed, not merely closed:
 *                                           asynchronous I/O may write into the pages until then
 *                                       V2  READY: the caller settles, that is, frees the pages
 *                                       V3  WORD: token -> 0
 *
 * Nothing torn. T3 is the only writer of what D3 reads, and comes between its T2 and T4. If T2 came
 * before D1, D2 saw READY of the same turn or a later one, so T4 was over; if after D4, T3 was not
 * begun. Between the two D4 sees it.
 *
 * Deaths. A holder that dies before T4 has marked no page with the record: its pages are still the
 * allocator's to recover. After T4, V2 finds them by the page words that name the record. A holder
 * frees its pages before R1, which it alone does, and V2 comes before V3; so a death in between
 * (also of whoever recovers) leaves a record that is settled again: V2 frees only what still names
 * the record.
 *
 * Checked by pins.check.ts.
 */
import { add, compareExchange, load, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { CACHE_LINE_WORDS, type References, type Slot } from '../locking/slots.ts'
import { readText, textWords, writeText } from './text.ts'

const WORD = 0
const TURN = 1
const PFN = 2
const NR_PAGES = 3
const SINCE = 4
const OWNER = 6

/** Bytes of an owner's name in UTF-8; longer ones are cut. */
export const OWNER_BYTES_MAX = 48
const RECORD_WORDS = 2 * CACHE_LINE_WORDS
const READY = 1

/** What is held, and what to call its holder. */
export interface Pin {
  readonly pfn: number
  readonly nrPages: number
  /** Cut to `OWNER_BYTES_MAX`. */
  readonly owner: string
  /** Since when, in milliseconds of any clock. */
  readonly sinceMs: number
}

/** A holding, as others see it. */
export interface PinRecord extends Pin {
  /** Its number. */
  readonly record: number
  /** The thread that took it. */
  readonly token: number
}

/** The records of one machine. */
export class Pins implements References {
  readonly nrRecords: number
  readonly words: Words
  private readonly slot: Slot
  /** Where this thread looks for a free record first. */
  private next = 0
  private nrMine = 0

  /** Words of shared memory that so many records need, zeroed. */
  static words(nrRecords: number): number {
    return nrRecords * RECORD_WORDS
  }

  /** @param slot The calling thread's own. */
  constructor(slot: Slot, words: Words) {
    assert(RECORD_WORDS >= OWNER + textWords(OWNER_BYTES_MAX), 'pins: a record is too small')
    this.slot = slot
    this.words = words
    this.nrRecords = Math.floor(words.length / RECORD_WORDS)
    assert(this.nrRecords * RECORD_WORDS === words.length, 'pins: no whole number of records')
    slot.references.push(this)
  }

  /**
   * Takes a record; mark the pages with it afterwards.
   *
   * @returns Its number; -1 if none is free.
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  take(pin: Pin): number {
    this.slot.assertAttached(`pin memory for ${pin.owner}`)
    assert(pin.pfn >= 0 && pin.nrPages > 0, `pins: ${pin.nrPages} pages from ${pin.pfn}`)
    for (let i = 0; i < this.nrRecords; i++) {
      const record = (this.next + i) % this.nrRecords
      if (!this.claim(record)) continue
      this.fill(record, pin)
      this.nrMine++
      this.next = record + 1
      return record
    }
    return -1
  }

  /**
   * Gives a record back, in the thread that took it; free the pages before.
   *
   * @throws {HotplugError} `EINVAL`: the slot is detached; the record lasts as long as the thread.
   */
  release(record: number): void {
    this.slot.assertAttached('unpin memory')
    const mine = (this.slot.token << 1) | READY
    const before = compareExchange(this.words, this.at(record, WORD), mine, 0) // R1
    assert(before === mine, `pins: record ${record} is not held by this thread`)
    this.nrMine--
  }

  /** How many this thread holds: while there are any, its slot stays taken. */
  mine(): number {
    return this.nrMine
  }

  /** Who has the record; null: nobody. */
  describe(record: number): PinRecord | null {
    for (;;) {
      const turn = load(this.words, this.at(record, TURN)) // D1
      const word = load(this.words, this.at(record, WORD)) // D2
      if ((word & READY) === 0) return null
      const found = this.read(record, word >>> 1)
      const same = load(this.words, this.at(record, TURN)) // D4
      if (same === turn) return found
    }
  }

  /** All that is held now. */
  all(): PinRecord[] {
    const found: PinRecord[] = []
    for (let record = 0; record < this.nrRecords; record++) {
      const pin = this.describe(record)
      if (pin !== null) found.push(pin)
    }
    return found
  }

  /**
   * For the service thread: takes out what belongs to threads that are gone.
   *
   * @param isFreed Whether nothing is left of a token's thread, as `Slots.isFreed`.
   * @param settle Frees the pages of a record before it is taken out; again, if that was cut short.
   * @returns What was taken out.
   */
  recover(
    isFreed: (token: number) => boolean,
    settle: (pin: PinRecord) => void = () => {},
  ): PinRecord[] {
    const found: PinRecord[] = []
    for (let record = 0; record < this.nrRecords; record++) {
      const word = this.wordOfGone(record, isFreed) // V1
      if (word === 0) continue
      if ((word & READY) !== 0) {
        const pin = this.read(record, word >>> 1)
        settle(pin) // V2
        found.push(pin)
      }
      store(this.words, this.at(record, WORD), 0) // V3: nobody else changes it
    }
    return found
  }

  /** The word of a record whose thread is gone, as it is when the thread is not; else 0. */
  private wordOfGone(record: number, isFreed: (token: number) => boolean): number {
    for (;;) {
      const word = load(this.words, this.at(record, WORD))
      if (word === 0 || !isFreed(word >>> 1)) return 0
      const same = load(this.words, this.at(record, WORD))
      if (same === word) return word // else it was given back before its thread left
    }
  }

  private claim(record: number): boolean {
    const mine = this.slot.token << 1
    return compareExchange(this.words, this.at(record, WORD), 0, mine) === 0 // T1
  }

  private fill(record: number, { pfn, nrPages, owner, sinceMs }: Pin): void {
    const since = Math.floor(sinceMs)
    add(this.words, this.at(record, TURN), 1) // T2
    store(this.words, this.at(record, PFN), pfn) // T3
    store(this.words, this.at(record, NR_PAGES), nrPages)
    store(this.words, this.at(record, SINCE), since | 0)
    store(this.words, this.at(record, SINCE + 1), Math.floor(since / 2 ** 32))
    writeText(this.words, this.at(record, OWNER), OWNER_BYTES_MAX, owner)
    store(this.words, this.at(record, WORD), (this.slot.token << 1) | READY) // T4
  }

  private read(record: number, token: number): PinRecord {
    const pfn = load(this.words, this.at(record, PFN)) // D3
    const nrPages = load(this.words, this.at(record, NR_PAGES))
    const low = load(this.words, this.at(record, SINCE))
    const high = load(this.words, this.at(record, SINCE + 1))
    const owner = readText(this.words, this.at(record, OWNER), OWNER_BYTES_MAX)
    return { record, token, pfn, nrPages, owner, sinceMs: high * 2 ** 32 + (low >>> 0) }
  }

  private at(record: number, field: number): number {
    return record * RECORD_WORDS + field
  }
}
