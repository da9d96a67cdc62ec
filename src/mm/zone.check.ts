/*
 * Zones of two blocks of three pages: what one thread takes, gives, isolates and moves, with all
 * counters; two threads at it; and what is left when one dies, or who repairs it.
 */
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
import { whatIsWrong } from '../../test/litmus/pages.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Slots } from '../locking/slots.ts'
import {
  BLOCK_FREE,
  BLOCK_RECORD_WORDS,
  BLOCK_ZONE,
  BlockState,
  ZONE_DIRTY,
  ZONE_FREE,
  ZoneKind,
} from './geometry.ts'
import { Zone } from './zone.ts'

const GEOMETRY = tinyGeometry({ nrBlocks: 2, pagesPerBlock: 4 })
/** The first page of block 1 that can be given out. */
const SECOND = 5

type Work = (zone: Zone, movable: Zone) => void

/** Changes counters without the lock. */
class DoesNotLock extends Zone {
  override begin(): void {}
  override end(): void {}
}

/** Leaves lists and counters as the dead left them. */
class DoesNotRepair extends Zone {
  override begin(): void {
    this.lock.lock()
  }
}

function zoneOf(face: MemoryFace, kind: 0 | 1, Kind: typeof Zone): Zone {
  return new Kind(ownSlot(face), controlOf(face, GEOMETRY), new Declared(face), kind)
}

function thread(work: Work, Kind: typeof Zone) {
  return (face: MemoryFace): void => {
    const normal = zoneOf(face, ZoneKind.Normal, Kind)
    work(normal, zoneOf(face, ZoneKind.Movable, Kind))
  }
}

function take(zone: Zone, order: number, pfn: number): void {
  const taken = zone.alloc(order)
  assert(taken === pfn, `took ${taken}, not ${pfn}`)
}

function expect(zone: Zone, nrFree: number): void {
  const counted = zone.nrFree()
  assert(counted === nrFree, `says ${counted} free pages, has ${nrFree}`)
}

/** All pages of both blocks, lowest first; what is free again is found. */
function takesAll(zone: Zone): void {
  for (let pfn = 1; pfn < 4; pfn++) take(zone, 0, pfn)
  expect(zone, 3)
  for (let pfn = SECOND; pfn < 8; pfn++) take(zone, 0, pfn)
  take(zone, 0, -1)
  zone.free(2, 1)
  expect(zone, 2)
  take(zone, 1, 2)
  zone.free(3, 0)
  take(zone, 0, 3)
}

/** Each zone gives out its own block's pages. */
function twoZones(normal: Zone, movable: Zone): void {
  movable.giveBlock(1)
  expect(normal, 3)
  expect(movable, 3)
  take(movable, 1, SECOND + 1)
  take(normal, 1, 2)
  take(normal, 1, -1)
  take(movable, 0, SECOND)
  take(movable, 0, -1)
  movable.free(SECOND, 0)
  expect(normal, 1)
  expect(movable, 1)
}

/** An isolated block keeps what is freed into it. */
function isolates(zone: Zone): void {
  take(zone, 0, 1)
  zone.isolate(0)
  zone.isolate(0)
  expect(zone, 3)
  zone.free(1, 0)
  expect(zone, 3)
  take(zone, 0, SECOND)
  zone.undoIsolate(0)
  zone.undoIsolate(0)
  expect(zone, 5)
  take(zone, 1, 2)
}

/** A block goes, and comes again while another gives out pages. */
function moves(zone: Zone): void {
  zone.isolate(0)
  zone.takeBlock(0)
  expect(zone, 3)
  take(zone, 0, SECOND)
  zone.giveBlock(0)
  expect(zone, 5)
  zone.giveBlock(0)
  expect(zone, 5)
  take(zone, 0, 1)
}

function comesAndGoes(zone: Zone): void {
  zone.isolate(0)
  zone.undoIsolate(0)
  zone.isolate(0)
  zone.takeBlock(0)
  zone.giveBlock(0)
}

function takesAndGives(zone: Zone): void {
  const pfn = zone.alloc(1)
  if (pfn !== -1) zone.free(pfn, 1)
}

const takesOne: Work = zone => void zone.alloc(0)
const isolatesOne: Work = zone => zone.isolate(0)
const settles: Work = zone => zone.settle()

/** The next owner, which finds what the dead left. */
function next(Kind: typeof Zone) {
  return (face: MemoryFace): void => {
    const dead = face.awaitDeath()
    const zone = zoneOf(face, ZoneKind.Normal, Kind)
    const slots = new Slots(face.s)
    slots.register(zone.lock)
    slots.close(dead, 0)
    zone.settle()
  }
}

interface Setting {
  readonly Kind?: typeof Zone
  readonly deaths?: number
  /** What is so before any thread runs, beside block 0 in zone Normal and, if so, block 1. */
  readonly before?: (prepared: Prepared) => void
}

const withBoth = (prepared: Prepared): void => present(prepared, 1, BlockState.Online)

/** Block 1 is not there yet, and will be of zone Movable. */
function withMovable(prepared: Prepared): void {
  present(prepared, 1, BlockState.Offline)
  prepared.control.blocks[BLOCK_RECORD_WORDS + BLOCK_ZONE] = ZoneKind.Movable
}

/** An owner died when nothing in block 0 said the same. */
function withDirt(prepared: Prepared): void {
  withBoth(prepared)
  prepared.memmaps[0]!.fill(1, 0, 2)
  prepared.control.blocks[BLOCK_FREE] = 1
  prepared.control.zones[ZONE_FREE] = 2
  prepared.control.zones[ZONE_DIRTY] = 1
}

function zones(name: string, works: readonly Work[], setting: Setting = {}) {
  const { Kind = Zone, deaths = 0, before = () => {} } = setting
  const threads = works.map((work, i) => ({ name: `owner ${i + 1}`, body: thread(work, Kind) }))
  const repair = { name: 'next', daemon: true, body: next(Kind) }
  const nrSlots = works.length + Math.min(deaths, 1)
  return model({
    name: `zone: ${name}`,
    shared: (t: Declare) =>
      memoryViews(t, () => {
        const prepared = prepare(GEOMETRY, nrSlots, 'portable')
        present(prepared, 0, BlockState.Online)
        before(prepared)
        return prepared
      }),
    threads: deaths > 0 ? [...threads, repair] : threads,
    deaths,
    atEnd: isRight,
  })
}

function isRight({ z, b, m0, m1 }: MemoryWords): boolean {
  return whatIsWrong({ geometry: GEOMETRY, zones: z, blocks: b, memmaps: [m0, m1] }) === ''
}

const BOTH = { before: withBoth } as const
const DEATH = { ...BOTH, deaths: 1 } as const

/** What `npm run check` runs. */
export const models = [
  zones('takes all', [takesAll], BOTH),
  zones('two zones', [twoZones], { before: withMovable }),
  zones('isolates', [isolates], BOTH),
  zones('moves a block', [moves], BOTH),
  zones('2 take and give', [takesAndGives, takesAndGives]),
  zones('takes and gives, a death', [takesAndGives], DEATH),
  zones('a block comes and goes, a death', [comesAndGoes], DEATH),
  zones('takes, another isolates, a death', [takesOne, isolatesOne], DEATH),
  zones('repairs, a death', [settles], { deaths: 1, before: withDirt }),
  mustFail(
    zones('2 take without the lock', [takesAndGives, takesAndGives], { Kind: DoesNotLock }),
    {
      kind: 'atEnd',
    },
  ),
  mustFail(zones('nobody repairs', [takesAndGives], { ...DEATH, Kind: DoesNotRepair }), {
    kind: 'atEnd',
  }),
]
