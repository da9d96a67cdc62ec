/*
 * Calls on a map that throw in the middle, in a thread that lives on: at each of their shared
 * operations, or where the stack is full.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { faultOff, throwAt } from '../../src/atomics/fault.ts'
import { LOCK, SHARD_WORDS } from '../../src/collections/layout.ts'
import { SharedMap } from '../../src/collections/shared-map.ts'
import { Machine, type MachineHandle } from '../../src/index.ts'
import { attachMemory, type MemoryHandle, reclaim, type TestMemory } from './collections.ts'

const SMALL = 'small'
const LARGE = 'large'.repeat(2000)
const FILLER = 'filler'.repeat(2000)
const NR_KEYS = 12
const BYTES = new Uint8Array(20_000)
/** Frames from the end in each of which the call is made; beyond, in some. */
const NR_NEAR = 60
const FAR_STEP = 17
/** Sizes of frames that fill the stack, in registers. */
const NR_SIZES = 24
/** Of calls that do the same in each shard, not each operation throws. */
const STEPS: Readonly<Record<string, number>> = { keys: 61, size: 17, clear: 7 }

interface Call {
  /** What the key has before. */
  readonly before: string | undefined
  run(map: SharedMap<string>, key: string): unknown
  /** What it has once the call has come to it; as before if left out. */
  readonly after?: string | undefined
}

const CALLS: Readonly<Record<string, Call>> = {
  add: { before: undefined, run: (map, key) => map.set(key, 'new'), after: 'new' },
  set: { before: SMALL, run: (map, key) => map.set(key, 'new'), after: 'new' },
  setLarge: { before: SMALL, run: (map, key) => map.set(key, LARGE), after: LARGE },
  setSmall: { before: LARGE, run: (map, key) => map.set(key, 'new'), after: 'new' },
  setAgain: { before: `${LARGE}x`, run: (map, key) => map.set(key, LARGE), after: LARGE },
  delete: { before: SMALL, run: (map, key) => map.delete(key), after: undefined },
  deleteLarge: { before: LARGE, run: (map, key) => map.delete(key), after: undefined },
  update: { before: SMALL, run: (map, key) => map.update(key, () => 'new'), after: 'new' },
  updateLarge: {
    before: LARGE,
    run: (map, key) => map.update(key, v => v?.slice(1)),
    after: LARGE.slice(1),
  },
  updateAway: {
    before: SMALL,
    run: (map, key) => map.update(key, () => undefined),
    after: undefined,
  },
  getOrSet: { before: undefined, run: (map, key) => map.getOrSet(key, () => LARGE), after: LARGE },
  get: { before: SMALL, run: (map, key) => map.get(key) },
  getLarge: { before: LARGE, run: (map, key) => map.get(key) },
  getInto: { before: SMALL, run: (map, key) => map.getInto(key, BYTES) },
  getIntoLarge: { before: LARGE, run: (map, key) => map.getInto(key, BYTES) },
  has: { before: SMALL, run: (map, key) => map.has(key) },
  keys: { before: SMALL, run: map => [...map.keys()] },
  size: { before: SMALL, run: map => map.size },
  close: { before: SMALL, run: map => map.close() },
  clear: { before: LARGE, run: map => map.clear(), after: undefined },
}
/** By name. */
export const CALL_NAMES: readonly string[] = Object.keys(CALLS)

function put(map: SharedMap<string>, key: string, value: string | undefined): void {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
}

/** What throws there is not let go: nobody has a way to; see unfinished.ts. */
function isBelow(stack: string): boolean {
  return /virtual-pages\.|page-frames\./.test(stack)
}

/** Each of the operations of a call throws in turn; returns how many have. */
export function throwEverywhere({ handle, call }: { handle: MemoryHandle; call: string }): number {
  const memory = attachMemory(handle)
  const map = new SharedMap<string>(memory.context, call, { codec: 'utf8' })
  const { before, run, ...rest } = CALLS[call]!
  const after = 'after' in rest ? rest.after : before
  let nrThrown = 0
  for (let n = 1; ; n += STEPS[call] ?? 1) {
    const others = Array.from({ length: NR_KEYS }, (_, i) => `${n}:${i}`) // tables grow, too
    for (const key of others) put(map, key, SMALL)
    put(map, 'key', before)
    if (call !== 'close') map.close()
    throwAt(n, isBelow)
    const isThrown = throws(() => run(map, 'key'))
    faultOff()
    if (isThrown) nrThrown++
    checkMap(memory, map, { others, isCleared: call === 'clear', values: [before, after] })
    for (const key of others) map.delete(key)
    if (!isThrown) break
  }
  map.clear()
  map.close()
  memory.locks.detach()
  return nrThrown
}

function throws(body: () => unknown): boolean {
  try {
    body()
    return false
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return true
  }
}

interface Expectation {
  readonly others: readonly string[]
  readonly isCleared: boolean
  readonly values: readonly (string | undefined)[]
}

function checkMap(memory: TestMemory, map: SharedMap<string>, expected: Expectation): void {
  const { context } = memory
  const { others, isCleared, values } = expected
  equal(context.guard.isInside(), false)
  const { shards } = context.control
  for (let at = LOCK; at < shards.length; at += SHARD_WORDS) equal(shards[at], 0)
  reclaim(memory)
  map.set('filler', FILLER) // on what is free by mistake
  map.delete('filler')
  const value = map.get('key')
  ok(values.includes(value), `key is ${value?.slice(0, 20)}`)
  for (const key of others) ok(map.get(key) === SMALL || isCleared)
  const keys = [...map.keys()].sort()
  if (!isCleared) deepEqual(keys, [...others, ...(value === undefined ? [] : ['key'])].sort())
  equal(map.size, keys.length)
  for (const last of [LARGE, 'last']) {
    map.set('key', last)
    equal(map.get('key'), last)
  }
  map.delete('key')
  equal(map.get('key'), undefined)
  reclaim(memory)
}

/** Which frames a recursion makes, and the call at its end. */
export interface DeepData {
  readonly handle: MachineHandle
  readonly call: string
  readonly rounds: number
}

/** Makes a call at each depth near the end of the stack; returns how many threw. */
export async function overflow({ handle, call, rounds }: DeepData): Promise<number> {
  const machine = Machine.attach(handle)
  const map = machine.map<string>(call, { codec: 'utf8' })
  const { before, run, ...rest } = CALLS[call]!
  const after = 'after' in rest ? rest.after : before
  let nrThrown = 0
  Error.stackTraceLimit = 0
  for (let round = 0; round < rounds; round++) {
    put(map, 'key', before)
    put(map, 'other', SMALL)
    nrThrown += atEachDepth(round % NR_SIZES, () => run(map, 'key'))
    equal(machine.locks.guard.isInside(), false)
    ok([before, after].includes(map.get('key')), `key is ${map.get('key')?.slice(0, 20)}`)
    const keys = [...map.keys()].sort()
    if (call !== 'clear') {
      equal(map.get('other'), SMALL)
      deepEqual(keys, map.has('key') ? ['key', 'other'] : ['other'])
    }
    equal(map.size, keys.length)
  }
  map.set('key', call)
  await machine.shutdown()
  return nrThrown
}

/** Takes and releases raw memory near the end of the stack; returns how many calls threw. */
export async function overflowRaw({ handle, rounds }: DeepData): Promise<number> {
  const machine = Machine.attach(handle)
  let nrThrown = 0
  Error.stackTraceLimit = 0
  for (let round = 0; round < rounds; round++) {
    let raw: Disposable | null = null
    const nrRegisters = round % NR_SIZES
    nrThrown += atEachDepth(nrRegisters, () => {
      raw = machine.buffer('16KiB', { owner: 'deep' })
    })
    nrThrown += atEachDepth(nrRegisters, () => raw?.[Symbol.dispose]())
  }
  await machine.shutdown()
  return nrThrown
}

/**
 * Fills the stack with frames of a size, and makes the call on the way back, until it does not
 * throw a RangeError. @returns How often it did.
 */
function atEachDepth(nrRegisters: number, call: () => unknown): number {
  const more = Array.from({ length: nrRegisters }, () => 0)
  let nrThrown = 0
  let failure: unknown = null
  let nrBack = 0
  let isDone = false
  const fill = (): void => {
    try {
      Reflect.apply(fill, null, more)
    } catch {}
    if (isDone || (++nrBack > NR_NEAR && (nrBack + nrRegisters) % FAR_STEP !== 0)) return
    try {
      call()
      isDone = true
    } catch (error) {
      nrThrown++
      if (!(error instanceof RangeError)) failure ??= error
    }
  }
  fill()
  if (failure !== null) throw failure
  return nrThrown
}
