/*
 * The ledger of a memory torture, in shared words: what threads do, and what each key must have.
 *
 * Each key is written by the threads of one place only, one after the other. Before it changes a
 * key, a thread says what the key will have (NEXT); afterwards, that it has it (DONE). So a key has
 * what DONE says, or, when its writer has died or is in the middle, what NEXT says; the writer's
 * successor looks which, and goes on from there. What a key has is a version and whether it is
 * there; all bytes of the value follow from key and version.
 *
 * A counter is raised by everybody: by how many that began to, and by all of those that ended.
 */

const STOP = 0
const BEGUN = 1
const ENDED = 2
const REFUSED = 3
const THREADS = 16
const DOING = 0
const COUNT = 1
const TOKEN = 2
const LIVES = 3
const THREAD_WORDS = 16
const KEY_WORDS = 2
const NEXT = 1

/** What a thread can be in the middle of. The first is nothing at all, the last its end. */
export const DOINGS = [
  'between operations',
  'starting',
  'attach',
  'set',
  'delete',
  'update',
  'getOrSet',
  'count',
  'clear',
  'get',
  'getInto',
  'has',
  'iterate',
  'walk',
  'add',
  'online',
  'offline',
  'remove',
  'resize',
  'buffer',
  'release',
  'notify',
  'leave',
  'ended',
] as const

/** One of them. */
export type Doing = (typeof DOINGS)[number]

/** How many threads and keys. */
export interface LedgerShape {
  readonly nrThreads: number
  readonly nrKeys: number
}

/** The shared words of a run. */
export class Ledger {
  readonly words: Int32Array
  readonly shape: LedgerShape
  private readonly keys: number

  /** Words that a run needs. */
  static words({ nrThreads, nrKeys }: LedgerShape): number {
    return THREADS + nrThreads * THREAD_WORDS + nrKeys * KEY_WORDS
  }

  constructor(words: Int32Array, shape: LedgerShape) {
    this.words = words
    this.shape = shape
    this.keys = THREADS + shape.nrThreads * THREAD_WORDS
  }

  /** Threads come to their end. */
  stop(): void {
    Atomics.store(this.words, STOP, 1)
  }

  isStopped(): boolean {
    return Atomics.load(this.words, STOP) === 1
  }

  /** What a key surely had; see `stateOf`. */
  done(key: number): number {
    return Atomics.load(this.words, this.keys + key * KEY_WORDS)
  }

  /** What a key has, or will have. */
  next(key: number): number {
    return Atomics.load(this.words, this.keys + key * KEY_WORDS + NEXT)
  }

  setDone(key: number, state: number): void {
    Atomics.store(this.words, this.keys + key * KEY_WORDS, state)
  }

  setNext(key: number, state: number): void {
    Atomics.store(this.words, this.keys + key * KEY_WORDS + NEXT, state)
  }

  /** Somebody is about to raise the counter. */
  beginCount(): void {
    Atomics.add(this.words, BEGUN, 1)
  }

  /** It did. */
  endCount(): void {
    Atomics.add(this.words, ENDED, 1)
  }

  /** It did not. */
  cancelCount(): void {
    Atomics.sub(this.words, BEGUN, 1)
  }

  /** The least that the counter can be. */
  countEnded(): number {
    return Atomics.load(this.words, ENDED)
  }

  /** The most that the counter can be. */
  countBegun(): number {
    return Atomics.load(this.words, BEGUN)
  }

  /** A write found no room. */
  refuse(): void {
    Atomics.add(this.words, REFUSED, 1)
  }

  /** Writes that found no room. */
  get nrRefused(): number {
    return Atomics.load(this.words, REFUSED)
  }

  doing(thread: number): Doing {
    return DOINGS[Atomics.load(this.words, this.at(thread, DOING))]!
  }

  setDoing(thread: number, doing: Doing): void {
    Atomics.store(this.words, this.at(thread, DOING), DOINGS.indexOf(doing))
  }

  /** Runs an operation, and says so while it lasts. */
  during<T>(thread: number, doing: Doing, body: () => T): T {
    this.setDoing(thread, doing)
    const result = body()
    this.end(thread)
    return result
  }

  /** As `during`. */
  async duringAsync<T>(thread: number, doing: Doing, body: () => Promise<T>): Promise<T> {
    this.setDoing(thread, doing)
    const result = await body()
    this.end(thread)
    return result
  }

  /** An operation has ended, well or not. */
  end(thread: number): void {
    this.setDoing(thread, 'between operations')
    Atomics.add(this.words, this.at(thread, COUNT), 1)
  }

  /** Operations of all lives of a thread. */
  countOf(thread: number): number {
    return Atomics.load(this.words, this.at(thread, COUNT))
  }

  /** A thread of that place begins anew. */
  begin(thread: number): void {
    this.setDoing(thread, 'starting')
    Atomics.store(this.words, this.at(thread, TOKEN), 0)
    Atomics.add(this.words, this.at(thread, LIVES), 1)
  }

  setToken(thread: number, token: number): void {
    Atomics.store(this.words, this.at(thread, TOKEN), token)
  }

  tokenOf(thread: number): number {
    return Atomics.load(this.words, this.at(thread, TOKEN))
  }

  livesOf(thread: number): number {
    return Atomics.load(this.words, this.at(thread, LIVES))
  }

  private at(thread: number, field: number): number {
    return THREADS + thread * THREAD_WORDS + field
  }
}

/** What a key has at a version. */
export function stateOf(version: number, isThere: boolean): number {
  return (version << 1) | (isThere ? 1 : 0)
}

/** The version of a state. */
export function versionOf(state: number): number {
  return state >>> 1
}

/** Whether a key has a value in a state. */
export function isThere(state: number): boolean {
  return (state & 1) === 1
}

/** The name of a key. */
export function keyName(key: number): string {
  return `key ${key}${'k'.repeat((key * 7) % 40)}`
}

const MiB = 2 ** 20
const HEADER_BYTES = 8
const HUGE_ONE_IN = 24
const LARGE_ONE_IN = 10

/** The value of a key at a version: mostly small, at times on pages of its own, up to 1 MiB. */
export function bytesOf(key: number, version: number): Buffer {
  const hash = mix(key, version)
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + lengthOf(hash))
  bytes.writeInt32LE(key, 0)
  bytes.writeInt32LE(version, 4)
  if (bytes.length > HEADER_BYTES) bytes.fill(`${hash}.${key}`, HEADER_BYTES)
  return bytes
}

/** The version that some bytes are the value of. @throws {Error} They are no value of the key. */
export function versionIn(key: number, bytes: Uint8Array): number {
  const seen = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const version = seen.length < HEADER_BYTES ? -1 : seen.readInt32LE(4)
  if (version !== -1 && seen.equals(bytesOf(key, version))) return version
  const begin = seen.subarray(0, 40).toString('hex')
  throw new Error(`${keyName(key)} has ${seen.length} bytes that nobody wrote: ${begin}`)
}

function lengthOf(hash: number): number {
  if (hash % HUGE_ONE_IN === 0) return (hash >>> 6) % (MiB - HEADER_BYTES)
  if (hash % LARGE_ONE_IN === 0) return (hash >>> 6) % 20_000
  return (hash >>> 6) % 300
}

function mix(key: number, version: number): number {
  let hash = Math.imul(key + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35)
  return (hash ^ (hash >>> 13)) >>> 0
}
