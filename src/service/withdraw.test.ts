import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { bootMemory, type TestMemory } from '../../test/bodies/collections.ts'
import { SharedMap } from '../collections/shared-map.ts'
import { HotplugError } from '../lib/errors.ts'
import { PTE, VIRTUAL_RECORD_WORDS, VirtualKind, WRITE_PROTECTED } from '../mm/geometry.ts'
import { pteOf } from '../mm/page-table.ts'
import { kindOfOwner } from '../mm/virtual-pages.ts'
import { withdrawPages } from './withdraw.ts'

const LARGE = new Uint8Array(20_000).fill(7)

/** A map with a small value, a large one, and pages that have room; `end` says that all is over. */
async function mapWithBoth(t: TestContext) {
  const memory = await bootMemory(1)
  t.after(() => memory[Symbol.asyncDispose]())
  let isOver = false
  const assertOpen = (): void => {
    if (isOver) throw new HotplugError('ENODEV', 'use a map', 'the machine is shut down')
  }
  const context = { ...memory.context, assertOpen, onWait: assertOpen }
  const map = new SharedMap<Uint8Array>(context, 'map', { codec: 'bytes' })
  map.set('small', LARGE.subarray(0, 5)).set('large', LARGE)
  return { memory, map, end: () => (isOver = true) }
}

/** Of each page that was ever taken: its kind, and its PTE. */
function pagesOf({ context }: TestMemory): (readonly [kind: number, pte: number])[] {
  const { pages, memory } = context
  return Array.from({ length: pages.end() - 1 }, (_, i) => {
    const pte = memory.pageTable[(i + 1) * VIRTUAL_RECORD_WORDS + PTE]!
    return [kindOfOwner(pages.ownerOf(i + 1)), pte] as const
  })
}

test('nothing is found once pages are withdrawn, and parts of large values stay in place', async t => {
  const { memory, map } = await mapWithBoth(t)
  const before = pagesOf(memory)
  const blank = memory.frames.allocPage()

  withdrawPages(memory.handle.memory, blank)

  for (const key of ['small', 'large']) deepEqual([map.get(key), map.has(key)], [undefined, false])
  ok(before.some(([kind]) => kind === VirtualKind.Chunk))
  const wanted = before.map(([kind, pte]) => {
    const stays = kind === VirtualKind.Chunk
    return [kind, (stays ? pte : pteOf(blank)) | WRITE_PROTECTED] as const
  })
  deepEqual(pagesOf(memory), wanted)
})

test('who has looked a page up before goes on reading what was there', async t => {
  const { memory, map } = await mapWithBoth(t)
  const { guard, frames } = memory.context
  const { pageWordsShift, pagesPerBlock, pagesPerBlockShift } = memory.handle.memory.geometry

  guard.enter()
  const pfn = (pagesOf(memory)[0]![1] >>> 1) - 1
  const words = frames.block(pfn >>> pagesPerBlockShift)
  const at = (pfn & (pagesPerBlock - 1)) << pageWordsShift
  const seen = words[at]
  withdrawPages(memory.handle.memory, memory.frames.allocPage())
  const still = words[at]
  guard.leave()

  ok(seen !== 0)
  equal(still, seen)
  equal(map.get('small'), undefined)
})

test('who writes is told, whatever it writes, and holds nothing afterwards', async t => {
  const { memory, map, end } = await mapWithBoth(t)
  const blank = memory.frames.allocPage()

  end()
  withdrawPages(memory.handle.memory, blank)

  for (const value of [LARGE, LARGE.subarray(0, 5)]) {
    for (const key of ['small', 'large', 'new']) {
      throws(() => map.set(key, value), { code: 'ENODEV' })
      throws(() => map.update(key, () => value), { code: 'ENODEV' })
    }
  }
  equal(memory.context.guard.isInside(), false)
})

test('where no frame is free, what is there stays readable, and nobody writes', async t => {
  const { memory, map, end } = await mapWithBoth(t)

  withdrawPages(memory.handle.memory, -1)

  equal(map.get('small')?.length, 5)
  deepEqual(new Uint8Array(map.get('large')!), LARGE)
  end()
  throws(() => map.set('small', LARGE), { code: 'ENODEV' })
  throws(() => map.delete('small'), { code: 'ENODEV' })
})
