import { deepEqual, equal, notEqual, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import {
  COUNT,
  nrWords,
  OVERLAPS,
  type RwsemForm,
  rwsemOf,
  STAGE,
} from '../../test/bodies/rwsems.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { CounterRwsem } from './counter-rwsem.ts'
import { PercpuRwsem } from './percpu-rwsem.ts'
import type { Rwsem } from './rwsem.ts'
import { type Recoverable, Slots } from './slots.ts'

const BODIES = new URL('../../test/bodies/rwsems.js', import.meta.url)
const NR_SLOTS = 6

interface Machine {
  readonly slots: Int32Array
  readonly words: Int32Array
  readonly table: Slots
  attach(tid: number): Rwsem & Recoverable
  thread(name: string, tid: number, rounds?: number): TestThread
}

function machine(form: RwsemForm): Machine {
  const slots = sharedWords(Slots.words(NR_SLOTS))
  const words = sharedWords(nrWords(form, NR_SLOTS))
  const table = new Slots(slots)
  return {
    slots,
    words,
    table,
    attach: tid => rwsemOf(form, table.attach(testOracle(tid)), words),
    thread: (name, tid, rounds) =>
      new TestThread(BODIES, name, { form, slots, words, tid, rounds }),
  }
}

for (const form of ['percpu', 'counter'] as const) {
  test(`${form}: readers share, and exclude a writer`, () => {
    const { attach } = machine(form)
    const [one, two] = [attach(1), attach(2)]

    equal(one.downRead(), false)
    equal(two.downRead(), false)
    deepEqual([one.isReadHeld(), one.isWriteHeld()], [true, false])
    equal(attach(3).tryDownWrite(), null)
    one.upRead()
    two.upRead()

    equal(one.isReadHeld(), false)
    ok(one.tryDownWrite())
  })

  test(`${form}: a writer excludes everybody`, () => {
    const { attach } = machine(form)
    const [one, two] = [attach(1), attach(2)]

    equal(one.downWrite(), false)
    deepEqual([one.isReadHeld(), one.isWriteHeld()], [false, true])
    equal(two.tryDownWrite(), null)
    equal(two.tryDownRead(), null)
    one.upWrite()

    equal(one.isWriteHeld(), false)
    two.tryDownRead()?.release()
    two.downWrite()
  })

  test(`${form}: four real threads read and write without meeting`, async () => {
    const { words, thread } = machine(form)

    const threads = [1, 2, 3, 4].map(tid => thread('readAndWrite', tid, 3000))
    await Promise.all(threads.map(one => one.result))

    equal(words[COUNT], 12_000)
    equal(words[OVERLAPS], 0)
  })

  test(`${form}: operations of two event loops and a thread read and write without meeting`, async () => {
    const { words, thread } = machine(form)

    const loops = [1, 2].map(tid => thread('readAndWriteAsync', tid, 200))
    const blocking = thread('readAndWrite', 3, 200)
    const nrWrites = await Promise.all(loops.map(one => one.result))
    await blocking.result

    equal(words[COUNT], 200 + (nrWrites as number[]).reduce((a, b) => a + b))
    equal(words[OVERLAPS], 0)
  })

  test(`${form}: a sleeping reader and a sleeping writer are woken when the writer leaves`, async () => {
    const { words, thread, attach } = machine(form)
    const mine = attach(1)

    mine.downWrite()
    const threads = [thread('readOnce', 2), thread('writeOnce', 3), thread('readOnce', 4)]
    await until('all are about to wait', () => words[STAGE] === 3)
    mine.upWrite()

    deepEqual(await Promise.all(threads.map(one => one.result)), [false, false, false])
  })

  test(`${form}: a killed reader holds up nobody`, async () => {
    const { table, words, thread, attach } = machine(form)
    const mine = attach(1)
    const victim = thread('readForEver', 2)
    await until('it reads', () => words[STAGE] === 1)

    const writing = mine.downWriteAsync()
    await victim.kill()
    equal(mine.tryDownWrite(), null)
    table.register(mine)
    table.reap(1, testOracle(1, [2]))

    equal((await writing).ownerDied, false)
  })

  test(`${form}: after a killed writer all are told, until one has written`, async () => {
    const { table, words, thread, attach } = machine(form)
    const [mine, others] = [attach(1), attach(2)]
    const victim = thread('writeForEver', 3)
    await until('it writes', () => words[STAGE] === 1)

    const reading = mine.downReadAsync()
    await victim.kill()
    table.register(mine)
    table.reap(2, testOracle(1, [3]))
    const read = await reading
    equal(read.ownerDied, true)
    equal(others.downRead(), true)
    read.release()
    others.upRead()

    equal(mine.downWrite(), true)
    mine.upWrite()
    equal(others.downRead(), false)
    others.upRead()
    equal(others.downWrite(), false)
  })

  test(`${form}: a writer that gives up leaves the next one told`, async () => {
    const { table, words, thread, attach } = machine(form)
    const [mine, others] = [attach(1), attach(2)]
    const victim = thread('writeForEver', 3)
    await until('it writes', () => words[STAGE] === 1)
    await victim.kill()
    table.reap(2, testOracle(1, [3]))

    equal(others.downRead(), true)
    await rejects(mine.downWriteAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
    equal(others.tryDownWrite(), null)
    others.upRead()

    equal(mine.downRead(), true)
    mine.upRead()
    equal(mine.downWrite(), true)
    mine.upWrite()
    equal(mine.downWrite(), false)
  })

  test(`${form}: a killed waiter holds up nobody`, async () => {
    const { table, words, thread, attach } = machine(form)
    const [mine, others] = [attach(1), attach(2)]
    mine.downWrite()
    const victims = [thread('readOnce', 3), thread('writeOnce', 4)]
    await until('both are about to wait', () => words[STAGE] === 2)
    const writing = others.downWriteAsync()

    await Promise.all(victims.map(victim => victim.kill()))
    table.register(others)
    for (const index of [2, 3]) table.reap(index, testOracle(1, [3, 4]))
    mine.upWrite()
    ;(await writing).release()

    equal(mine.downWrite(), false)
  })

  test(`${form}: release by who does not hold it is refused, and changes nothing`, () => {
    const { attach } = machine(form)
    const [one, two] = [attach(1), attach(2)]

    throws(() => one.upRead(), {
      code: 'EPERM',
      message: 'stop reading rwsem: this thread does not read (EPERM)',
    })
    throws(() => one.upWrite(), {
      code: 'EPERM',
      message: 'stop writing rwsem: this thread does not write (EPERM)',
    })
    one.downRead()
    throws(() => two.upRead(), { code: 'EPERM' })
    equal(two.tryDownWrite(), null)
    one.upRead()
    throws(() => one.upRead(), { code: 'EPERM' })
    one.downWrite()
    throws(() => two.upWrite(), { code: 'EPERM' })
    ok(one.isWriteHeld())
    one.upWrite()
    throws(() => one.upWrite(), { code: 'EPERM' })

    ok(two.tryDownWrite())
  })

  test(`${form}: what an operation holds is not released by the thread`, async () => {
    const { attach } = machine(form)
    const mine = attach(1)

    const reading = await mine.downReadAsync()
    throws(() => mine.upRead(), {
      code: 'EPERM',
      message: 'stop reading rwsem: the thread itself does not read (EPERM)',
    })
    reading.release()
    throws(() => reading.release(), { code: 'EPERM' })
    const writing = await mine.downWriteAsync()
    throws(() => mine.upWrite(), {
      code: 'EPERM',
      message: 'stop writing rwsem: the thread itself does not write (EPERM)',
    })
    writing.release()

    ok(mine.tryDownWrite())
  })

  test(`${form}: a thread may not block on what only it can end`, async () => {
    const { attach } = machine(form)
    const [mine, others] = [attach(1), attach(2)]

    mine.downRead()
    throws(() => mine.downWrite(), {
      code: 'EDEADLK',
      message: 'write rwsem: this thread reads already (EDEADLK)',
    })
    mine.upRead()
    mine.downWrite()
    throws(() => mine.downWrite(), {
      code: 'EDEADLK',
      message: 'write rwsem: this thread writes already (EDEADLK)',
    })
    mine.upWrite()
    const reading = await mine.downReadAsync()
    throws(() => mine.downWrite(), { code: 'EDEADLK' })
    reading.release()
    const writing = await mine.downWriteAsync()
    throws(() => mine.downRead(), { code: 'EDEADLK' })
    throws(() => mine.downWrite(), { code: 'EDEADLK' })
    writing.release()
    others.downWrite()
    const waiting = mine.downReadAsync()
    throws(() => mine.downRead(), {
      code: 'EDEADLK',
      message: 'read rwsem: an operation of this thread waits for it (EDEADLK)',
    })
    throws(() => mine.downWrite(), { code: 'EDEADLK' })
    others.upWrite()
    ;(await waiting).release()

    others.downWrite()
  })

  test(`${form}: acquire holds to the end of a using block`, () => {
    const { attach } = machine(form)
    const [one, two] = [attach(1), attach(2)]
    {
      using _reading = one.acquireRead()
      equal(two.tryDownWrite(), null)
    }
    {
      using _writing = one.acquireWrite()
      equal(two.tryDownRead(), null)
    }

    ok(two.tryDownWrite())
  })

  test(`${form}: who gives up waiting leaves nothing behind`, async () => {
    const { attach } = machine(form)
    const [mine, others, third] = [attach(1), attach(2), attach(3)]

    others.downWrite()
    await rejects(mine.downReadAsync({ timeoutMs: 1 }), {
      code: 'ETIMEDOUT',
      message: 'read rwsem: not granted within 1 ms (ETIMEDOUT)',
    })
    await rejects(mine.downWriteAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
    others.upWrite()
    others.downRead()
    await rejects(mine.downWriteAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
    third.downRead()
    third.upRead()
    others.upRead()

    equal(third.downWrite(), false)
    third.upWrite()
    ok(mine.tryDownWrite())
  })

  test(`${form}: an abort in any phase passes on what was granted`, async () => {
    const { attach } = machine(form)
    const [mine, others, third] = [attach(1), attach(2), attach(3)]
    for (const way of ['downReadAsync', 'downWriteAsync'] as const) {
      await rejects(mine[way]({ signal: AbortSignal.abort('before') }), e => e === 'before')

      const controller = new AbortController()
      others.downWrite()
      const aborted = mine[way]({ signal: controller.signal })
      const next = third.downWriteAsync()
      others.upWrite() // grants, to whom has not run yet
      controller.abort('granted')

      await Promise.allSettled([aborted]).then(async ([result]) => {
        if (result?.status === 'fulfilled') result.value.release()
        else equal(result?.reason, 'granted')
      })
      ;(await next).release()
      ok(!mine.isReadHeld() && !mine.isWriteHeld())
    }
  })

  test(`${form}: a timeout that is no time is refused`, async () => {
    const { attach } = machine(form)
    const mine = attach(1)

    for (const timeoutMs of [0, -1, Number.NaN]) {
      await rejects(mine.downReadAsync({ timeoutMs }), { code: 'EINVAL' })
      await rejects(mine.downWriteAsync({ timeoutMs }), { code: 'EINVAL' })
    }

    ok(mine.tryDownWrite())
  })

  test(`${form}: a detached slot cannot use it, and what it held is released`, async () => {
    const { table, words } = machine(form)
    const slot = table.attach(testOracle(1))
    const mine = rwsemOf(form, slot, words)
    const others = rwsemOf(form, table.attach(testOracle(2)), words)
    mine.downRead()
    const held = mine.tryDownRead()

    slot.detach()

    for (const use of [
      () => mine.downRead(),
      () => mine.upRead(),
      () => mine.downWrite(),
      () => mine.upWrite(),
      () => mine.tryDownRead(),
      () => mine.tryDownWrite(),
      () => mine.isReadHeld(),
      () => mine.isWriteHeld(),
      () => held?.release(),
      () => rwsemOf(form, slot, words),
    ]) {
      throws(use, { code: 'EINVAL', message: /slot 0 is detached/ })
    }
    await rejects(mine.downReadAsync(), { code: 'EINVAL' })
    await rejects(mine.downWriteAsync(), { code: 'EINVAL' })
    equal(others.downWrite(), false)
  })

  test(`${form}: the next thread in a dead reader's slot begins with nothing`, () => {
    const { table, attach } = machine(form)
    const first = attach(1)
    first.downRead()
    first.downRead()

    table.reap(0, testOracle(9, [1]))
    const second = attach(2)

    notEqual(first, second)
    equal(second.isReadHeld(), false)
    throws(() => second.upRead(), { code: 'EPERM' })
    equal(second.downWrite(), false)
  })
}

test('memory that a semaphore cannot live in is refused', () => {
  const slot = new Slots(sharedWords(Slots.words(2))).attach(testOracle(1))
  const makes = [
    (words: Int32Array, index: number) => new PercpuRwsem(slot, words, index),
    (words: Int32Array, index: number) =>
      new CounterRwsem(slot, words, index, { privateMutex: true }),
  ]

  for (const make of makes) {
    throws(() => make(new Int32Array(1024), 0), { code: 'EINVAL', message: /not shared/ })
    throws(() => make(sharedWords(4), 0), { code: 'EINVAL', message: /not within/ })
    throws(() => make(sharedWords(1024), -1), { code: 'EINVAL' })
    throws(() => make(sharedWords(1024), 0.5), { code: 'EINVAL' })
    throws(() => make(new Uint8Array(1024) as unknown as Int32Array, 0), { code: 'EINVAL' })
  }
})
