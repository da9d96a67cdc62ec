import { deepEqual, equal, notEqual, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { bootMemory, reclaim, type TestMemory } from '../../test/bodies/collections.ts'
import { STATE_BITS, STATE_MASK, VirtualKind, VirtualState } from './geometry.ts'
import { kindOfOwner, mapOfOwner } from './virtual-pages.ts'

const MAP = 5

function stateAt({ context }: TestMemory, vpn: number): number {
  return context.pages.stateOf(vpn) & STATE_MASK
}

test('a page is open by who took it, sealed, retired, and free after a grace period', async () => {
  await using memory = await bootMemory(1)
  const { pages, slot } = memory.context

  const vpn = pages.open(MAP, VirtualKind.Entries)

  ok(vpn > 0)
  equal(pages.stateOf(vpn), (slot.token << STATE_BITS) | VirtualState.Open)
  equal(mapOfOwner(pages.ownerOf(vpn)), MAP)
  equal(kindOfOwner(pages.ownerOf(vpn)), VirtualKind.Entries)
  equal(pages.retire(vpn), false)
  pages.seal(vpn)
  ok(pages.isSealed(vpn))
  throws(() => pages.seal(vpn), /is not open by its sealer/)
  equal(pages.retire(vpn), true)
  equal(pages.retire(vpn), false)
  equal(stateAt(memory, vpn), VirtualState.Retired)
  equal(memory.frames.nrTaken, 1)
  equal(reclaim(memory), 1)
  equal(stateAt(memory, vpn), VirtualState.Free)
  equal(memory.frames.nrTaken, 0)
})

test('runs are side by side, and fill gaps that are large enough', async () => {
  await using memory = await bootMemory(1)
  const { pages } = memory.context
  const taken = Array.from({ length: 8 }, () => pages.open(MAP, VirtualKind.Entries))
  deepEqual(taken, [1, 2, 3, 4, 5, 6, 7, 8])
  for (const vpn of [2, 4, 5, 6]) {
    pages.seal(vpn)
    pages.retire(vpn)
  }
  reclaim(memory)

  equal(pages.openRun(MAP, VirtualKind.Table, 3, 77), 4)

  for (const vpn of [4, 5, 6]) equal(pages.liveOf(vpn), 77)
  equal(pages.openRun(MAP, VirtualKind.Chunk, 2), 9)
  equal(pages.end(), 11)
})

test('a run that finds no room leaves nothing', async () => {
  await using memory = await bootMemory(1, { maxMemory: 4 * 2 ** 20 })
  const { pages } = memory.context
  const { geometry } = memory.handle.memory
  const nrManaged = geometry.pagesPerBlock - geometry.memmapPages

  equal(pages.openRun(MAP, VirtualKind.Chunk, nrManaged + 1), -1)
  equal(memory.frames.nrTaken, 0)
  const first = pages.openRun(MAP, VirtualKind.Chunk, nrManaged)
  notEqual(first, -1)
  equal(pages.open(MAP, VirtualKind.Entries), -1)
  equal(memory.frames.nrTaken, nrManaged)
})

test('nothing of the living is recovered', async () => {
  await using memory = await bootMemory(1)
  const { pages } = memory.context
  const [open, sealed, retired] = [0, 1, 2].map(() => pages.open(MAP, VirtualKind.Entries))
  pages.seal(sealed!)
  pages.seal(retired!)
  pages.retire(retired!)

  equal(pages.recoverDead(), 0)
  equal(pages.freeStale(), 0)
  const states = [open, sealed, retired].map(vpn => stateAt(memory, vpn!))
  deepEqual(states, [VirtualState.Open, VirtualState.Sealed, VirtualState.Retired])
  deepEqual(pages.takeRetired(), [retired])
  deepEqual(pages.takeRetired(), [])
})
