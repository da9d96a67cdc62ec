import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { READERS_MAX } from './percpu-gate.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import { Slots } from './slots.ts'

const TICKET = 1
const LAST_STAMP = 0x1fff

function threads(nrSlots: number): { sems: PercpuRwsem[]; words: Int32Array } {
  const table = new Slots(sharedWords(Slots.words(nrSlots)))
  const words = sharedWords(PercpuRwsem.words(nrSlots))
  const sems = Array.from(
    { length: nrSlots },
    (_, i) => new PercpuRwsem(table.attach(testOracle(i + 1)), words, 0),
  )
  return { sems, words }
}

test('who finds the gate closed is let in first come first served, readers together', async () => {
  const { sems } = threads(6)
  const order: string[] = []
  const [holder, ...others] = sems as [PercpuRwsem, ...PercpuRwsem[]]
  const enter = async (sem: PercpuRwsem, how: 'read' | 'write', name: string): Promise<void> => {
    using _held = await (how === 'read' ? sem.downReadAsync() : sem.downWriteAsync())
    order.push(name)
    await null
    order.push(name)
  }

  holder.downWrite()
  const waiting = (['write', 'read', 'read', 'write', 'read'] as const).map((how, i) =>
    enter(others[i]!, how, `${how} ${i + 1}`),
  )
  holder.upWrite()
  await Promise.all(waiting)

  deepEqual(
    order.filter((name, i) => order.indexOf(name) === i),
    ['write 1', 'read 2', 'read 3', 'write 4', 'read 5'],
  )
  deepEqual(order.slice(2, 6).sort(), ['read 2', 'read 2', 'read 3', 'read 3'])
})

test('new readers wait behind a waiting writer', async () => {
  const { sems } = threads(3)
  const [reader, writer, late] = sems as [PercpuRwsem, PercpuRwsem, PercpuRwsem]

  reader.downRead()
  const writing = writer.downWriteAsync()
  equal(late.tryDownRead(), null)
  reader.upRead()

  ;(await writing).release()
  ok(late.tryDownRead())
})

test('reading while reading is refused once a writer waits, and free before', async () => {
  const { sems } = threads(2)
  const [reader, writer] = sems as [PercpuRwsem, PercpuRwsem]

  reader.downRead()
  reader.downRead()
  const writing = writer.downWriteAsync()

  throws(() => reader.downRead(), {
    code: 'EDEADLK',
    message: 'read rwsem: this thread reads already (EDEADLK)',
  })
  reader.upRead()
  reader.upRead()
  ;(await writing).release()
})

test('uncontended pairs leave every word as it was', () => {
  const { sems, words } = threads(2)
  const [mine] = sems as [PercpuRwsem]
  const before = words.slice()

  mine.downRead()
  mine.upRead()
  mine.downWrite()
  mine.upWrite()

  deepEqual(words, before)
})

test('the line keeps its order when its stamps run out', async () => {
  const { sems, words } = threads(4)
  const [holder, one, two, three] = sems as [PercpuRwsem, PercpuRwsem, PercpuRwsem, PercpuRwsem]
  const order: number[] = []
  const write = async (sem: PercpuRwsem, name: number): Promise<void> => {
    using _held = await sem.downWriteAsync()
    order.push(name)
  }

  words[TICKET] = LAST_STAMP
  holder.downWrite()
  const waiting = [write(three, 3), write(one, 1), write(two, 2)]
  holder.upWrite()
  await Promise.all(waiting)

  deepEqual(order, [3, 1, 2])
})

test('a thread and its operations read so often at once, and not more', async () => {
  const { sems } = threads(2)
  const [mine, others] = sems as [PercpuRwsem, PercpuRwsem]
  const refusal = {
    code: 'EAGAIN',
    message: `read rwsem: this thread reads ${READERS_MAX} times already (EAGAIN)`,
  }

  for (let i = 0; i < READERS_MAX; i++) mine.downRead()
  throws(() => mine.downRead(), refusal)
  const helds = Array.from({ length: READERS_MAX }, () => mine.tryDownRead())
  throws(() => mine.tryDownRead(), refusal)
  await rejects(mine.downReadAsync(), refusal)
  for (const held of helds) held?.release()
  for (let i = 1; i < READERS_MAX; i++) mine.upRead()
  equal(others.tryDownWrite(), null)
  mine.upRead()

  ok(others.tryDownWrite())
})

test('operations of one thread that read at once are counted each', async () => {
  const { sems } = threads(2)
  const [mine, others] = sems as [PercpuRwsem, PercpuRwsem]

  const helds = await Promise.all([mine.downReadAsync(), mine.downReadAsync()])
  helds[0].release()
  equal(others.tryDownWrite(), null)
  helds[1].release()

  ok(others.tryDownWrite())
})

test('an operation that waits to write lets other operations of its thread leave', async () => {
  const { sems } = threads(2)
  const [mine] = sems as [PercpuRwsem]

  const reading = await mine.downReadAsync()
  const writing = mine.downWriteAsync()
  equal(mine.isWriteHeld(), false)
  reading.release()
  const held = await writing
  const next = mine.downWriteAsync()
  held.release()

  ;(await next).release()
})

test('operations that wait while their slot is detached are refused, and get nothing', async () => {
  const { sems } = threads(2)
  const [mine, other] = sems as [PercpuRwsem, PercpuRwsem]

  other.downWrite()
  const waiting = [mine.downReadAsync(), mine.downWriteAsync()]
  mine.slot.detach()
  other.upWrite()
  for (const attempt of waiting) await rejects(attempt, { code: 'EINVAL' })

  const held = other.tryDownWrite()
  ok(held)
  held.release()
})
