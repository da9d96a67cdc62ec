/*
 * Virtual pages with two threads that take, retire and die, and a service thread that recycles: no
 * page and no frame is lost or had by two, and nobody who looks inside the guard sees it reused.
 */
import { exchange, loadPlain, type Words } from '#atomics'
import { onlineAll, PageFrames } from '../../test/litmus/page-frames.ts'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard } from '../locking/guard.ts'
import { CACHE_LINE_WORDS, Slots } from '../locking/slots.ts'
import {
  FREE_LIST_HEADS,
  type Geometry,
  type MemoryControl,
  PTE,
  STATE_MASK,
  VIRTUAL_RECORD_WORDS,
  VIRTUAL_STATE,
  VirtualKind,
  VirtualState,
} from './geometry.ts'
import { VirtualPages } from './virtual-pages.ts'

/** Pages of a few words: one that holds the records, two that can be had; vpns 1 and 2. */
export const TINY: Geometry = {
  pageSize: 16,
  blockSize: 64,
  maxMemory: 64,
  pageWords: 4,
  pageWordsShift: 2,
  blockWords: 16,
  pagesPerBlock: 4,
  pagesPerBlockShift: 2,
  nrBlocks: 1,
  nrFrames: 3,
  unitsPerPageShift: 0,
  nrVirtual: 3,
  memmapPages: 1,
}

const PUBLISHED = 0

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

function controlOf({ b, t, e }: Face): MemoryControl {
  return { geometry: TINY, zones: b, blocks: b, pageTable: t, events: e, percpu: b }
}

function framesOf(face: Face): PageFrames {
  return new PageFrames(slotOf(face.s, face.id), TINY, [face.f])
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
  const pte = loadPlain(face.t, vpn * VIRTUAL_RECORD_WORDS + PTE)
  const pfn = (pte >>> 1) - 1
  const word = vpn === 0 ? 0 : loadPlain(face.f, FREE_LIST_HEADS + pfn * 2)
  guard.leave()
  if (vpn !== 0) assert(word >>> 3 === vpn && (word & 7) === 4, 'a reader met a reused page')
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
function recover(face: Face, Pages: typeof VirtualPages, service = 0): void {
  const dead = face.awaitDeath()
  new Slots(face.s).close(dead, 0)
  if (dead !== service) return // the service thread lives, and is another
  const pages = pagesOf(face, Pages)
  const frames = framesOf(face)
  frames.recoverDead()
  pages.recoverDead()
  recycle(face, Pages)
  pages.freeStale()
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face): void
}

interface Setting {
  readonly deaths?: number
  /** Vpn 1 is published already. */
  readonly isPublished?: boolean
  /** The thread whose death is recovered from; the first if left out. */
  readonly service?: number
}

function virtualPages(name: string, threads: readonly Thread[], setting: Setting = {}) {
  const { deaths = 0, isPublished = false } = setting
  const nrSlots = threads.reduce((sum, { count = 1 }) => sum + count, 0)
  return model({
    name: `virtual pages: ${name}`,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      g: t.int32(Guard.words(nrSlots), { init: openEarly }),
      b: t.int32(CACHE_LINE_WORDS, { init: online }),
      t: t.int32(TINY.nrVirtual * VIRTUAL_RECORD_WORDS, { init: w => isPublished && mapped(w) }),
      e: t.int32(4 * CACHE_LINE_WORDS, { init: w => isPublished && (w[3 * CACHE_LINE_WORDS] = 2) }),
      f: t.int32(FREE_LIST_HEADS + 8, { init: w => isPublished && taken(w) }),
      p: t.int32({ PUBLISHED }, { init: w => isPublished && (w[PUBLISHED] = 1) }),
    }),
    threads,
    deaths,
    timeouts: true,
    search: 'fingerprints',
    never: s => isShared(s.f),
    atEnd: s => (setting.service === 1 && s.dead(0)) || isWhole(s),
  })
}

function openEarly(words: Words): void {
  const nrSlots = words.length / CACHE_LINE_WORDS - 1
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  aliveThreads(s)
  Guard.choose(words, 0, 'asymmetric')
  for (let id = 0; id < nrSlots; id++) new Guard(slotOf(s, id), words, 0)
}

function online(words: Words): void {
  onlineAll({
    geometry: TINY,
    zones: words,
    blocks: words,
    pageTable: words,
    events: words,
    percpu: words,
  })
}

function mapped(words: Words): void {
  words[VIRTUAL_RECORD_WORDS + PTE] = (1 + 1) << 1
  words[VIRTUAL_RECORD_WORDS + VIRTUAL_STATE] = VirtualState.Sealed
}

function taken(words: Words): void {
  words[FREE_LIST_HEADS + 2] = (1 << 3) | 4
}

/** Two frames say that they are one page's; but for a moment after a death none is stale. */
function isShared(f: Readonly<Record<number, number>>): boolean {
  const first = f[FREE_LIST_HEADS + 2]!
  return first !== 0 && (first & 7) === 4 && first === f[FREE_LIST_HEADS + 4]!
}

/** Each page is free, or mapped to a frame that says so; each frame is free, or so mapped. */
function isWhole(s: {
  readonly t: Readonly<Record<number, number>>
  readonly f: Readonly<Record<number, number>>
}): boolean {
  let nrMapped = 0
  for (let vpn = 1; vpn < TINY.nrVirtual; vpn++) {
    const pte = s.t[vpn * VIRTUAL_RECORD_WORDS + PTE]!
    const state = s.t[vpn * VIRTUAL_RECORD_WORDS + VIRTUAL_STATE]! & STATE_MASK
    if (state === VirtualState.Reserved || (state === VirtualState.Free) !== (pte === 0)) {
      return false
    }
    if (pte === 0) continue
    nrMapped++
    const pfn = (pte >>> 1) - 1
    if (s.f[FREE_LIST_HEADS + 2 * pfn] !== ((vpn << 3) | 4)) return false
  }
  const frames = [1, 2].filter(pfn => s.f[FREE_LIST_HEADS + 2 * pfn] !== 0)
  return frames.length === nrMapped
}

/** Reuses a page at once. */
class WithoutGrace extends VirtualPages {}

/** Marks nothing that it takes off the stack. */
class TakesUnmarked extends VirtualPages {
  override recoverDead(): number {
    return 0
  }
}

/** Looks at a frame's PTE only. */
class FreesYoung extends VirtualPages {
  override stateOf(): number {
    return 0
  }
}

function recycleAtOnce(face: Face): void {
  const pages = pagesOf(face, WithoutGrace)
  const retired = pages.takeRetired()
  for (const vpn of retired) pages.release(vpn)
}

/** Frees what looks stale while others are at work. */
function freeStale(Pages: typeof VirtualPages) {
  return (face: Face): void => void pagesOf(face, Pages).freeStale()
}

const OWNER = { name: 'owner', body: owner(VirtualPages) }
const READER = { name: 'reader', body: reader }
const SERVICE = { name: 'service', body: (face: Face) => recycle(face, VirtualPages) }
const recovery = (Pages: typeof VirtualPages, service = 0) => ({
  name: 'recovery',
  daemon: true,
  body: (face: Face) => recover(face, Pages, service),
})

export const models = [
  virtualPages('2 take and retire', [{ ...OWNER, count: 2 }]),
  virtualPages('1 takes and retires, 1 reads, 1 recycles', [OWNER, READER, SERVICE], {
    isPublished: true,
  }),
  virtualPages('1 takes, stale frames are looked for', [
    OWNER,
    { name: 'scanner', body: freeStale(VirtualPages) },
  ]),
  virtualPages('1 takes and retires and may die', [OWNER, recovery(VirtualPages)], {
    deaths: 1,
    isPublished: true,
  }),
  virtualPages('the service thread may die', [OWNER, SERVICE, recovery(VirtualPages, 1)], {
    deaths: 1,
    service: 1,
    isPublished: true,
  }),
  mustFail(
    virtualPages(
      'reused without a grace period',
      [OWNER, READER, { name: 'service', body: recycleAtOnce }],
      { isPublished: true },
    ),
    { kind: 'exception' },
  ),
  mustFail(
    virtualPages('nobody recovers', [OWNER, recovery(TakesUnmarked)], {
      deaths: 1,
      isPublished: true,
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    virtualPages('a frame on its way looks stale', [
      OWNER,
      { name: 'scanner', body: freeStale(FreesYoung) },
    ]),
    { kind: 'atEnd' },
  ),
]
