import { deepEqual, equal, rejects, throws } from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { sharedWords, until } from '../../test/thread.ts'
import { type Acquisition, Held, requireTimeout, Turnstile } from './acquire.ts'

/** An acquisition that is granted when words[0] is 1. */
function gate(words: Int32Array, onCancel = (): void => {}): () => Acquisition {
  return () => ({
    words,
    index: 0,
    value: 0,
    step: () => words[0] === 1,
    cancel: onCancel,
  })
}

function open(words: Int32Array): void {
  Atomics.store(words, 0, 1)
  Atomics.notify(words, 0)
}

test('a turnstile resolves with what is made at the moment of the grant', async () => {
  const words = sharedWords(1)
  const turnstile = new Turnstile()

  const granted = turnstile.acquire('enter', gate(words), () => 'inside', {})
  equal(turnstile.nrWaiting, 1)
  open(words)

  equal(await granted, 'inside')
  equal(turnstile.nrWaiting, 0)
})

test('a turnstile lets operations through in order, past those that gave up', async () => {
  const words = sharedWords(1)
  const turnstile = new Turnstile()
  const order: number[] = []
  const abort = new AbortController()
  const enter = (n: number, signal?: AbortSignal): Promise<number> =>
    turnstile.acquire('enter', gate(words), () => order.push(n), { signal })

  const first = enter(1)
  const second = enter(2, abort.signal)
  const third = enter(3)
  abort.abort(new Error('no'))
  await rejects(second, /no/)
  const fourth = enter(4)
  open(words)
  await Promise.all([first, third, fourth])

  deepEqual(order, [1, 3, 4])
})

test('an operation that gives up while it sleeps cancels its acquisition', async () => {
  const words = sharedWords(1)
  const turnstile = new Turnstile()
  const abort = new AbortController()
  let nrCancelled = 0

  const begin = gate(words, () => nrCancelled++)
  const first = turnstile.acquire('enter', begin, () => 0, { signal: abort.signal })
  const second = turnstile.acquire('enter', begin, () => 0, { signal: abort.signal })
  abort.abort(new Error('no'))
  await rejects(first, /no/)
  await rejects(second, /no/)

  equal(nrCancelled, 1) // the second had not begun
  equal(getEventListeners(abort.signal, 'abort').length, 0)
  await until('nobody waits', () => turnstile.nrWaiting === 0)
})

test('a wake-up for an operation that gave up is passed on to the next sleeper', async () => {
  const words = sharedWords(1)
  const turnstile = new Turnstile()
  const abort = new AbortController()

  const first = turnstile.acquire('enter', gate(words), () => 0, { signal: abort.signal })
  const sleeper = Atomics.waitAsync(words, 0, 0, 20_000)
  abort.abort(new Error('no'))
  await rejects(first, /no/)
  Atomics.notify(words, 0, 1) // reaches the sleep that the first left behind

  equal(await sleeper.value, 'ok')
})

test('a grant beats an abort and a timeout that come later', async () => {
  const words = sharedWords(1)
  const abort = new AbortController()

  const granted = new Turnstile().acquire('enter', gate(words), () => 'inside', {
    signal: abort.signal,
    timeoutMs: 10_000,
  })
  open(words)
  const result = await granted
  abort.abort()

  equal(result, 'inside')
})

test('a step that throws ends the operation and lets the next one in', async () => {
  const turnstile = new Turnstile()
  const words = sharedWords(1)
  const broken = (): Acquisition => {
    throw new Error('broken')
  }

  const first = turnstile.acquire('enter', broken, () => 0, {})
  const second = turnstile.acquire('enter', gate(words), () => 2, {})
  await rejects(first, /broken/)
  open(words)

  equal(await second, 2)
})

test('a timeout must be above 0, and may be for ever', () => {
  requireTimeout('lock', 0.1)
  requireTimeout('lock', Number.POSITIVE_INFINITY)
  for (const timeoutMs of [0, -0, -1, Number.NaN]) {
    throws(() => requireTimeout('lock', timeoutMs), { code: 'EINVAL' })
  }
})

test('an endless timeout is accepted', async () => {
  const words = sharedWords(1)
  open(words)

  const timeoutMs = Number.POSITIVE_INFINITY
  equal(await new Turnstile().acquire('enter', gate(words), () => 'in', { timeoutMs }), 'in')
})

test('a Held runs its undo once', () => {
  let nrUndone = 0
  const held = new Held(false, () => nrUndone++)

  held.release()
  held[Symbol.dispose]()
  throws(() => held.release(), { code: 'EPERM' })

  equal(nrUndone, 1)
})
