import { equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { CounterRwsem } from './counter-rwsem.ts'
import { Slots } from './slots.ts'

const ACTIVE_WRITER = 0
const REFCOUNT = 1

function threads(privateMutex: boolean): { words: Int32Array; sems: CounterRwsem[] } {
  const table = new Slots(sharedWords(Slots.words(3)))
  const words = sharedWords(CounterRwsem.words(3))
  const sems = [1, 2, 3].map(
    tid => new CounterRwsem(table.attach(testOracle(tid)), words, 0, { privateMutex }),
  )
  return { words, sems }
}

for (const privateMutex of [false, true]) {
  const form = privateMutex ? 'with the private mutex' : 'before the fix'

  test(`${form}: readers nest, also while a writer waits`, async () => {
    const { sems, words } = threads(privateMutex)
    const [reader, writer, late] = sems as [CounterRwsem, CounterRwsem, CounterRwsem]

    reader.downRead()
    const writing = writer.downWriteAsync()
    reader.downRead()
    late.downRead()
    equal(words[REFCOUNT], 3)
    late.upRead()
    reader.upRead()
    reader.upRead()

    ;(await writing).release()
    equal(words[REFCOUNT], 0)
    equal(words[ACTIVE_WRITER], 0)
  })

  test(`${form}: the writer may read, which counts nothing`, () => {
    const { sems, words } = threads(privateMutex)
    const [writer] = sems as [CounterRwsem]

    writer.downWrite()
    writer.downRead()
    writer.acquireRead().release()
    equal(words[REFCOUNT], 0)
    writer.upRead()
    writer.upWrite()

    equal(words[REFCOUNT], 0)
    equal(writer.nrWarnings, 0)
  })
}

test('an operation that reads waits for an operation of its thread that writes', async () => {
  const { sems } = threads(true)
  const [mine] = sems as [CounterRwsem]

  const writing = await mine.downWriteAsync()
  equal(mine.tryDownRead(), null)
  const reading = mine.downReadAsync()
  writing.release()

  ;(await reading).release()
})

test('before the fix, a put too many warns and repairs the count', () => {
  const { sems, words } = threads(false)
  const [mine] = sems as [CounterRwsem]

  mine.upRead()

  equal(mine.nrWarnings, 1)
  equal(words[REFCOUNT], 0)
  ok(mine.tryDownWrite())
})

test('before the fix, a second writer erases the first from active_writer', async () => {
  const { sems, words } = threads(false)
  const [reader, first, second] = sems as [CounterRwsem, CounterRwsem, CounterRwsem]

  reader.downRead()
  const one = first.downWriteAsync()
  equal(words[ACTIVE_WRITER], first.slot.token)
  const two = second.downWriteAsync()
  equal(words[ACTIVE_WRITER], second.slot.token)
  reader.upRead()

  ;(await two).release()
  ;(await one).release() // an event loop looks again, where the kernel's task slept for ever
})

test('before the fix, a writer that was erased waits for its own lock when it reads', () => {
  const { sems, words } = threads(false)
  const [writer, other] = sems as [CounterRwsem, CounterRwsem]

  writer.downWrite()
  words[ACTIVE_WRITER] = other.slot.token // other has begun, and sleeps on the lock

  throws(() => writer.downRead(), { code: 'EDEADLK', message: /lock: this thread has it already/ })
  throws(() => writer.upRead(), { code: 'EDEADLK' })
})
