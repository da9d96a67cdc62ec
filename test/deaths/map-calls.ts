/*
 * Calls of a map in which threads are killed (bodies/maps.ts), what each leaves of its keys, and
 * what must be true of those then.
 */
import { ok } from 'node:assert/strict'
import { Key } from '../../src/collections/key.ts'
import type { SharedMap } from '../../src/collections/shared-map.ts'
import { newValue } from '../bodies/maps.ts'

const NR_KEYS = 7
/** So many of the keys are there before. */
const NR_OLD = 4

/** What the victim does. */
export interface Call {
  /** Of the body. */
  readonly name: string
  readonly stride: number
  readonly oldIsLarge?: boolean
  /** Whether an owner of the shard's lock has died before, and its count is wrong. */
  readonly isLeft?: boolean
  /** The key's value once the call has reached it, by what it was; undefined: none. */
  after(key: string, before: string | undefined): string | undefined
  /** Whether keys are reached in the order of the list. */
  readonly inOrder: boolean
}

const LARGE = { oldIsLarge: true } as const
const IN_ORDER = { inOrder: true } as const
/** What reads, or changes no key. */
const READS = {
  ...IN_ORDER,
  after: (_key: string, before: string | undefined) => before,
} as const
const DELETES = { ...LARGE, after: () => undefined } as const

/** All of them. */
export const CALLS: readonly Call[] = [
  { name: 'dieInSet', stride: 7, after: key => newValue(key, false), ...IN_ORDER },
  { name: 'dieInSetLarge', stride: 9, after: key => newValue(key, true), ...IN_ORDER },
  { name: 'dieInDelete', stride: 5, ...DELETES, ...IN_ORDER },
  { name: 'dieInGet', stride: 21, ...LARGE, ...READS },
  { name: 'dieInIteration', stride: 121, ...LARGE, ...READS },
  { name: 'dieInSize', stride: 61, isLeft: true, ...READS },
  { name: 'dieInUpdate', stride: 11, after: key => newValue(key, false), ...IN_ORDER },
  {
    name: 'dieInUpdateLarge',
    stride: 41,
    ...LARGE,
    after: key => newValue(key, true),
    ...IN_ORDER,
  },
  { name: 'dieInUpdateThatDeletes', stride: 31, ...DELETES, ...IN_ORDER },
  {
    name: 'dieInGetOrSet',
    stride: 23,
    after: (key, before) => before ?? newValue(key, false),
    ...IN_ORDER,
  },
  { name: 'dieInOpen', stride: 5, ...READS },
  { name: 'dieInClose', stride: 1, after: key => newValue(key, false), ...IN_ORDER },
  { name: 'dieInClear', stride: 23, ...DELETES, inOrder: false },
]

/** Keys of a map's first shard. */
export function keysOfOneShard(seed: number): string[] {
  const key = new Key(seed)
  const found: string[] = []
  for (let i = 0; found.length < NR_KEYS; i++) {
    key.encode(`key${i}`, 'test')
    if ((key.hash & 0xff) === 0) found.push(`key${i}`)
  }
  return found
}

/** What the first keys have before the call. */
export function fill(call: Call, keys: readonly string[], map: SharedMap<string>): void {
  for (const key of keys.slice(0, NR_OLD)) map.set(key, oldValue(key, call.oldIsLarge))
}

function oldValue(key: string, isLarge = false): string {
  return `old ${key}${isLarge ? 'y'.repeat(8999) : ''}`
}

/** Each key has its old or its new value, in the order of the call. */
export function checkContents(call: Call, keys: readonly string[], map: SharedMap<string>): void {
  let wasOld = false
  for (const [i, key] of keys.entries()) {
    const before = i < NR_OLD ? oldValue(key, call.oldIsLarge) : undefined
    const after = call.after(key, before)
    const value = map.get(key)
    const isOld = value === before
    ok(isOld || value === after, `${key} is ${value?.slice(0, 20)}`)
    if (before === after) continue
    if (call.inOrder) ok(isOld || !wasOld, `${key} was reached before others`)
    wasOld = isOld
  }
}
