import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { now, pause } from '../arch/clock.ts'
import { HotplugError } from '../lib/errors.ts'
import { Limit, type Progress } from './operation.ts'

const LONG_MS = 3_600_000

/** A limit whose deadline has passed. */
async function late(operation: string): Promise<Limit> {
  const limit = new Limit(operation, { deadlineMs: 0.001 })
  while (limit.elapsedMs < 0.001) await pause(1)
  return limit
}

test('without options an operation may go on for ever', () => {
  const limit = new Limit('offline memory3')

  limit.check()

  deepEqual(limit.acquire(), { signal: undefined })
  deepEqual(limit.rest(), {})
  ok(limit.startedAt <= now())
})

test('a deadline is more than 0', () => {
  for (const deadlineMs of [0, -1, Number.NaN]) {
    throws(() => new Limit('offline memory3', { deadlineMs }), {
      code: 'EINVAL',
      message: `offline memory3: deadlineMs is ${deadlineMs}, not more than 0 (EINVAL)`,
    })
  }
})

test('once the deadline has passed, the error says what stood in the way', async () => {
  const limit = await late('offline memory3')
  const blockers = [{ device: 'memory3', reason: 'page 7 is held by a buffer' }]

  throws(() => limit.check(() => blockers), {
    code: 'ETIMEDOUT',
    message: 'offline memory3: page 7 is held by a buffer after 0.001 ms (ETIMEDOUT)',
    blockedBy: blockers,
  })
  throws(() => limit.check(), /it had not come to its end after 0.001 ms/)
})

test('before the deadline nobody is asked what stands in the way', () => {
  const limit = new Limit('offline memory3', { deadlineMs: LONG_MS })
  let asked = 0

  limit.check(() => {
    asked++
    return []
  })

  equal(asked, 0)
})

test('an abort comes first, by its reason', async () => {
  const reason = new HotplugError('EBUSY', 'test', 'enough')
  const signal = AbortSignal.abort(reason)
  const limit = new Limit('offline memory3', { signal, deadlineMs: 0.001 })
  while (limit.elapsedMs < 0.001) await pause(1)

  throws(() => limit.check(), reason)
})

test('what a wait was cut short by is thrown, also where a clock says that it is early', () => {
  const reason = new Error('enough')
  const aborted = new Limit('offline memory3', { signal: AbortSignal.abort(reason) })
  const early = new Limit('offline memory3', { deadlineMs: LONG_MS })

  throws(() => aborted.end(), reason)
  throws(() => early.end(() => [{ device: 'memory3', reason: 'page 7 is held' }]), {
    code: 'ETIMEDOUT',
    message: `offline memory3: page 7 is held after ${LONG_MS} ms (ETIMEDOUT)`,
  })
  deepEqual([aborted.isOver(), early.isOver()], [true, false])
})

test('a lock that is not had in time is what stood in the way, an abort is no timeout', async () => {
  const timeout = new HotplugError('ETIMEDOUT', 'lock', 'not granted')
  const abort = new AbortController()
  const limit = new Limit('offline memory3', { signal: abort.signal, deadlineMs: LONG_MS })
  const refuse = async (): Promise<never> => await Promise.reject(timeout)

  equal(await limit.within('it was taken', async ({ signal }) => signal), abort.signal)
  await rejects(limit.within('it was taken', refuse), {
    code: 'ETIMEDOUT',
    message: `offline memory3: it was taken after ${LONG_MS} ms (ETIMEDOUT)`,
    cause: timeout,
  })
  abort.abort(timeout)
  await rejects(limit.within('it was taken', refuse), timeout)
})

test('locks and parts of the operation are given what is left of its time', async () => {
  const { signal } = new AbortController()
  const onProgress = (): void => {}
  const limit = new Limit('resize', { signal, deadlineMs: LONG_MS, onProgress })
  const over = await late('resize')

  const { timeoutMs } = limit.acquire()
  const rest = limit.rest()

  ok(timeoutMs! > 0 && timeoutMs! <= LONG_MS)
  ok(rest.deadlineMs! > 0 && rest.deadlineMs! <= LONG_MS)
  deepEqual([rest.signal, rest.onProgress], [signal, onProgress])
  equal(over.acquire().timeoutMs, Number.MIN_VALUE)
  equal(over.rest().deadlineMs, Number.MIN_VALUE)
})

test('progress is bytes a second since the beginning', () => {
  const seen: Progress[] = []
  const limit = new Limit('offline memory3', { onProgress: progress => seen.push(progress) })

  limit.report(10, 5, 4096)

  const { bytesPerSecond, elapsedMs, ...rest } = seen[0]!
  deepEqual(rest, { operation: 'offline memory3', pagesMoved: 10, pagesLeft: 5 })
  ok(Math.abs((bytesPerSecond * elapsedMs) / 1000 - 40960) < 1 || elapsedMs < 0.001)
  equal(seen.length, 1)
})
