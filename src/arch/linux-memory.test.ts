import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { TestThread } from '../../test/thread.ts'
import { AddressSpace } from './address-space.ts'
import { LinuxMemory, type System } from './linux-memory.ts'

const MiB = 2 ** 20
const BLOCK = 4 * MiB
const BODIES = new URL('../../test/bodies/memory.js', import.meta.url)

/** Runs a body that loads koffi, in a thread that nobody terminates; null: there is no koffi. */
async function onService<R>(t: TestContext, name: string, data: unknown): Promise<R | null> {
  const result = await new TestThread(BODIES, name, data).result
  if (result === null) t.diagnostic('real memory cannot be had here')
  return result as R | null
}

test('what a machine discards leaves the process, and reads as zeroes in every thread', async t => {
  const space = new AddressSpace(AddressSpace.reserve(256 * MiB, 0), 64 * MiB)
  const data = { buffer: space.buffer, blockBytes: 64 * MiB }
  interface Seen {
    readonly returned: number
    readonly rssBefore: number
    readonly rssAfter: number
    readonly residentAfter: number
  }

  const seen = await onService<Seen>(t, 'fillAndDiscard', data)

  if (seen === null) return
  equal(seen.returned, 64 * MiB)
  equal(seen.residentAfter, 0)
  ok(seen.rssBefore - seen.rssAfter > 48 * MiB, JSON.stringify(seen)) // the rest is the engine's
  deepEqual([space.block(1)[0], space.block(1).at(-1)], [0, 0])
  deepEqual([space.block(0)[0], space.block(2).at(-1)], [1, 3])
})

test('what was only read occupies nothing, what is populated does, and keeps its words', async t => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(2 * BLOCK, 2 * BLOCK), BLOCK)

  const seen = await onService<number[]>(t, 'readThenPopulate', { buffer, blockBytes: BLOCK })

  if (seen === null) return
  const [untouched, read, oneWritten, populated, word, returned] = seen
  deepEqual([untouched, read, populated, returned], [0, 0, BLOCK, BLOCK])
  ok(oneWritten! > 0 && oneWritten! <= 65536)
  equal(word, 77)
})

test('pages that are locked are given back all the same', async t => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)

  const returned = await onService<number>(t, 'lockThenDiscard', { buffer, blockBytes: BLOCK })

  if (returned !== null) equal(returned, 1 * MiB)
})

test('a write through a view after the discard makes one page resident again', async t => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)

  const resident = await onService<number>(t, 'writeAfterDiscard', { buffer, blockBytes: BLOCK })

  if (resident !== null) ok(resident > 0 && resident <= 65536)
})

test('blocks are discarded under threads that write into others', async t => {
  const space = new AddressSpace(AddressSpace.reserve(8 * BLOCK, 8 * BLOCK), BLOCK)
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const data = { buffer: space.buffer, blockBytes: BLOCK, stop }
  const writers = [0, 1].map(id => new TestThread(BODIES, 'writeOwnBlock', { ...data, id }))

  const result = await onService<number>(t, 'discardOthers', data)

  const wrong = await Promise.all(writers.map(writer => writer.result))
  deepEqual(wrong, [0, 0])
  if (result !== null) equal(result, 50 * 6 * BLOCK)
})

test('two ways to count what is resident agree', async t => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)

  const seen = await onService<[number, number]>(t, 'countBothWays', { buffer, blockBytes: BLOCK })

  if (seen !== null) equal(seen[0], seen[1])
})

/** A system whose calls fail as told; it has pages of 4 KiB at an address that is nowhere. */
function systemOf(errnoOf: (advice: number) => number, asked: number[]): System {
  return {
    pageBytes: 4096,
    madvise: (_address, _bytes, advice) => {
      asked.push(advice)
      return errnoOf(advice)
    },
    nrInCore: () => 0,
    addressOf: () => 4096,
  }
}

test('a kernel that cannot populate is helped by touching each page', () => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)
  const words = new Int32Array(buffer).fill(3)
  const asked: number[] = []

  new LinuxMemory(
    buffer,
    systemOf(() => 22, asked),
  ).populate(100, 5000)

  deepEqual(asked, [23])
  ok(words.every(word => word === 3))
})

test('populating goes on when it was interrupted, and says when memory is out', () => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)
  const asked: number[] = []
  const interrupted = systemOf(() => (asked.length < 3 ? 11 : 0), asked)

  new LinuxMemory(buffer, interrupted).populate(0, BLOCK)
  equal(asked.length, 3)

  const empty = new LinuxMemory(
    buffer,
    systemOf(() => 12, asked),
  )
  throws(() => empty.populate(4096, 4096), {
    code: 'ENOMEM',
    message: 'populate 4096 bytes at 4096: the system has no memory for it (errno 12) (ENOMEM)',
  })
})

test('what is locked is discarded by the other advice, and what stays is an error', () => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(BLOCK, BLOCK), BLOCK)
  const asked: number[] = []

  const locked = systemOf(advice => (advice === 4 ? 22 : 0), asked)
  equal(new LinuxMemory(buffer, locked).discard(0, BLOCK), 0)
  deepEqual(asked, [4, 24])

  const stubborn = new LinuxMemory(
    buffer,
    systemOf(() => 22, asked),
  )
  throws(() => stubborn.discard(0, 4096), { code: 'EBUSY' })
})

test('a range that is not of pages, or not of the address space, is refused as our bug', () => {
  const { buffer } = new AddressSpace(AddressSpace.reserve(2 * BLOCK, BLOCK), BLOCK)
  const memory = new LinuxMemory(
    buffer,
    systemOf(() => 0, []),
  )

  throws(() => memory.discard(100, 4096), /not of whole pages/)
  throws(() => memory.prepare(0, 100), /not of whole pages/)
  throws(() => memory.discard(BLOCK, 4096), /not within the address space/)
  throws(() => memory.resident(0, 0), /not within the address space/)
})
