/*
 * Virtual pages with two threads that take, retire and die, and a service thread that recycles: no
 * page and no frame is lost or had by two, and nobody who looks inside the guard sees it reused.
 */
import { exchange, load, loadPlain, type Words } from '#atomics'
import { onlineAll, PageFrames } from '../../test/litmus/page-frames.ts'
import { aliveThreads, bugOf, slotOf } from '../../test/litmus/threads.ts'
import { isShared, isWhole, PUBLISHED, TINY } from '../../test/litmus/virtual-pages.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard } from '../locking/guard.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from '../locking/slots.ts'
import {
  FREE_LIST_HEADS,
  type MemoryControl,
  PAGE_RECORD_WORDS,
  PageState,
  RETIRE_HEAD,
  RETIRED_PAGES,
  STATE_BITS,
  STATE_MASK,
  VIRTUAL_HIGH,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
} from './geometry.ts'
import { pfnOf, pteAt, pteOf } from './page-table.ts'
import { kindOfOwner, mapOfOwner, OWNER_RUN_SHIFT, VirtualPages } from './virtual-pages.ts'

/** Whoever dies is recovered from. */
const ANYBODY = -1

interface Face {
  readonly s: Words
  readonly g: Words
  /** Blocks' records, page table, events, the block, and what is published. */
  readonly b: Words
  readonly t: Words
  readonly e: Words
  readonly f: Words
  readonly p: Words
  readonly id: number
  awaitDeath(): number
}

function controlOf({ b, t, e }: Pick<Face, 'b' | 't' | 'e'>): MemoryControl {
  return { geometry: TINY, zones: b, blocks: b, pageTable: t, events: e, percpu: b }
}

/** Insists that who frees a frame says first that it is his. */
class OwnFrames extends PageFrames {
  private readonly words: Words
  private readonly mine: number

  constructor(face: Face) {
    const slot = slotOf(face.s, face.id)
    super(slot, TINY, [face.f])
    this.words = face.f
    this.mine = (slot.token << STATE_BITS) | PageState.Allocated
  }

  override freePage(pfn: number): void {
    const word = load(this.words, FREE_LIST_HEADS + pfn * PAGE_RECORD_WORDS)
    const isOfDead = (word & STATE_MASK) === PageState.Allocated && word !== this.mine
    assert(word === this.mine || isOfDead, `frame ${pfn} is not freed by its owner`)
    super.freePage(pfn)
  }
}

function framesOf(face: Face): PageFrames {
  return new OwnFrames(face)
}

function pagesOf(face: Face, Pages: typeof VirtualPages): VirtualPages {
  const frames = framesOf(face)
  return new Pages(slotOf(face.s, face.id), controlOf(face), frames, frames)
}

/** Takes a page, publishes it, takes it back, retires it. */
function owner(Pages: typeof VirtualPages) {
  return (face: Face): void => {
    const pages = pagesOf(face, Pages)
    const vpn = pages.open(0, VirtualKind.Entries)
    if (vpn < 0) return
    pages.seal(vpn)
    const before = exchange(face.p, PUBLISHED, vpn)
    if (before !== 0) pages.retire(before)
  }
}

/** Looks up what is published, inside the guard; what it reads must be that page's frame. */
function reader(face: Face): void {
  const guard = new Guard(slotOf(face.s, face.id), face.g, 0)
  guard.enter()
  const vpn = loadPlain(face.p, PUBLISHED)
  const pte = loadPlain(face.t, pteAt(vpn))
  const pfn = pfnOf(pte)
  const word = vpn === 0 ? 0 : loadPlain(face.f, FREE_LIST_HEADS + pfn * 2)
  guard.leave()
  if (vpn !== 0) assert(word >>> 3 === vpn && (word & 7) === 4, 'a reader met a reused page')
}

/** One thread alone: what is said of its pages, what it has retired, and what is free again. */
function alone(face: Face): void {
  const pages = pagesOf(face, VirtualPages)
  const first = pages.openRun(5, VirtualKind.Chunk, 2, 9)
  assert(first === 1, `opened ${first}, not 1`)
  for (let vpn = 1; vpn < 3; vpn++) {
    const owner = pages.ownerOf(vpn)
    const mark = pages.liveOf(vpn)
    const isSaid = mapOfOwner(owner) === 5 && kindOfOwner(owner) === VirtualKind.Chunk
    assert(isSaid && owner >>> OWNER_RUN_SHIFT === 2 && mark === 9, `it is ${owner}, ${mark}`)
    pages.seal(vpn)
    const isSealed = pages.isSealed(vpn)
    assert(isSealed, 'a page that is sealed is not')
  }
  const refusal = bugOf(() => pages.seal(1))
  assert(refusal.includes('not open by its sealer'), 'a page was sealed twice')
  pages.retire(1)
  pages.retire(2)
  const taken = pages.takeRetired()
  const again = pages.takeRetired()
  assert(taken.join() === '2,1' && again.length === 0, `took ${taken}, then ${again}`)
  for (let i = 0; i < taken.length; i++) pages.release(taken[i]!)
  opens(pages, 1)
  opens(pages, 2)
  recycleOne(pages, 1)
  opens(pages, 1)
  opens(pages, -1)
}

function opens(pages: VirtualPages, vpn: number): void {
  const opened = pages.open(5, VirtualKind.Entries)
  assert(opened === vpn, `opened ${opened}, not ${vpn}`)
}

/** Nobody looks at the page. */
function recycleOne(pages: VirtualPages, vpn: number): void {
  pages.seal(vpn)
  pages.retire(vpn)
  pages.takeRetired()
  pages.release(vpn)
}

/** As the service thread, which opens pages as well. */
function opensAndRecycles(face: Face): void {
  const pages = pagesOf(face, VirtualPages)
  const first = pages.open(0, VirtualKind.Entries)
  pages.open(0, VirtualKind.Entries)
  if (first !== -1) recycleOne(pages, first)
}

/** Retires pages that others may retire as well. */
function retirer(vpns: readonly number[]) {
  return (face: Face): void => {
    const pages = pagesOf(face, VirtualPages)
    for (let i = 0; i < vpns.length; i++) pages.retire(vpns[i]!)
  }
}

/** Takes so many pages. */
function opener(count: number) {
  return (face: Face): void => {
    const pages = pagesOf(face, VirtualPages)
    for (let i = 0; i < count; i++) pages.open(0, VirtualKind.Entries)
  }
}

/** Recycles until there is nothing to do. */
function recycle(face: Face, Pages: typeof VirtualPages): void {
  const pages = pagesOf(face, Pages)
  const guard = new Guard(slotOf(face.s, face.id), face.g, 0)
  const retired = pages.takeRetired()
  if (retired.length === 0) return
  guard.synchronize()
  for (const vpn of retired) pages.release(vpn)
}

/** What the service thread does after a death, or its successor after its own. */
function recover(face: Face, Pages: typeof VirtualPages, service: number): void {
  const dead = face.awaitDeath()
  new Slots(face.s).close(dead, 0)
  if (service !== ANYBODY && dead !== service) return // the service thread lives, and is another
  const pages = pagesOf(face, Pages)
  const frames = framesOf(face)
  frames.recoverDead() // as of a recovery that had looked at pages before the death
  pages.recoverDead()
  new Guard(slotOf(face.s, face.id), face.g, 0).synchronize()
  pages.freeStale()
  recycle(face, Pages)
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

interface Setting {
  readonly deaths?: number
  /** What is so before any thread runs: vpn 1 is published, for example. */
  readonly before?: (w: Prepared) => void
  /** The thread whose death is recovered from; the first if left out. */
  readonly service?: number
  /** A frame is stale at first. */
  readonly isStale?: boolean
  /** How many were retired, if that is known. */
  readonly nrRetired?: number
}

/** Blocks' records, page table, events, the block, and what is published. */
interface Prepared {
  readonly b: Words
  readonly t: Words
  readonly e: Words
  readonly f: Words
  readonly p: Words
}

function virtualPages(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { deaths = 0, before = () => {} } = setting
  const words = (length: number): Words => new Int32Array(length)
  const prepared: Prepared = {
    b: words(CACHE_LINE_WORDS),
    t: words(TINY.nrVirtual * VIRTUAL_RECORD_WORDS),
    e: words(5 * CACHE_LINE_WORDS),
    f: words(FREE_LIST_HEADS + 8),
    p: words(1),
  }
  onlineAll(controlOf(prepared))
  before(prepared)
  const as = (from: Words) => ({ length: from.length, init: (to: Words) => to.set(from) })
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  return model({
    name: `virtual pages: ${name}`,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      g: t.int32(Guard.words(nrSlots), { init: openEarly }),
      b: t.int32({}, as(prepared.b)),
      t: t.int32({}, as(prepared.t)),
      e: t.int32({ RETIRE_HEAD, RETIRED_PAGES, VIRTUAL_HIGH }, as(prepared.e)),
      f: t.int32({}, as(prepared.f)),
      p: t.int32({ PUBLISHED }, as(prepared.p)),
    }),
    threads,
    deaths,
    timeouts: true,
    search: 'fingerprints',
    never: s => !setting.isStale && isShared(s.f),
    atEnd: s => {
      const { service, nrRetired = s.e[RETIRED_PAGES] } = setting
      return (service === 1 && s.dead(0)) || (isWhole(s) && s.e[RETIRED_PAGES] === nrRetired)
    },
  })
}

function openEarly(words: Words): void {
  const nrSlots = words.length / CACHE_LINE_WORDS - 1
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  aliveThreads(s)
  Guard.choose(words, 0, 'asymmetric')
  for (let id = 0; id < nrSlots; id++) new Guard(slotOf(s, id), words, 0)
}

/** Page `vpn` is sealed, and has the frame of its number. */
function seal({ t, e, f }: Prepared, vpn: number): void {
  t[pteAt(vpn)] = pteOf(vpn)
  t[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = VirtualState.Sealed
  f[FREE_LIST_HEADS + vpn * PAGE_RECORD_WORDS] = (vpn << STATE_BITS) | PageState.Mapped
  e[VIRTUAL_HIGH] = vpn + 1
}

function published(prepared: Prepared): void {
  seal(prepared, 1)
  prepared.p[PUBLISHED] = 1
}

function twoSealed(prepared: Prepared): void {
  seal(prepared, 1)
  seal(prepared, 2)
}

/** Vpn 1 is open by the first thread, with frame 1; frame 2 says that it has it, too. */
function openAndStale(prepared: Prepared): void {
  seal(prepared, 1)
  const state = (tokenOf(0, 0) << STATE_BITS) | VirtualState.Open
  prepared.t[VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = state
  prepared.f[FREE_LIST_HEADS + 2 * PAGE_RECORD_WORDS] = (1 << STATE_BITS) | PageState.Mapped
}

/** Vpn 1 was retired by the service thread, the second. */
function retired(prepared: Prepared): void {
  seal(prepared, 1)
  const state = (tokenOf(1, 0) << STATE_BITS) | VirtualState.Retired
  prepared.t[VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = state
  prepared.e[RETIRE_HEAD] = 1
  prepared.e[RETIRED_PAGES] = 1
}

/** The same, and vpn 2 is sealed. */
function oneRetired(prepared: Prepared): void {
  retired(prepared)
  seal(prepared, 2)
}

/** Marks nothing that it takes off the stack. */
class TakesUnmarked extends VirtualPages {
  override recoverDead(): number {
    return 0
  }
}

/** Does not keep what the dead had reserved until stale frames are free. */
class FreesAtOnce extends VirtualPages {
  override undo(vpn: number): void {
    this.release(vpn)
  }
}

/** Looks at a frame's PTE only. */
class FreesYoung extends VirtualPages {
  override stateOf(): number {
    return 0
  }
}

/** Passes over a frame whose page goes on meanwhile. */
class LooksOnce extends VirtualPages {
  override isStale(pfn: number): boolean {
    const before = this.stateOf(1)
    const isStale = super.isStale(pfn)
    const after = this.stateOf(1)
    return isStale && before === after
  }
}

/** Seals vpn 1. */
const SEALER = { name: 'sealer', body: (face: Face) => pagesOf(face, VirtualPages).seal(1) }

function recycleAtOnce(face: Face): void {
  const pages = pagesOf(face, VirtualPages)
  const retired = pages.takeRetired()
  for (const vpn of retired) pages.release(vpn)
}

/** Frees what looks stale while others are at work. */
function freeStale(Pages: typeof VirtualPages) {
  return (face: Face): void => void pagesOf(face, Pages).freeStale()
}

/** Goes by the word that it saw before it looked at the thread. */
class GoesByOldWord extends VirtualPages {
  override wordOfDead(vpn: number): number {
    const word = this.stateOf(vpn)
    const state = word & STATE_MASK
    if (state === VirtualState.Free || state === VirtualState.Sealed) return 0
    return this.slot.slots.isAlive(word >>> STATE_BITS) ? 0 : word
  }
}

/** As an owner, and leaves. */
function leaver(face: Face): void {
  owner(VirtualPages)(face)
  new Slots(face.s).close(face.id, 0)
}

/** What the service thread does after others have gone. */
function recoverOthers(Pages: typeof VirtualPages) {
  return (face: Face): void => {
    const pages = pagesOf(face, Pages)
    pages.recoverDead()
    new Guard(slotOf(face.s, face.id), face.g, 0).synchronize()
    pages.freeStale()
  }
}

const OWNER = { name: 'owner', body: owner(VirtualPages) }
const OPENER = { name: 'opener', body: opener(1) }
const OPENERS = { name: 'opener', body: opener(2) }
const RETIRER = { name: 'retirer', body: retirer([1, 2]) }
const READER = { name: 'reader', body: reader }
const SERVICE = { name: 'service', body: (face: Face) => recycle(face, VirtualPages) }
const recovery = (Pages: typeof VirtualPages, service = 0) => ({
  name: 'recovery',
  daemon: true,
  body: (face: Face) => recover(face, Pages, service),
})

const SUCCESSOR = recovery(VirtualPages, 1)

export const models = [
  virtualPages('2 take and retire', [{ ...OWNER, count: 2 }]),
  virtualPages('1 takes and retires, 1 reads, 1 recycles', [OWNER, READER, SERVICE], {
    before: published,
  }),
  virtualPages('1 takes, stale frames are looked for', [
    OWNER,
    { name: 'scanner', body: freeStale(VirtualPages) },
  ]),
  virtualPages(
    '1 seals, a stale frame of its page is looked for',
    [SEALER, { name: 'scanner', body: freeStale(VirtualPages) }],
    { before: openAndStale, isStale: true },
  ),
  virtualPages(
    '1 takes, retires and leaves, others are recovered from',
    [
      { name: 'leaver', body: leaver },
      { name: 'service', body: recoverOthers(VirtualPages) },
    ],
    { before: published },
  ),
  virtualPages('1 takes and retires and may die', [OWNER, recovery(VirtualPages)], {
    deaths: 1,
    before: published,
  }),
  virtualPages('the service thread may die', [OWNER, SERVICE, recovery(VirtualPages, 1)], {
    deaths: 1,
    service: 1,
    before: published,
  }),
  virtualPages('1 alone', [{ name: 'owner', body: alone }]),
  virtualPages('2 retire 2 pages', [{ ...RETIRER, count: 2 }], {
    before: twoSealed,
    nrRetired: 2,
  }),
  virtualPages('1 retires, 1 recycles', [RETIRER, SERVICE], { before: oneRetired, nrRetired: 2 }),
  virtualPages('1 takes, 1 takes two and recycles', [
    OPENER,
    { name: 'service', body: opensAndRecycles },
  ]),
  virtualPages('1 takes, 1 may die at that', [OPENER, OPENER, recovery(VirtualPages, ANYBODY)], {
    deaths: 1,
  }),
  virtualPages('1 takes, the service thread may die', [OPENERS, SERVICE, SUCCESSOR], {
    deaths: 1,
    service: 1,
    before: retired,
  }),
  mustFail(
    virtualPages(
      'reused without a grace period',
      [OWNER, READER, { name: 'service', body: recycleAtOnce }],
      { before: published },
    ),
    { kind: 'exception' },
  ),
  mustFail(
    virtualPages(
      'what the living did before they left is taken back',
      [
        { name: 'leaver', body: leaver },
        { name: 'service', body: recoverOthers(GoesByOldWord) },
      ],
      { before: published },
    ),
    { kind: 'atEnd' },
  ),
  mustFail(
    virtualPages(
      'a stale frame is passed over, as its page goes on',
      [SEALER, { name: 'scanner', body: freeStale(LooksOnce) }],
      { before: openAndStale, isStale: true },
    ),
    { kind: 'atEnd' },
  ),
  mustFail(
    virtualPages('nobody recovers', [OWNER, recovery(TakesUnmarked)], {
      deaths: 1,
      before: published,
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    virtualPages('a stale frame is hidden', [OPENER, OPENER, recovery(FreesAtOnce, ANYBODY)], {
      deaths: 1,
    }),
    { kind: 'never' },
  ),
  mustFail(
    virtualPages('a frame on its way looks stale', [
      OWNER,
      { name: 'scanner', body: freeStale(FreesYoung) },
    ]),
    { kind: 'atEnd' },
  ),
]
