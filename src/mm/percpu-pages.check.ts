/*
 * Per-CPU page lists: one thread alone with its lists, with what is in them after each; and beside
 * one that drains. Every page of a list is in that list once, and says so.
 */
import { load, store } from '#atomics'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import {
  controlOf,
  Declared,
  type MemoryFace,
  type MemoryWords,
  memoryViews,
  ownSlot,
  type Prepared,
  prepare,
  present,
} from '../../test/litmus/memory.ts'
import { type Readable, whatIsWrong } from '../../test/litmus/pages.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard, type GuardForm } from '../locking/guard.ts'
import { tokenOf } from '../locking/slots.ts'
import {
  BLOCK_RECORD_WORDS,
  BLOCK_ZONE,
  BlockState,
  type Geometry,
  NR_ZONES,
  PageState,
  PERCPU_DISABLED,
  PERCPU_LIST_WORDS,
  ZoneKind,
} from './geometry.ts'
import { pageWord, recordOfPage, stateOfWord } from './memmap.ts'
import { PageAllocator } from './page-allocator.ts'
import { drainLists, PERCPU_BATCH, PERCPU_PAGES_MAX } from './percpu-pages.ts'

/** One block of three pages, two, or one of so many that a list can be full. */
const ONE = tinyGeometry({ pagesPerBlock: 4 })
const TWO = tinyGeometry({ nrBlocks: 2, pagesPerBlock: 4 })
const LARGE = tinyGeometry({ pagesPerBlock: 32 })
const TOKEN = 1
const ENTRIES = 2

type Work = (pages: PageAllocator, again: () => PageAllocator) => void

/** Drains without waiting for those who are at their lists. */
class DrainsAtOnce extends PageAllocator {
  override drainAll(): void {
    for (let i = 0; i < this.zones.length; i++) drainLists(this.zones[i]!)
  }
}

/** Drains, whoever stays inside. */
class DrainsAnyway extends PageAllocator {
  override tryDrainAll(looks: number): number {
    super.tryDrainAll(looks)
    store(this.control.events, PERCPU_DISABLED, 1)
    for (let i = 0; i < this.zones.length; i++) drainLists(this.zones[i]!)
    return -1
  }
}

/** Leaves lists disabled for who stays inside. */
class LeavesDisabled extends PageAllocator {
  override tryDrainAll(looks: number): number {
    const inside = super.tryDrainAll(looks)
    if (inside !== -1) store(this.control.events, PERCPU_DISABLED, 1)
    return inside
  }
}

function thread(work: Work, geometry: Geometry, Allocator: typeof PageAllocator) {
  return (face: MemoryFace): void => {
    const make = (): PageAllocator => {
      const slot = ownSlot(face)
      const guard = new Guard(slot, face.g, 0)
      return new Allocator(slot, controlOf(face, geometry), new Declared(face), guard)
    }
    work(make(), make)
  }
}

function take(pages: PageAllocator, kind: 'movable' | 'unmovable', pfn: number): void {
  const taken = pages.allocPage(kind)
  assert(taken === pfn, `took ${taken}, not ${pfn}`)
}

function drain(pages: PageAllocator): void {
  pages.drainAll()
  pages.enableLists()
}

/** Between D3 and D4 lists are empty. */
function drainLooking(pages: PageAllocator): void {
  pages.drainAll()
  assertEmpty(pages)
  pages.enableLists()
}

/** The same; or a thread stays inside, and all is as it was. */
function triesToDrain(pages: PageAllocator): void {
  const inside = pages.tryDrainAll(1)
  if (inside !== -1) return
  assertEmpty(pages)
  pages.enableLists()
}

function assertEmpty(pages: PageAllocator): void {
  const { percpu } = pages.control
  for (let place = 0; place < percpu.length; place += PERCPU_LIST_WORDS) {
    const count = load(percpu, place)
    assert(count === 0, 'a page came onto a list that is disabled')
  }
}

function expect(pages: PageAllocator, kind: 0 | 1, nrFree: number): void {
  const counted = pages.zones[kind]!.nrFree()
  assert(counted === nrFree, `zone ${kind} has ${counted} free pages, not ${nrFree}`)
}

/** A batch, and all of it again: last in, first out. A list lasts as long as its thread. */
function takesAll(pages: PageAllocator, again: () => PageAllocator): void {
  take(pages, 'unmovable', 1)
  expect(pages, ZoneKind.Normal, 0)
  take(pages, 'unmovable', 7)
  take(pages, 'unmovable', 6)
  pages.freePage(1)
  pages.freePage(7)
  const same = again()
  take(same, 'unmovable', 7)
  take(same, 'unmovable', 1)
  take(same, 'unmovable', 5)
  same.freePage(6)
  drain(same)
  expect(same, ZoneKind.Normal, 3)
}

/** Pages of zone Movable, or if it has none, of Normal; each goes back to its own. */
function twoZones(pages: PageAllocator): void {
  take(pages, 'movable', 5)
  take(pages, 'movable', 7)
  take(pages, 'movable', 6)
  take(pages, 'movable', 1)
  pages.freePage(6)
  pages.freePage(1)
  take(pages, 'unmovable', 1)
  drain(pages)
  expect(pages, ZoneKind.Normal, 2)
  expect(pages, ZoneKind.Movable, 1)
}

/** A full list gives back a batch, the last of it. */
function overflows(pages: PageAllocator): void {
  const nrFree = pages.zones[0]!.nrFree()
  pages.freePage(1)
  expect(pages, ZoneKind.Normal, nrFree + 1 + PERCPU_BATCH)
}

/** What a dead thread had in the slot's list is not taken for one's own. */
function begins(pages: PageAllocator): void {
  take(pages, 'unmovable', 2)
  take(pages, 'unmovable', 3)
  take(pages, 'unmovable', -1)
}

/** A page of an isolated block goes past the list. */
function isolates(pages: PageAllocator): void {
  take(pages, 'unmovable', 1)
  pages.zones[0]!.isolate(0)
  pages.freePage(1)
  take(pages, 'unmovable', 7)
}

function takesTwo(pages: PageAllocator): void {
  const first = pages.allocPage('unmovable')
  const second = pages.allocPage('unmovable')
  if (first !== -1) pages.freePage(first)
  if (second !== -1) pages.freePage(second)
  const third = pages.allocPage('unmovable')
  if (third !== -1) pages.freePage(third)
}

/** What is on the list stays there when a batch comes. */
function takesMore(pages: PageAllocator): void {
  const pfn = pages.allocPage('unmovable')
  assert(pfn === 1 || pfn === 2, `took ${pfn}`)
}

const enables: Work = pages => pages.enableLists()

function takesOne(pages: PageAllocator): void {
  const pfn = pages.allocPage('unmovable')
  if (pfn !== -1) pages.freePage(pfn)
}

interface Setting {
  readonly geometry?: Geometry
  readonly form?: GuardForm
  readonly Allocator?: typeof PageAllocator
  /** What is so before any thread runs, beside block 0 in zone Normal. */
  readonly before?: (prepared: Prepared) => void
}

const withBoth = (prepared: Prepared): void => present(prepared, 1, BlockState.Online)

function withMovable(prepared: Prepared): void {
  present(prepared, 1, BlockState.Offline)
  prepared.control.blocks[BLOCK_RECORD_WORDS + BLOCK_ZONE] = ZoneKind.Movable
  prepared.zones[1]!.giveBlock(1)
}

/** The first thread has page 1, and a full list. */
function withFullList({ zones, control }: Prepared): void {
  zones[0]!.alloc(0)
  zones[0]!.begin()
  for (let i = 0; i < PERCPU_PAGES_MAX; i++) {
    const pfn = zones[0]!.take(0, pageWord(PageState.Percpu, tokenOf(0, 0)))
    control.percpu[ENTRIES + i] = pfn
  }
  zones[0]!.end()
  control.percpu[0] = PERCPU_PAGES_MAX
}

/** Page 1 is on the first thread's list, and who drains died between D1 and D3. */
function withDisabled(prepared: Prepared): void {
  const { zones, control } = prepared
  withBoth(prepared)
  zones[0]!.begin()
  const pfn = zones[0]!.take(0, pageWord(PageState.Percpu, tokenOf(0, 0)))
  zones[0]!.end()
  control.percpu[0] = 1
  control.percpu[ENTRIES] = pfn
  control.events[PERCPU_DISABLED] = 1
}

/** Page 1 is on the list of a thread that died in the first slot. */
function withOldList({ zones, control }: Prepared): void {
  zones[0]!.begin()
  const pfn = zones[0]!.take(0, pageWord(PageState.Percpu, tokenOf(0, 5)))
  zones[0]!.end()
  control.percpu.set([1, tokenOf(0, 5), pfn])
}

function lists(name: string, works: readonly Work[], setting: Setting = {}) {
  const { geometry = TWO, form = 'portable', Allocator = PageAllocator } = setting
  const { before = () => {} } = setting
  const threads = works.map((work, i) => ({
    name: `owner ${i + 1}`,
    body: thread(work, geometry, Allocator),
  }))
  return model({
    name: `per-CPU pages, ${form}: ${name}`,
    shared: (t: Declare) =>
      memoryViews(t, () => {
        const prepared = prepare(geometry, works.length, form)
        present(prepared, 0, BlockState.Online)
        before(prepared)
        return prepared
      }),
    threads,
    timeouts: true, // a grace period looks again and again
    atEnd: s => isRight(s, geometry, works.length),
  })
}

function isRight(s: MemoryWords & { readonly p: Readable }, geometry: Geometry, nrSlots: number) {
  const memmaps = geometry.nrBlocks === 2 ? [s.m0, s.m1] : [s.m0]
  const wrong = whatIsWrong({ geometry, zones: s.z, blocks: s.b, memmaps })
  const listed = listedPages(s.p, memmaps, geometry, nrSlots)
  if (wrong !== '' || listed === null || s.e[PERCPU_DISABLED] !== 0) return false
  for (let pfn = 0; pfn < geometry.nrFrames; pfn++) {
    const word = wordOf(memmaps, geometry, pfn)
    const isOfDead = word === pageWord(PageState.Percpu, tokenOf(0, 5))
    const isPercpu = stateOfWord(word) === PageState.Percpu && !isOfDead
    if (isPercpu !== listed.has(pfn)) return false
  }
  return true
}

/** Pages in the lists; null: one of them says that it is not, or is there twice. */
function listedPages(
  percpu: Readable,
  memmaps: readonly Readable[],
  geometry: Geometry,
  nrSlots: number,
): Set<number> | null {
  const listed = new Set<number>()
  for (let list = 0; list < nrSlots * NR_ZONES; list++) {
    const place = list * PERCPU_LIST_WORDS
    const word = pageWord(PageState.Percpu, percpu[place + TOKEN]!)
    for (let i = 0; i < percpu[place]!; i++) {
      const pfn = percpu[place + ENTRIES + i]!
      if (listed.has(pfn) || wordOf(memmaps, geometry, pfn) !== word) return null
      listed.add(pfn)
    }
  }
  return listed
}

function wordOf(memmaps: readonly Readable[], geometry: Geometry, pfn: number): number {
  const page = pfn & (geometry.pagesPerBlock - 1)
  return memmaps[pfn >>> geometry.pagesPerBlockShift]![recordOfPage(page)]!
}

const BOTH = { before: withBoth } as const
const ASYMMETRIC = { geometry: ONE, form: 'asymmetric' } as const

/** What `npm run check` runs. */
export const models = [
  lists('takes all', [takesAll], BOTH),
  lists('takes all', [takesAll], { ...BOTH, form: 'asymmetric' }),
  lists('two zones', [twoZones], { before: withMovable }),
  lists('a list is full', [overflows], { geometry: LARGE, before: withFullList }),
  lists('a block is isolated', [isolates], BOTH),
  lists('in the slot of a dead thread', [begins], { geometry: ONE, before: withOldList }),
  lists('one takes two, another drains', [takesTwo, drainLooking], { geometry: ONE }),
  lists('one takes two, another tries to drain', [takesTwo, triesToDrain], { geometry: ONE }),
  lists('one takes, another tries to drain', [takesOne, triesToDrain], ASYMMETRIC),
  lists('one takes, lists are enabled', [takesMore, enables], { before: withDisabled }),
  lists('one takes, another drains', [takesOne, drain], ASYMMETRIC),
  mustFail(lists('drains at once', [takesTwo, drain], { geometry: ONE, Allocator: DrainsAtOnce })),
  mustFail(
    lists('drains anyway', [takesTwo, triesToDrain], { geometry: ONE, Allocator: DrainsAnyway }),
  ),
  mustFail(
    lists('leaves lists disabled', [takesOne, triesToDrain], {
      geometry: ONE,
      Allocator: LeavesDisabled,
    }),
    { kind: 'atEnd' },
  ),
]
