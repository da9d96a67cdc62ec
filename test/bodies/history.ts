/*
 * Recorded histories of a map, and whether they are linearizable: for each key there is an order
 * of its operations, each between its start and its end, in which a plain variable answers as the
 * map did.
 *
 * After J. Wing and C. Gong, "Testing and verifying concurrent objects", 1993. The operations of
 * one thread follow each other, so how far a search has come is a place in each thread's list and
 * the value; what was seen once is not searched again (G. Lowe, 2017).
 */
import { Machine, type MachineHandle, type SharedMap } from '../../src/index.ts'
import { Random } from '../torture/random.ts'

/** What an operation on a key does. */
export type Kind = 'get' | 'getInto' | 'has' | 'set' | 'delete' | 'update' | 'getOrSet'

/** One operation, as its thread saw it. Null is no value. */
export interface Recorded {
  readonly thread: number
  readonly key: string
  readonly kind: Kind
  /** The value that was to be written; null: deleted, or nothing. */
  readonly wrote: string | null
  /** The value that was there, as far as the operation says; whether there was one. */
  readonly saw: string | boolean | null
  /** Numbers of one counter, drawn before and after. */
  readonly start: number
  readonly end: number
}

/** What a thread that records is told. */
export interface HistoryData {
  readonly handle: MachineHandle
  readonly thread: number
  readonly seed: number
  readonly keys: readonly string[]
  readonly nrOperations: number
  /** [0]: the counter; [1]: how many are ready; [2]: so many there must be. */
  readonly words: Int32Array
}

const LARGE_ONE_IN = 12
const LARGE_CHARS = 100_000
const BUFFER_BYTES = 2 ** 17
const KINDS: readonly Kind[] = ['get', 'getInto', 'has', 'set', 'delete', 'update', 'getOrSet']

/** Works on a few keys at random; returns what it did and saw. */
export async function recordHistory(data: HistoryData): Promise<Recorded[]> {
  const { words, nrOperations } = data
  const machine = Machine.attach(data.handle)
  const recorder = new Recorder(data, machine.map<string>('history', { codec: 'utf8' }))
  Atomics.add(words, 1, 1)
  Atomics.notify(words, 1)
  for (let seen = 0; seen !== words[2]; seen = Atomics.load(words, 1)) Atomics.wait(words, 1, seen)
  const history = Array.from({ length: nrOperations }, () => recorder.step())
  await machine.shutdown()
  return history
}

class Recorder {
  private readonly data: HistoryData
  private readonly map: SharedMap<string>
  private readonly random: Random
  private readonly buffer = Buffer.alloc(BUFFER_BYTES)
  private nrWritten = 0

  constructor(data: HistoryData, map: SharedMap<string>) {
    this.data = data
    this.map = map
    this.random = new Random(data.seed)
  }

  step(): Recorded {
    const { random } = this
    const { words, thread, keys } = this.data
    const key = keys[random.below(keys.length)]!
    const kind = KINDS[random.below(KINDS.length)]!
    const wrote = this.newValue(kind)
    const start = Atomics.add(words, 0, 1)
    const saw = this.call(kind, key, wrote)
    const end = Atomics.add(words, 0, 1)
    const named = wrote === null ? null : nameOf(wrote)
    return { thread, key, kind, wrote: named, saw: nameOf(saw), start, end }
  }

  private newValue(kind: Kind): string | null {
    if (kind !== 'set' && kind !== 'update' && kind !== 'getOrSet') return null
    if (kind === 'update' && this.random.oneIn(4)) return null
    const name = `${this.data.thread}.${this.nrWritten++};`
    return this.random.oneIn(LARGE_ONE_IN) ? name.padEnd(LARGE_CHARS, name) : name
  }

  private call(kind: Kind, key: string, wrote: string | null): string | boolean | null {
    const { map, buffer } = this
    switch (kind) {
      case 'get':
        return map.get(key) ?? null
      case 'getInto': {
        const length = map.getInto(key, buffer)
        return length === -1 ? null : buffer.toString('utf8', 0, length)
      }
      case 'has':
        return map.has(key)
      case 'set':
        map.set(key, wrote!)
        return null
      case 'delete':
        return map.delete(key)
      case 'getOrSet': {
        let wasMade = false
        const value = map.getOrSet(key, () => {
          wasMade = true
          return wrote!
        })
        return wasMade && value === wrote ? null : value
      }
      case 'update': {
        let saw: string | null = null
        map.update(key, old => {
          saw = old ?? null
          return wrote ?? undefined
        })
        return saw
      }
    }
  }
}

/** The name that a value begins with, after a look at the rest. */
function nameOf<T>(value: T): T | string {
  if (typeof value !== 'string') return value
  const name = value.slice(0, value.indexOf(';') + 1)
  if (value.length <= name.length || value === name.padEnd(LARGE_CHARS, name)) return name
  throw new Error(`a value was torn: ${value.length} characters, ${value.slice(0, 20)}`)
}

/** @returns What is not linearizable: the first such key and its operations; '' if nothing. */
export function notLinearizable(history: readonly Recorded[]): string {
  for (const key of new Set(history.map(one => one.key))) {
    const wrong = notLinearizableAt(history.filter(one => one.key === key))
    if (wrong !== '') return `${key}: ${wrong}`
  }
  return ''
}

interface Place {
  /** How many operations of each thread have been put in order. */
  readonly done: readonly number[]
  readonly value: string | null
}

function notLinearizableAt(history: readonly Recorded[]): string {
  const threads = [...new Set(history.map(one => one.thread))].map(thread =>
    history.filter(one => one.thread === thread).sort((a, b) => a.start - b.start),
  )
  const seen = new Set<string>()
  const stack: Place[] = [{ done: threads.map(() => 0), value: null }]
  let furthest = stack[0]!
  while (stack.length > 0) {
    const place = stack.pop()!
    const id = `${place.done} ${place.value}`
    if (seen.has(id)) continue
    seen.add(id)
    const heads = threads.map((own, i) => own[place.done[i]!])
    if (heads.every(head => head === undefined)) return ''
    if (sum(place.done) > sum(furthest.done)) furthest = place
    const firstEnd = Math.min(...heads.map(head => head?.end ?? Number.POSITIVE_INFINITY))
    for (const [i, head] of heads.entries()) {
      if (head === undefined || head.start > firstEnd) continue
      const value = after(head, place.value)
      if (value === undefined) continue
      stack.push({ done: place.done.with(i, place.done[i]! + 1), value })
    }
  }
  const heads = threads.flatMap((own, i) => own.slice(furthest.done[i]!, furthest.done[i]! + 2))
  const texts = heads.sort((a, b) => a.start - b.start).map(textOf)
  const so = `after ${sum(furthest.done)} operations it has ${furthest.value}`
  return `${so}, then\n${texts.join('\n')}`
}

/** What a variable has after an operation; undefined: it would have answered otherwise. */
function after({ kind, wrote, saw }: Recorded, value: string | null): string | null | undefined {
  switch (kind) {
    case 'get':
    case 'getInto':
      return saw === value ? value : undefined
    case 'has':
      return saw === (value !== null) ? value : undefined
    case 'set':
      return wrote
    case 'delete':
      return saw === (value !== null) ? null : undefined
    case 'update':
      return saw === value ? wrote : undefined
    case 'getOrSet':
      if (saw !== value) return undefined
      return value ?? wrote
  }
}

function textOf({ thread, kind, wrote, saw, start, end }: Recorded): string {
  return `  thread ${thread}: ${kind}, wrote ${wrote}, saw ${saw}, from ${start} to ${end}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
