/*
 * Calls of the page allocator that are killed at each of their operations, and a thread that takes
 * and gives pages meanwhile.
 */
import { BLOCK_STATE, BlockState } from '../../src/mm/geometry.ts'
import { attachTo, type Hands, setBlock, type TestMemory } from '../bodies/pages.ts'
import { counted } from '../bodies/victims.ts'
import type { VictimData } from '../kill.ts'

/** The thread id of every victim. */
export const VICTIM_TID = 9
/** The thread id of the one beside it. */
export const NEIGHBOUR_TID = 8

interface Call {
  before?(hands: Hands, memory: TestMemory): number | undefined
  run(hands: Hands, before: number): unknown
}

/** The block that victims take and give. */
export const BLOCK = 1

/** By name. */
export const CALLS: Readonly<Record<string, Call>> = {
  allocFirst: { run: ({ pages }) => pages.allocPage('movable') },
  allocNext: {
    before: ({ pages }) => pages.allocPage('movable'),
    run: ({ pages }) => pages.allocPage('movable'),
  },
  freePage: {
    before: ({ pages }) => pages.allocPage('movable'),
    run: ({ pages }, pfn) => pages.freePage(pfn),
  },
  freeToIsolated: {
    before: ({ pages }) => {
      const pfn = pages.allocPage('movable')
      pages.zones[1]!.isolate(BLOCK)
      return pfn
    },
    run: ({ pages }, pfn) => pages.freePage(pfn),
  },
  freeToFullList: { before: fillList, run: ({ pages }, pfn) => pages.freePage(pfn) },
  allocChunk: { run: ({ pages }) => pages.allocChunk(2) },
  freeChunk: {
    before: ({ pages }) => pages.allocChunk(2),
    run: ({ pages }, pfn) => pages.freeChunk(pfn, 2),
  },
  isolate: { run: ({ pages }) => pages.zones[1]!.isolate(BLOCK) },
  undoIsolate: {
    before: ({ pages }) => void pages.zones[1]!.isolate(BLOCK),
    run: ({ pages }) => pages.zones[1]!.undoIsolate(BLOCK),
  },
  takeBlock: {
    before: ({ pages }, { control }) => {
      setBlock(control, BLOCK, BLOCK_STATE, BlockState.GoingOffline)
      pages.zones[1]!.isolate(BLOCK)
      return undefined
    },
    run: ({ pages }) => pages.zones[1]!.takeBlock(BLOCK),
  },
  giveBlock: {
    before: ({ pages }, { control }) => {
      pages.zones[1]!.isolate(BLOCK)
      pages.zones[1]!.takeBlock(BLOCK)
      setBlock(control, BLOCK, BLOCK_STATE, BlockState.GoingOnline)
      return undefined
    },
    run: ({ pages }) => pages.zones[1]!.giveBlock(BLOCK),
  },
  drainAll: {
    before: ({ pages }) => pages.allocPage('movable'),
    run: ({ pages }) => {
      pages.drainAll()
      pages.enableLists()
    },
  },
  recoverDead: { run: ({ pages }) => pages.recoverDead() },
}

/** Frees pages until the list is full. @returns A page that is not free yet. */
function fillList({ pages }: Hands): number {
  const pfns = Array.from({ length: 46 }, () => pages.allocPage('movable'))
  const last = pfns.pop()!
  for (const pfn of pfns) pages.freePage(pfn)
  return last
}

/** Which call on which memory. */
export interface PageVictim {
  readonly call: string
  readonly memory: TestMemory
}

/** The victim: makes one of `CALLS`. */
export function makesPageCall(victim: VictimData<PageVictim>): Promise<number> {
  const { call, memory } = victim.data
  const { before, run } = CALLS[call]!
  const hands = attachTo(memory, VICTIM_TID)
  const made = before?.(hands, memory) ?? -1
  return counted(victim, () => run(hands, made))
}

/** Takes and gives pages until it is told to stop by [0]; says how often. */
export function takesAndGives(data: { memory: TestMemory; stop: Int32Array }): number {
  const { pages, slot } = attachTo(data.memory, NEIGHBOUR_TID)
  let rounds = 0
  while (Atomics.load(data.stop, 0) === 0) {
    const pfns = Array.from({ length: 40 }, () => pages.allocPage('movable'))
    const chunk = pages.allocChunk(1)
    if (chunk !== -1) pages.freeChunk(chunk, 1)
    for (const pfn of pfns) if (pfn !== -1) pages.freePage(pfn)
    rounds++
  }
  slot.detach()
  return rounds
}

/** Takes pages for ever, as fast as it can, until it is killed. */
export function takesForEver({ memory, tid }: { memory: TestMemory; tid: number }): never {
  const { pages } = attachTo(memory, tid)
  for (;;) {
    const pfns = Array.from({ length: 40 }, () => pages.allocPage('movable'))
    for (const pfn of pfns) if (pfn !== -1) pages.freePage(pfn)
  }
}
