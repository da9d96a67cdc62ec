/*
 * Runs a model's threads as real threads along an order of turns, then lets them go, and watches:
 * either all end, or those that are left sleep and nobody is there to wake them.
 */
import { setTimeout } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { type ModelPlace, startChecked } from './checked.ts'
import type { FollowData } from './follow.ts'
import { type Sleeper, Steering } from './steering.ts'

const WATCHDOG_MS = 1000
const LOOK_EVERY_MS = 20
/** A thread that neither ends nor sleeps so long after it started is broken. */
const PATIENCE_MS = 20_000

/** A model whose threads are run. */
export interface Crew {
  readonly place: ModelPlace
  readonly threads: readonly string[]
  /** What the shared words are to begin with. */
  readonly initial: Int32Array
}

/** How a run ended. */
export interface Steered {
  /** Who sleeps for ever; nobody if all ended. */
  readonly sleepers: readonly Sleeper[]
  /** The shared words at the end. */
  readonly words: Int32Array
  readonly ms: number
}

/**
 * Runs a crew along `order`.
 *
 * @throws {Error} a thread threw, or neither ended nor slept.
 */
export async function steer(crew: Crew, order: readonly number[]): Promise<Steered> {
  const { place, threads, initial } = crew
  const nrThreads = threads.length
  const begin = performance.now()
  const words = new Int32Array(new SharedArrayBuffer(4 * initial.length))
  words.set(initial)
  const steering = new Int32Array(new SharedArrayBuffer(4 * Steering.words(nrThreads)))
  const workers = Array.from({ length: nrThreads }, (_, thread) => {
    const data: FollowData = { place, thread, memory: words.buffer, steering, order }
    return startChecked('follow', data)
  })
  try {
    const watched = watch(new Steering(steering, order))
    const sleepers = await Promise.race([watched, failureOf(workers)])
    return { sleepers, words, ms: performance.now() - begin }
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}

/** Resolves when nobody is left, or those left have slept for `WATCHDOG_MS` with nobody awake. */
async function watch(steering: Steering): Promise<Sleeper[]> {
  const giveUpAt = performance.now() + PATIENCE_MS
  let seen = ''
  let since = performance.now()
  while (performance.now() < giveUpAt) {
    const left = steering.left()
    if (left?.length === 0) return left
    const now = JSON.stringify([left, ...steering.words])
    if (left === null || now !== seen) since = performance.now()
    else if (performance.now() - since >= WATCHDOG_MS) return left
    seen = now
    await setTimeout(LOOK_EVERY_MS)
  }
  throw new Error(`a thread neither ended nor slept within ${PATIENCE_MS} ms`)
}

function failureOf(workers: readonly Worker[]): Promise<never> {
  return new Promise((_, reject) => {
    for (const worker of workers) worker.once('error', reject)
  })
}
