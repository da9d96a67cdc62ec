/*
 * What threads of a model do to key 1, and whether some order of it, one after another, explains
 * what each found and what is there in the end.
 *
 * One word has it all: which operations are done (4 bits), and for each what it found (3 bits) and
 * which were done before it began (4 bits). So it costs a model two steps for each operation.
 */
import { load } from '#atomics'
import { MapCore, type MapParts } from '../../src/collections/map-core.ts'
import { ABSENT } from '../../src/collections/reader.ts'
import { assert } from '../../src/lib/assert.ts'
import {
  bucket,
  contextOf,
  type Face,
  HISTORY,
  OLD,
  type Setting,
  select,
  set,
  type Thread,
  tell,
} from './map.ts'

/** One operation on key 1. */
export type Operation = 'get' | 'delete' | { readonly set: number }

const OPERATIONS_MAX = 4
const ALL = (1 << OPERATIONS_MAX) - 1
const FOUND_BITS = 3
const RECORD_BITS = FOUND_BITS + OPERATIONS_MAX
const KEY = 1
/** What a `get` can find, and 1 for a `delete` that deleted. */
const VALUES = [ABSENT, OLD + KEY, 7, 8, 9]

/**
 * Threads that work on key 1; ends well if the history is linearizable.
 *
 * @param scripts What each does, one after another; four operations in all, at most.
 */
export function linear(
  name: string,
  scripts: readonly (readonly Operation[])[],
  { setting = {}, parts, others = [] }: Beside = {},
) {
  const operations = scripts.flat()
  assert(operations.length <= OPERATIONS_MAX, 'history: too many operations')
  let first = 0
  const threads = scripts.map((script, i): Thread => {
    const body = performer(first, script, parts)
    first += script.length
    return { name: `thread ${i + 1}`, body }
  })
  const initial = setting.keys?.includes(KEY) ? OLD + KEY : ABSENT
  return bucket(name, [...threads, ...others], {
    ...setting,
    also: (s, content) => {
      const final = content.get(KEY) ?? ABSENT
      return isLinear(operations, s.h[HISTORY]!, [initial, final])
    },
  })
}

/** What there is beside the threads of a history. */
export interface Beside {
  readonly setting?: Setting
  readonly parts?: MapParts
  readonly others?: readonly Thread[]
}

function performer(first: number, script: readonly Operation[], parts?: MapParts) {
  return (face: Face): void => {
    const core = new MapCore(contextOf(face), 0, parts)
    select(core, KEY)
    for (let i = 0; i < script.length; i++) {
      const before = load(face.h, HISTORY) & ALL
      const found = perform(core, script[i]!)
      const record = (before << FOUND_BITS) | found
      const nr = first + i
      tell(face, (1 << nr) | (record << (OPERATIONS_MAX + nr * RECORD_BITS)))
    }
  }
}

function perform(core: MapCore, operation: Operation): number {
  if (operation === 'delete') return core.remove(null) ? 1 : 0
  if (operation !== 'get') {
    set(core, KEY, operation.set)
    return 0
  }
  const nrBytes = core.read()
  const found = VALUES.indexOf(nrBytes === ABSENT ? ABSENT : core.value[0]!)
  assert(found >= 0, 'a reader found what nobody wrote')
  return found
}

/** Of an operation that did not end, what it found is not known. */
interface Record {
  readonly operation: Operation
  readonly isDone: boolean
  readonly found: number
  readonly before: number
}

function isLinear(
  operations: readonly Operation[],
  history: number,
  [initial, final]: readonly [number, number],
): boolean {
  const records = operations.map((operation, nr): Record => {
    const record = (history >>> (OPERATIONS_MAX + nr * RECORD_BITS)) & ((1 << RECORD_BITS) - 1)
    const found = record & ((1 << FOUND_BITS) - 1)
    const isDone = ((history >>> nr) & 1) !== 0
    return { operation, isDone, found, before: record >>> FOUND_BITS }
  })
  const explains = (value: number, left: number): boolean => {
    const isOver = records.every(({ isDone }, nr) => !isDone || ((left >>> nr) & 1) === 0)
    if (isOver && value === final) return true
    return records.some((record, nr) => {
      if (((left >>> nr) & 1) === 0) return false
      // one that was over before another began comes before it
      if (record.isDone && (record.before & left) !== 0) return false
      const next = after(value, record)
      return next !== null && explains(next, left & ~(1 << nr))
    })
  }
  return explains(initial, (1 << records.length) - 1)
}

/** @returns What is there after an operation; null: it did not find that. */
function after(value: number, { operation, isDone, found }: Record): number | null {
  if (operation === 'get') return !isDone || VALUES[found] === value ? value : null
  if (operation !== 'delete') return operation.set
  return !isDone || (found === 1) === (value !== ABSENT) ? ABSENT : null
}
