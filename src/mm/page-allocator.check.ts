/*
 * Pages taken and given by threads, while another isolates their block, drains all lists and takes
 * the block, or while one dies: no page has two owners (who frees a page asserts that it is his),
 * none is lost, and lists and counters are exact at the end.
 */
import { load, loadPlain, store, storePlain, type Words } from '#atomics'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { Declared } from '../../test/litmus/memory.ts'
import { countPages, type PageMemory, whatIsWrong } from '../../test/litmus/pages.ts'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard } from '../locking/guard.ts'
import { Slots, tokenOf } from '../locking/slots.ts'
import {
  BLOCK_FREE,
  BLOCK_ISOLATED,
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCK_ZONE,
  BLOCKS_HIGH,
  BlockState,
  type Geometry,
  type MemoryControl,
  makeMemoryControl,
  NR_ZONES,
  PageState,
  PERCPU_DISABLED,
  PERCPU_LIST_WORDS,
} from './geometry.ts'
import {
  initMemmap,
  nrManagedPages,
  pageWord,
  payloadOfWord,
  recordOfPage,
  stateOfWord,
  storePageWord,
} from './memmap.ts'
import { PageAllocator } from './page-allocator.ts'
import { drainLists, PercpuPages } from './percpu-pages.ts'
import { Zone } from './zone.ts'

/** Words from one slot's lists to the next's. */
const LIST_STRIDE = NR_ZONES * PERCPU_LIST_WORDS

/** Shared words of a machine with two blocks in zone Normal. */
interface Face {
  readonly z: Words
  readonly b: Words
  readonly e: Words
  readonly p: Words
  readonly s: Words
  readonly g: Words
  readonly m0: Words
  readonly m1: Words
  readonly id: number
  cs(label: string): void
  awaitDeath(): number
}

/** Drains without waiting for those who are at their lists. */
class DrainsAtOnce extends PageAllocator {
  override drainAll(): void {
    store(this.control.events, PERCPU_DISABLED, 1)
    for (let i = 0; i < this.zones.length; i++) drainLists(this.zones[i]!)
  }
}

/** Frees whatever a list says. */
class TrustsLists extends PageAllocator {
  override drainAll(): void {
    const zone = this.zones[0]!
    store(this.control.events, PERCPU_DISABLED, 1)
    this.guard.synchronize()
    zone.begin()
    for (let slot = 0; slot < this.slot.slots.nrSlots; slot++) {
      const list = slot * LIST_STRIDE
      const count = load(this.control.percpu, list)
      for (let i = 0; i < count; i++) {
        const pfn = load(this.control.percpu, list + 2 + i)
        zone.put(pfn, 0)
      }
      store(this.control.percpu, list, 0)
    }
    zone.end()
  }
}

/** Frees what the dead had taken, not what they had on their lists. */
class ForgetsLists extends PageAllocator {
  override recoverDead(): number {
    this.zones[0]!.settle()
    return 0
  }
}

/** Does not look whether lists are disabled. */
class PopsAnyway extends PageAllocator {
  override makeList(zone: Zone): PercpuPages {
    return new PopsAnywayList(this.slot, zone, this.guard)
  }
}

class PopsAnywayList extends PercpuPages {
  override pop(): number {
    const { control, frames } = this.zone
    const list = this.zone.slot.index * LIST_STRIDE
    const count = loadPlain(control.percpu, list)
    if (count === 0 || this.zone.kind === 1) return -1
    const pfn = loadPlain(control.percpu, list + 1 + count)
    const mine = pageWord(PageState.Allocated, this.zone.slot.token)
    storePageWord(control.geometry, frames, pfn, mine)
    storePlain(control.percpu, list, count - 1)
    return pfn
  }
}

/** Does not look whether the block of a page is isolated. */
class PushesIsolated extends PageAllocator {
  override makeList(zone: Zone): PercpuPages {
    return new PushesIsolatedList(this.slot, zone, this.guard)
  }
}

class PushesIsolatedList extends PercpuPages {
  override push(pfn: number): boolean {
    const { control, frames } = this.zone
    const list = this.zone.slot.index * LIST_STRIDE
    if (load(control.events, PERCPU_DISABLED) !== 0) return false
    const count = loadPlain(control.percpu, list)
    const listed = pageWord(PageState.Percpu, this.zone.slot.token)
    storePageWord(control.geometry, frames, pfn, listed)
    storePlain(control.percpu, list + 2 + count, pfn)
    storePlain(control.percpu, list, count + 1)
    return true
  }
}

/** Takes a batch, and puts it on the list when the lock is another's. */
class ListsOutsideLock extends PageAllocator {
  override makeList(zone: Zone): PercpuPages {
    return new ListsOutsideLockList(this.slot, zone, this.guard)
  }
}

class ListsOutsideLockList extends PercpuPages {
  override refill(): number {
    const { zone } = this
    const { token, index } = zone.slot
    const { percpu } = zone.control
    zone.begin()
    const pfn = zone.take(0, pageWord(PageState.Allocated, token))
    const next = pfn === -1 ? -1 : zone.take(0, pageWord(PageState.Percpu, token))
    zone.end()
    if (next === -1) return pfn
    storePlain(percpu, index * LIST_STRIDE + 2, next)
    storePlain(percpu, index * LIST_STRIDE, 1)
    return pfn
  }
}

/** Goes on with what the slot's last owner left in its list. */
class KeepsOldList extends PageAllocator {
  override makeList(zone: Zone): PercpuPages {
    const { token, index } = this.slot
    store(this.control.percpu, index * LIST_STRIDE + 1, token)
    return new PercpuPages(this.slot, zone, this.guard)
  }
}

/** Leaves lists and counters as the dead left them. */
class DoesNotRepair extends PageAllocator {
  override makeZone(kind: 0 | 1): Zone {
    return new DoesNotRepairZone(this.slot, this.control, this.frames, kind)
  }
}

class DoesNotRepairZone extends Zone {
  override begin(): void {
    this.lock.lock()
  }
}

/** Changes lists without the lock. */
class DoesNotLock extends PageAllocator {
  override makeZone(kind: 0 | 1): Zone {
    return new DoesNotLockZone(this.slot, this.control, this.frames, kind)
  }
}

class DoesNotLockZone extends Zone {
  override begin(): void {}
  override end(): void {}
}

/** Isolates by the flag alone, while others are taking. */
class IsolatesWithoutLock extends PageAllocator {
  override makeZone(kind: 0 | 1): Zone {
    return new IsolatesWithoutLockZone(this.slot, this.control, this.frames, kind)
  }
}

class IsolatesWithoutLockZone extends Zone {
  override isolate(block: number): void {
    store(this.control.blocks, block * BLOCK_RECORD_WORDS + BLOCK_ISOLATED, 1)
  }
}

function controlOf({ z, b, e, p }: Face, geometry: Geometry): MemoryControl {
  return { geometry, zones: z, blocks: b, pageTable: e, events: e, percpu: p }
}

function allocatorOf(
  face: Face,
  geometry: Geometry,
  Allocator: typeof PageAllocator,
): PageAllocator {
  const slot = slotOf(face.s, face.id)
  const guard = new Guard(slot, face.g, 0)
  return new Allocator(slot, controlOf(face, geometry), new Declared(face), guard)
}

/** Takes a page and gives it back, so many times. */
function user(rounds: number) {
  return (face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void => {
    const pages = allocatorOf(face, geometry, Allocator)
    for (let i = 0; i < rounds; i++) {
      const pfn = pages.allocPage('unmovable')
      if (pfn !== -1) pages.freePage(pfn)
    }
  }
}

/** Takes two pages side by side and gives them back. */
function chunkUser(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const pages = allocatorOf(face, geometry, Allocator)
  const pfn = pages.allocChunk(1)
  if (pfn !== -1) pages.freeChunk(pfn, 1)
}

/** Takes the page of zone Movable; it goes back there. */
function movableUser(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const pages = allocatorOf(face, geometry, Allocator)
  const pfn = pages.allocPage('movable')
  pages.freePage(pfn)
  pages.drainAll()
  pages.enableLists()
  const nrFree = pages.zones[1]!.nrFree()
  assert(nrFree === 1, 'a page of zone Movable went elsewhere')
}

/** Isolates block 0 and drains; takes the block if nobody has a page of it, or goes back. */
function operator(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const pages = allocatorOf(face, geometry, Allocator)
  const zone = pages.zones[0]!
  zone.isolate(0)
  pages.drainAll()
  pages.enableLists()
  const nrFree = load(face.b, BLOCK_FREE)
  for (let page = geometry.memmapPages; page < geometry.pagesPerBlock; page++) {
    const word = load(face.m0, recordOfPage(page))
    const state = stateOfWord(word)
    if (state === PageState.Percpu) {
      const isAlive = pages.slot.slots.isAlive(payloadOfWord(word))
      assert(!isAlive, 'a page of an isolated block is on a list')
    }
    if (nrFree === nrManagedPages(geometry)) {
      assert(state !== PageState.Allocated, 'an empty block gave out a page')
    }
  }
  if (nrFree === nrManagedPages(geometry)) zone.takeBlock(0)
  else zone.undoIsolate(0)
}

/** Isolates block 0 and goes back. */
function isolator(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const { zones } = allocatorOf(face, geometry, Allocator)
  zones[0]!.isolate(0)
  zones[0]!.undoIsolate(0)
}

/** Takes block 1, and gives it again. */
function mover(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const { zones } = allocatorOf(face, geometry, Allocator)
  zones[0]!.isolate(1)
  const nrFree = load(face.b, BLOCK_RECORD_WORDS + BLOCK_FREE)
  if (nrFree === nrManagedPages(geometry)) zones[0]!.takeBlock(1)
  zones[0]!.giveBlock(1)
}

/** Frees what the dead had. */
function reaper(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void {
  const dead = face.awaitDeath()
  const slots = new Slots(face.s)
  const pages = allocatorOf(face, geometry, Allocator)
  slots.register(pages.zones[0]!.lock)
  slots.close(dead, 0)
  pages.recoverDead()
  pages.recoverDead()
}

interface Thread {
  readonly name: string
  readonly count?: number
  readonly daemon?: boolean
  body(face: Face, geometry: Geometry, Allocator: typeof PageAllocator): void
}

interface Setting {
  readonly pagesPerBlock: number
  /** Whether block 1 is there too. */
  readonly nrBlocks: 1 | 2
  readonly form?: 'portable' | 'asymmetric'
  readonly deaths?: number
  /** As it is, or broken. */
  readonly Allocator?: typeof PageAllocator
  /** The first slot's last owner died with a page on its list. */
  readonly isSlotUsed?: boolean
  /** Block 1 is in zone Movable. */
  readonly isMovable?: boolean
  /** Preemptions that are enough to fail. */
  readonly preemptions?: number
}

/** Every shared word as it is when the blocks are online and no thread has done anything. */
function prepared(geometry: Geometry, nrSlots: number, setting: Setting) {
  const words = (nrWords: number): Words => new Int32Array(new SharedArrayBuffer(nrWords * 4))
  const control = makeMemoryControl(geometry, nrSlots)
  const memmaps = [words(geometry.pageWords), words(geometry.pageWords)]
  const frames = { block: (block: number) => memmaps[block]! }
  const slots = words(Slots.words(nrSlots))
  const guard = words(Guard.words(nrSlots))
  aliveThreads(slots)
  Guard.choose(guard, 0, setting.form ?? 'portable')
  for (let block = 0; block < geometry.nrBlocks; block++) {
    initMemmap(control.geometry, frames, block)
    control.events[BLOCKS_HIGH] = block + 1
    control.blocks[block * BLOCK_RECORD_WORDS + BLOCK_STATE] = BlockState.Online
    const kind = setting.isMovable ? (block as 0 | 1) : 0
    control.blocks[block * BLOCK_RECORD_WORDS + BLOCK_ZONE] = kind
    new Zone(slotOf(slots, 0), control, frames, kind).giveBlock(block)
  }
  for (let id = 0; id < nrSlots; id++) {
    const slot = slotOf(slots, id)
    new PageAllocator(slot, control, frames, new Guard(slot, guard, 0))
  }
  if (setting.isSlotUsed) control.percpu.set([1, tokenOf(0, 5), 1])
  return { control, memmaps, slots, guard }
}

function pages(name: string, threads: readonly Thread[], setting: Setting) {
  const { pagesPerBlock, nrBlocks, form = 'portable', deaths = 0 } = setting
  const { Allocator = PageAllocator } = setting
  const geometry = tinyGeometry({ nrBlocks, pagesPerBlock })
  const all: Thread[] = [...threads]
  if (deaths > 0) all.push({ name: 'reaper', daemon: true, body: reaper })
  const nrSlots = all.reduce((sum, { count = 1 }) => sum + count, 0)
  const { control, memmaps, slots, guard } = prepared(geometry, nrSlots, setting)
  const as = (words: Words) => ({
    length: words.length,
    init: (view: Words) => view.set(words),
  })
  return model({
    name: `pages, ${form}: ${name}`,
    shared: t => ({
      z: t.int32({ LOCK: 0, HINT: 1, DIRTY: 2, FREE: 3 }, as(control.zones)),
      b: t.int32({}, as(control.blocks)),
      e: t.int32({ DISABLED: PERCPU_DISABLED }, as(control.events)),
      p: t.int32(names(nrSlots), as(control.percpu)),
      s: t.int32({}, as(slots)),
      g: t.int32({}, as(guard)),
      m0: t.int32({}, as(memmaps[0]!)),
      m1: t.int32({}, as(memmaps[1]!)),
    }),
    threads: all.map(({ body, ...thread }) => ({
      ...thread,
      body: (face: Face) => body(face, geometry, Allocator),
    })),
    deaths,
    ...(setting.preemptions !== undefined && { search: { preemptions: setting.preemptions } }),
    timeouts: all.some(({ body }) => body === operator), // a grace period looks again and again
    atEnd: s => {
      const blocks = nrBlocks === 2 ? [s.m0, s.m1] : [s.m0]
      const memory = { geometry, zones: s.z, blocks: s.b, memmaps: blocks }
      for (let id = 0; id < nrSlots; id++) if (s.dead(id) && hasPages(memory, id)) return false
      if (deaths === 0 && s.e[PERCPU_DISABLED] !== 0) return false
      return whatIsWrong(memory) === '' && countPages(memory, PageState.Allocated) === 0
    },
  })
}

/** Whether a page is on the list of thread `id`. */
function hasPages({ memmaps, geometry }: PageMemory, id: number): boolean {
  const listed = pageWord(PageState.Percpu, tokenOf(id, 0))
  for (const memmap of memmaps) {
    for (let page = 0; page < geometry.pagesPerBlock; page++) {
      if (memmap?.[recordOfPage(page)] === listed) return true
    }
  }
  return false
}

function names(nrSlots: number): Record<string, number> {
  const names: Record<string, number> = {}
  for (let slot = 0; slot < nrSlots; slot++) {
    names[`COUNT[${slot}]`] = slot * LIST_STRIDE
    names[`TOKEN[${slot}]`] = slot * LIST_STRIDE + 1
  }
  return names
}

const USER = { name: 'user', body: user(1) }
const USER_TWICE = { name: 'user', body: user(2) }
const CHUNK_USER = { name: 'chunk user', body: chunkUser }
const OPERATOR = { name: 'operator', body: operator }
const ISOLATOR = { name: 'isolator', body: isolator }
const MOVABLE_USER = { name: 'user', body: movableUser }
const MOVER = { name: 'mover', body: mover }

const ONE = { pagesPerBlock: 4, nrBlocks: 1 } as const
const TWO = { pagesPerBlock: 2, nrBlocks: 2 } as const

/** A model of a broken allocator. */
function broken(
  name: string,
  threads: readonly Thread[],
  setting: Setting,
  [kind, Allocator]: ['exception' | 'atEnd', typeof PageAllocator],
) {
  return mustFail(pages(name, threads, { ...setting, Allocator }), { kind })
}

const TWO_USERS = [{ ...USER, count: 2 }]
const USER_AND_OPERATOR = [USER_TWICE, OPERATOR]
const SLOT_OF_DEAD = { ...TWO, isSlotUsed: true } as const
const ONE_DEATH = { ...ONE, deaths: 1 } as const
const TWO_DEATH = { ...TWO, deaths: 1 } as const
const TWO_DEATH_UNPREEMPTED = { ...TWO_DEATH, preemptions: 0 } as const
const DRAINS = '1 takes, 1 drains and takes a block'

/** What `npm run check` runs. */
export const models = [
  pages('2 take and give', TWO_USERS, ONE),
  pages('2 take and give twice', [{ ...USER_TWICE, count: 2 }], ONE),
  pages('1 takes a page, 1 two', [USER, CHUNK_USER], ONE),
  pages(DRAINS, USER_AND_OPERATOR, TWO),
  pages(DRAINS, USER_AND_OPERATOR, { ...TWO, form: 'asymmetric' }),
  pages('2 take, 1 drains and takes a block', [...TWO_USERS, OPERATOR], TWO),
  pages('1 takes, 1 isolates, 1 moves a block', [USER, ISOLATOR, MOVER], TWO),
  pages('1 takes of zone Movable', [MOVABLE_USER], { ...TWO, isMovable: true }),
  pages('1 takes, 1 moves a block', [USER, MOVER], TWO),
  pages('2 take and give, one dies', TWO_USERS, ONE_DEATH),
  pages('1 takes a page, 1 two, one dies', [USER, CHUNK_USER], ONE_DEATH),
  pages(`${DRAINS}, one dies`, [USER, OPERATOR], TWO_DEATH),
  pages('1 takes, 1 moves a block, one dies', [USER, MOVER], TWO_DEATH),
  pages('in the slot of a dead thread', USER_AND_OPERATOR, SLOT_OF_DEAD),

  broken('without the lock', TWO_USERS, ONE, ['exception', DoesNotLock]),
  broken('isolates without the lock', [USER, ISOLATOR], ONE, ['atEnd', IsolatesWithoutLock]),
  broken('drains at once', USER_AND_OPERATOR, TWO, ['exception', DrainsAtOnce]),
  broken('takes from a disabled list', USER_AND_OPERATOR, TWO, ['exception', PopsAnyway]),
  broken('lists a page of an isolated block', USER_AND_OPERATOR, TWO, [
    'exception',
    PushesIsolated,
  ]),
  broken('lists a batch after the lock', [USER, OPERATOR], ONE, ['exception', ListsOutsideLock]),
  broken('goes on with a dead list', [USER_TWICE], SLOT_OF_DEAD, ['atEnd', KeepsOldList]),
  broken('nobody repairs', [USER], ONE_DEATH, ['atEnd', DoesNotRepair]),
  broken('lists of the dead are forgotten', [USER], ONE_DEATH, ['atEnd', ForgetsLists]),
  broken('lists of the dead are trusted', [USER, OPERATOR], TWO_DEATH_UNPREEMPTED, [
    'atEnd',
    TrustsLists,
  ]),
]
