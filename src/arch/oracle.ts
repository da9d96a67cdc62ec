/*
 * Who is dead: the two oracles.
 *
 * `kernel`: a thread is its id and start time in /proc. The id outlasts the thread's JavaScript,
 * and also its asynchronous I/O, which can write into shared memory long after `terminate()`. Any
 * thread can ask, at any time, about any thread. No FFI.
 *
 * `portable`: a thread is its `threadId`, which is never given twice, and it is dead when its
 * worker's 'exit' event has come, which likewise waits for its I/O. Only the thread that made the
 * worker is told, so each attached thread watches its own, and the ones that they made in turn die
 * unseen with them: so each also writes down, in shared words, whose child every worker is.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { threadId, type Worker } from 'node:worker_threads'
import { compareExchange, load, store, type Words } from '#atomics'
import { type ThreadOracle, TID_MAX } from '../locking/slots.ts'

/** Field 22 of /proc/.../stat, counted from the field after the name, which is the third. */
const START_FIELD = 22 - 3
const START_MAX = 0x7fffffff
/** Without a free file descriptor, say, nobody is taken for dead. */
const UNKNOWN = -1

/** Workers whose parents the portable oracle knows at a time; of more, the rest is not watched. */
const FAMILY_MAX = 1024

/** An oracle that learns of deaths in its own thread, while the event loop runs. */
export interface WatchingOracle extends ThreadOracle {
  /** A worker was made by this thread. */
  made(childThreadId: number): void
  /** A worker of this thread has ended, and with it all that it had made. */
  ended(childThreadId: number): void
}

/**
 * The calling thread's oracle by the kernel's thread ids.
 *
 * @throws {Error} There is no /proc, or it does not know threads.
 */
export function kernelOracle(): WatchingOracle {
  const tid = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  const start = startOf(tid)
  if (start <= 0) throw new Error('/proc has no start time of this thread')
  return {
    tid,
    start,
    exists: (other, itsStart) => {
      const found = startOf(other)
      return found === UNKNOWN || (found !== 0 && (itsStart === 0 || itsStart === found))
    },
    made: () => {},
    ended: () => {},
  }
}

/** When a thread of this process started, from 1; 0 if there is none; UNKNOWN if none can tell. */
function startOf(tid: number): number {
  try {
    const stat = readFileSync(`/proc/self/task/${tid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[START_FIELD]) % START_MAX) + 1
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' || code === 'ESRCH' ? 0 : UNKNOWN
  }
}

/** Pairs of a worker's id and its maker's: `FAMILY_WORDS` words, zeroed. */
export const FAMILY_WORDS = 2 * FAMILY_MAX

/**
 * The calling thread's portable oracle.
 *
 * @param family Shared by the machine's threads, `FAMILY_WORDS` words.
 */
export function portableOracle(family: Words): WatchingOracle {
  const dead = new Set<number>()
  const mine = tidOf(threadId)
  return {
    tid: mine,
    start: 1,
    exists: tid => !dead.has(tid),
    made: child => addToFamily(family, tidOf(child), mine),
    ended: child => {
      dead.add(tidOf(child))
      buryChildren(family, tidOf(child), dead)
    },
  }
}

function tidOf(id: number): number {
  return (id % TID_MAX) + 1
}

function addToFamily(family: Words, child: number, parent: number): void {
  for (let i = 0; i < FAMILY_WORDS; i += 2) {
    if (load(family, i) !== 0 || compareExchange(family, i, 0, parent) !== 0) continue
    store(family, i + 1, child)
    return
  }
}

/** All that the dead have made are dead. */
function buryChildren(family: Words, tid: number, dead: Set<number>): void {
  for (let i = 0; i < FAMILY_WORDS; i += 2) {
    const parent = load(family, i)
    const child = load(family, i + 1)
    if (child === tid && parent !== 0) remove(family, i)
    if (parent !== tid) continue
    remove(family, i)
    if (child === 0) continue
    dead.add(child)
    buryChildren(family, child, dead)
  }
}

function remove(family: Words, at: number): void {
  store(family, at + 1, 0)
  store(family, at, 0)
}

/** The calling thread's oracle: the kernel's where that can be had, unless `arch` is portable. */
export function openOracle(
  arch: 'auto' | 'portable',
  family: Words,
): { oracle: WatchingOracle; isKernels: boolean } {
  if (arch === 'auto') {
    try {
      return { oracle: kernelOracle(), isKernels: true }
    } catch {
      // no /proc
    }
  }
  return { oracle: portableOracle(family), isKernels: false }
}

/** Tells `oracle` of this thread's workers until disposed; calls `onEnded` after each end. */
export function watchWorkers(oracle: WatchingOracle, onEnded: () => void): Disposable {
  const onWorker = (worker: Worker): void => {
    const id = worker.threadId // gone by the time of 'exit'
    if (id < 0) return
    oracle.made(id)
    worker.once('exit', () => {
      oracle.ended(id)
      onEnded()
    })
  }
  process.on('worker', onWorker)
  return { [Symbol.dispose]: () => void process.off('worker', onWorker) }
}
