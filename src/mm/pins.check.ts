/*
 * Pins: two that take, one that looks, deaths of a holder and of who recovers.
 */
import { add, compareExchange, load, store, type Words } from '#atomics'
import { aliveThreads, bugOf, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Slots, tokenOf } from '../locking/slots.ts'
import { type Pin, type PinRecord, Pins } from './pins.ts'

const WORD = 0
const TURN = 1
const PFN = 2
const NR_PAGES = 3
/** In the second record's place: the page that a record names, and how often it was freed. */
const RECORDS = Pins.words(1)
const PAGE = 0
const FREED = 1
const GONE = 2
const PAGE_WORDS = { PAGE, FREED, GONE } as const

interface Face {
  readonly s: Words
  readonly p: Words
  readonly page: Words
  readonly id: number
  cs(label: string): void
}

type Kind = typeof Pins

/** Both words of the time are `n`. */
const sinceOf = (n: number): number => n * (2 ** 32 + 1)
const pinOf = (n: number): Pin => ({ pfn: n, nrPages: n, owner: '', sinceMs: sinceOf(n) })

function pinsOf({ s, p, id }: Face, K: Kind): Pins {
  return new K(slotOf(s, id), p)
}

/** Takes and releases so many times, each time other pages. */
function holder(face: Face, K: Kind, times: number): void {
  const pins = pinsOf(face, K)
  for (let i = 0; i < times; i++) {
    const record = pins.take(pinOf(1 + face.id + 2 * i))
    if (record === -1) continue
    face.cs('holds')
    load(face.page, PAGE)
    face.cs('')
    pins.release(record)
  }
}

function onlooker(face: Face, K: Kind): void {
  const found = pinsOf(face, K).describe(0)
  if (found === null) return
  const { pfn, nrPages, sinceMs } = found
  if (pfn !== nrPages || sinceOf(pfn) !== sinceMs)
    throw new Error(`torn: ${pfn} ${nrPages} ${sinceMs}`)
}

/** One alone: what it holds is told as it said, until it releases it, once. */
function alone(face: Face): void {
  const pins = new Pins(slotOf(face.s, face.id), face.p)
  const record = pins.take({ ...pinOf(5), owner: 'an addon' })
  const found = pins.describe(record)
  const isTold =
    found !== null &&
    found.pfn === 5 &&
    found.nrPages === 5 &&
    found.sinceMs === sinceOf(5) &&
    found.owner === 'an addon'
  assert(isTold, 'it is told otherwise')
  const second = pins.take(pinOf(6))
  assert(second === -1, 'a record was taken twice')
  pins.release(record)
  const refusal = bugOf(() => pins.release(record))
  assert(refusal.includes('is not held'), 'it was released twice')
  const left = pins.describe(record)
  assert(left === null, 'what was released is told')
}

/** One record, the page that it names, and so many threads. */
function declare(t: Declare, nrThreads: number) {
  return {
    p: t.int32(RECORDS),
    page: t.int32(PAGE_WORDS),
    s: t.int32(Slots.words(nrThreads), { init: aliveThreads }),
  }
}

/** Holders that want one record, and one who looks at it. */
function looking(name: string, K: Kind, { count, times }: { count: number; times: number }) {
  return model({
    name,
    shared: t => declare(t, 3),
    threads: [
      { name: 'holder', count, body: face => holder(face, K, times) },
      { name: 'onlooker', body: face => onlooker(face, K) },
    ],
    never: s => s.in('holds') > 1,
    atEnd: s => s.p[WORD] === 0,
  })
}

/** Frees the page if it still names the record. */
function settle(face: Face): void {
  const before = compareExchange(face.page, PAGE, 1, 0)
  if (before === 1) add(face.page, FREED, 1)
}

/** A holder that marks a page dies anywhere; its pin is recovered when it is gone. */
function holderDies(name: string, K: Kind) {
  return model({
    name,
    shared: t => declare(t, 2),
    threads: [
      {
        name: 'holder',
        body: face => {
          const pins = pinsOf(face, K)
          const record = pins.take(pinOf(1))
          store(face.page, PAGE, 1)
          store(face.page, PAGE, 0)
          pins.release(record)
        },
      },
      {
        name: 'service',
        daemon: true,
        body: face => {
          face.awaitDeath()
          pinsOf(face, K).recover(
            token => token === tokenOf(0, 0),
            () => settle(face),
          )
        },
      },
    ],
    deaths: 1,
    atEnd: s => s.p[WORD] === 0 && s.page.PAGE === 0,
  })
}

/** A dead holder's pin; who recovers it dies anywhere, and has a successor. */
function recoveryDies(name: string, K: Kind) {
  const recover = (face: Face): PinRecord[] =>
    pinsOf(face, K).recover(
      token => token === tokenOf(2, 0),
      () => settle(face),
    )
  return model({
    name,
    shared: t => ({
      p: t.int32(RECORDS, {
        init: words => {
          words[WORD] = (tokenOf(2, 0) << 1) | 1
          words.fill(1, TURN, NR_PAGES + 1)
        },
      }),
      page: t.int32(PAGE_WORDS, { init: words => words.fill(1, PAGE, PAGE + 1) }),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      { name: 'service', body: recover },
      {
        name: 'successor',
        daemon: true,
        body: face => {
          face.awaitDeath()
          recover(face)
        },
      },
    ],
    deaths: 1,
    atEnd: s => s.p[WORD] === 0 && s.page.PAGE === 0,
  })
}

/** A holder that releases and leaves, one that takes the record next, and who recovers. */
function holderLeaves(name: string, K: Kind) {
  return model({
    name,
    shared: t => declare(t, 3),
    threads: [
      {
        name: 'leaver',
        body: face => {
          holder(face, K, 1)
          store(face.page, GONE, 1)
        },
      },
      { name: 'next', body: face => holder(face, K, 1) },
      {
        name: 'service',
        body: face => {
          const isFreed = (token: number): boolean =>
            token === tokenOf(0, 0) && load(face.page, GONE) === 1
          pinsOf(face, K).recover(isFreed, () => settle(face))
        },
      },
    ],
    never: s => s.in('holds') > 1,
    atEnd: s => s.p[WORD] === 0,
  })
}

interface Parts {
  readonly slot: { readonly token: number }
}

/** Does not say that it was taken once more. */
class CountsNoTurn extends Pins {
  override take(pin: Pin): number {
    const { slot } = this as unknown as Parts
    if (compareExchange(this.words, WORD, 0, slot.token << 1) !== 0) return -1
    fill(this.words, pin)
    store(this.words, WORD, (slot.token << 1) | 1)
    return 0
  }
}

/** Is ready before it is filled. */
class ReadyTooEarly extends Pins {
  override take(pin: Pin): number {
    const { slot } = this as unknown as Parts
    if (compareExchange(this.words, WORD, 0, (slot.token << 1) | 1) !== 0) return -1
    add(this.words, TURN, 1)
    fill(this.words, pin)
    return 0
  }
}

function fill(words: Words, { pfn, nrPages, sinceMs }: Pin): void {
  store(words, PFN, pfn)
  store(words, NR_PAGES, nrPages)
  store(words, NR_PAGES + 1, sinceMs | 0)
  store(words, NR_PAGES + 2, Math.floor(sinceMs / 2 ** 32))
}

/** Takes what was free when it looked. */
class TakesBlindly extends Pins {
  override take(pin: Pin): number {
    const { slot } = this as unknown as Parts
    const word = load(this.words, WORD)
    if (word !== 0) return -1
    store(this.words, WORD, slot.token << 1)
    add(this.words, TURN, 1)
    fill(this.words, pin)
    store(this.words, WORD, (slot.token << 1) | 1)
    return 0
  }
}

/** Takes the record out, then settles. */
class SettlesLast extends Pins {
  override recover(
    isFreed: (token: number) => boolean,
    settle: (pin: PinRecord) => void,
  ): PinRecord[] {
    const found = super.recover(isFreed)
    for (const pin of found) settle(pin)
    return found
  }
}

/** Takes out only what is ready. */
class ForgetsUnready extends Pins {
  override recover(
    isFreed: (token: number) => boolean,
    settle: (pin: PinRecord) => void,
  ): PinRecord[] {
    const word = load(this.words, WORD)
    return (word & 1) === 0 ? [] : super.recover(isFreed, settle)
  }
}

/** Goes by the word that it read before it asked whether the thread is there. */
class LooksOnce extends Pins {
  override recover(isFreed: (token: number) => boolean): PinRecord[] {
    const word = load(this.words, WORD)
    if (word !== 0 && isFreed(word >>> 1)) store(this.words, WORD, 0)
    return []
  }
}

const oneTwice = { count: 1, times: 2 }
const two = { count: 2, times: 1 }

/** What `npm run check` runs. */
export const models = [
  model({
    name: 'pins: one alone',
    shared: t => declare(t, 1),
    threads: [{ name: 'holder', body: alone }],
    atEnd: s => s.p[WORD] === 0,
  }),
  looking('pins: one takes twice, one looks', Pins, oneTwice),
  looking('pins: two take, one looks', Pins, two),
  holderDies('pins: the holder dies', Pins),
  recoveryDies('pins: who recovers dies', Pins),
  holderLeaves('pins: a holder leaves, another takes its record', Pins),
  mustFail(looking('pins: counts no turn', CountsNoTurn, oneTwice), { kind: 'exception' }),
  mustFail(looking('pins: is ready before it is filled', ReadyTooEarly, oneTwice), {
    kind: 'exception',
  }),
  mustFail(looking('pins: takes what was free', TakesBlindly, two)),
  mustFail(recoveryDies('pins: takes out, then settles', SettlesLast)),
  mustFail(holderLeaves('pins: looks once at a word', LooksOnce)),
  mustFail(holderDies('pins: forgets what is not ready', ForgetsUnready)),
]
