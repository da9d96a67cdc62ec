/*
 * A zone under random operations, compared with sets of page numbers.
 */
import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addBlock,
  assertExact,
  attachTo,
  blockField,
  nrManaged,
  onlineBlock,
  type TestMemory,
  testMemory,
} from '../../test/bodies/pages.ts'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { BLOCK_FREE } from './geometry.ts'
import type { Zone } from './zone.ts'

const NR_BLOCKS = 3
const PAGES = 32

/** What a block is, plainly. */
interface PlainBlock {
  readonly free: Set<number>
  isIsolated: boolean
  isAway: boolean
}

/** The zone as sets. */
class Plain {
  readonly blocks: PlainBlock[] = []
  readonly taken: { pfn: number; order: number }[] = []
  readonly memory: TestMemory
  readonly zone: Zone

  constructor() {
    this.memory = testMemory(tinyGeometry({ nrBlocks: NR_BLOCKS, pagesPerBlock: PAGES }))
    const hands = attachTo(this.memory, 1)
    this.zone = hands.pages.zones[1]!
    for (let block = 0; block < NR_BLOCKS; block++) {
      addBlock(this.memory, hands.frames, block)
      onlineBlock(this.memory, hands, block, 1)
      this.blocks.push({ free: managed(), isIsolated: false, isAway: false })
    }
  }

  /** Lowest block that has room for a chunk; -1 if none has. */
  blockWithRoom(order: number): number {
    return this.blocks.findIndex(block => !block.isIsolated && hasChunk(block.free, order))
  }

  nrFree(): number {
    const counts = this.blocks.map(block => (block.isIsolated ? 0 : block.free.size))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  compare(): void {
    assertExact(this.memory)
    equal(this.zone.nrFree(), this.nrFree())
    this.blocks.forEach((block, i) => {
      equal(blockField(this.memory.control, i, BLOCK_FREE), block.free.size)
    })
  }
}

function managed(): Set<number> {
  return new Set(Array.from({ length: PAGES - 1 }, (_, i) => i + 1))
}

function hasChunk(free: ReadonlySet<number>, order: number): boolean {
  for (let first = 0; first < PAGES; first += 1 << order) {
    if (pagesOf(first, order).every(page => free.has(page))) return true
  }
  return false
}

function pagesOf(first: number, order: number): number[] {
  return Array.from({ length: 1 << order }, (_, i) => first + i)
}

type Step = (plain: Plain, value: number) => void

const STEPS: Readonly<Record<string, Step>> = {
  alloc(plain, order) {
    const expected = plain.blockWithRoom(order)
    const pfn = plain.zone.alloc(order)
    if (expected === -1) {
      equal(pfn, -1)
      return
    }
    equal(Math.floor(pfn / PAGES), expected)
    const { free } = plain.blocks[expected]!
    for (const page of pagesOf(pfn % PAGES, order)) ok(free.delete(page), 'it was taken already')
    plain.taken.push({ pfn, order })
  },
  free(plain, value) {
    const [chunk] = plain.taken.splice(value % Math.max(1, plain.taken.length), 1)
    if (chunk === undefined) return
    plain.zone.free(chunk.pfn, chunk.order)
    const { free } = plain.blocks[Math.floor(chunk.pfn / PAGES)]!
    for (const page of pagesOf(chunk.pfn % PAGES, chunk.order)) free.add(page)
  },
  isolate(plain, value) {
    plain.zone.isolate(value % NR_BLOCKS)
    plain.blocks[value % NR_BLOCKS]!.isIsolated = true
  },
  undoIsolate(plain, value) {
    plain.zone.undoIsolate(value % NR_BLOCKS)
    plain.blocks[value % NR_BLOCKS]!.isIsolated = false
  },
  take(plain, value) {
    const block = plain.blocks[value % NR_BLOCKS]!
    if (!block.isIsolated || block.free.size < nrManaged(plain.memory)) return
    plain.zone.takeBlock(value % NR_BLOCKS)
    block.free.clear()
    block.isAway = true
  },
  give(plain, value) {
    const block = plain.blocks[value % NR_BLOCKS]!
    if (block.isAway) for (const page of managed()) block.free.add(page)
    plain.zone.giveBlock(value % NR_BLOCKS)
    block.isAway = false
    block.isIsolated = false
  },
}

test('a zone does what sets of pages do, whatever is asked in whatever order', () => {
  const names = ['alloc', 'alloc', 'alloc', 'free', 'free', ...Object.keys(STEPS)]
  const step = fc.tuple(fc.constantFrom(...names), fc.nat(4))
  const steps = fc.array(step, { maxLength: 150, size: 'max' })

  fc.assert(
    fc.property(steps, asked => {
      const plain = new Plain()
      for (const [name, value] of asked) {
        STEPS[name]!(plain, value)
        plain.compare()
      }
      for (let block = 0; block < NR_BLOCKS; block++) STEPS.give!(plain, block)
      while (plain.taken.length > 0) STEPS.free!(plain, 0)
      plain.compare()
      equal(plain.nrFree(), NR_BLOCKS * nrManaged(plain.memory))
    }),
    { numRuns: 150 },
  )
})
