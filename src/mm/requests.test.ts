import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { openRequests, type RequestData } from '../../test/bodies/requests.ts'
import { killAtEach } from '../../test/kill.ts'
import { sharedWords, TestThread } from '../../test/thread.ts'
import { RESULTS_MAX, Requests } from './requests.ts'

const BODIES = new URL('../../test/bodies/requests.js', import.meta.url)

interface Scene {
  readonly requests: Requests
  readonly data: RequestData
}

function scene(rounds = 1): Scene {
  const data = { words: sharedWords(Requests.WORDS), stop: sharedWords(1), rounds }
  return { requests: openRequests(data), data }
}

/** Answers by squares until somebody has what he wanted. */
async function serveUntil({ requests }: Scene, isOver: () => boolean): Promise<number> {
  let nrServed = 0
  while (!isOver()) {
    const request = requests.next()
    if (request !== null) {
      requests.finish([request.args[0]! ** 2])
      nrServed++
    }
    await setImmediate()
  }
  return nrServed
}

/** As `serveUntil`, for a promise; resolves as that does. */
async function serving<T>(scene: Scene, promise: Promise<T>): Promise<T> {
  let isOver = false
  const ended = promise.finally(() => (isOver = true))
  ended.catch(() => {})
  await serveUntil(scene, () => isOver)
  return await ended
}

test('a thread that asks again and again has the answer to each', async () => {
  const one = scene(100)
  const thread = new TestThread(BODIES, 'askSquares', one.data)

  const squares = await serving(one, thread.result)

  deepEqual(
    squares,
    Array.from({ length: 100 }, (_, i) => i * i),
  )
})

test('what is asked comes whole, and the answer has all its words', async () => {
  const one = scene()
  const results = Array.from({ length: RESULTS_MAX }, (_, i) => i - 12)
  equal(one.requests.next(), null)

  const answer = one.requests.askAsync({ kind: 3, args: [1, -2, 3, -4] })
  await setImmediate()
  deepEqual(one.requests.next(), { kind: 3, args: [1, -2, 3, -4] })
  one.requests.finish(results)

  deepEqual(await answer, results)
  equal(one.requests.next(), null)
})

test('what cannot be done says why, and what is asked next can be', async () => {
  const one = scene()

  const answer = one.requests.askAsync({ kind: 1, args: [2] })
  answer.catch(() => {})
  await setImmediate()
  one.requests.fail('ENOMEM')

  await rejects(answer, { code: 'ENOMEM', message: /serve a request/ })
  deepEqual((await serving(one, one.requests.askAsync({ kind: 1, args: [3] })))[0], 9)
})

test('what failed and is done again by a successor has not failed', async () => {
  const one = scene()
  const answer = one.requests.askAsync({ kind: 1, args: [4] })
  await setImmediate()
  one.requests.fail('ENOMEM')
  Atomics.sub(one.data.words, 1, 1) // as if it had died before it said that it was served

  const [square] = await serving(one, answer)

  equal(square, 16)
})

test('a request of a dead client is waited for, as long as the next one likes', async () => {
  const one = scene()
  one.requests.post({ kind: 1, args: [7] })
  const { signal } = new AbortController()

  await rejects(one.requests.askAsync({ kind: 1, args: [8] }, { signal, timeoutMs: 5 }), {
    code: 'ETIMEDOUT',
  })
  deepEqual(one.requests.next(), { kind: 1, args: [7, 0, 0, 0] })
  deepEqual((await serving(one, one.requests.askAsync({ kind: 1, args: [8] })))[0], 64)
})

test('once the machine is shut down nobody waits for an answer', async () => {
  const one = scene()
  Atomics.store(one.data.stop, 0, 1)

  throws(() => one.requests.ask({ kind: 1, args: [] }), { code: 'ENODEV' })
  await rejects(one.requests.askAsync({ kind: 1, args: [] }), { code: 'ENODEV' })
})

test('requests are made in shared memory with room for them', () => {
  const { data } = scene()
  const words = sharedWords(Requests.WORDS - 1)

  throws(() => openRequests({ ...data, words }), { code: 'EINVAL', message: /make requests/ })
})

test('after a client that died at any operation the next one is served', async () => {
  const nrKilled = await killAtEach<Scene, RequestData>({
    module: BODIES,
    name: 'askOnce',
    stride: 2,
    begin: scene,
    meanwhile: async (one, { isOver }) => {
      await serveUntil(one, isOver)
    },
    check: async one => {
      const [square] = await serving(one, one.requests.askAsync({ kind: 1, args: [9] }))
      equal(square, 81)
      equal(one.requests.next(), null)
    },
  })

  ok(nrKilled > 10)
})
