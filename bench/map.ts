/*
 * What a SharedMap costs beside a private Map and lmdb, which is what threads share data with
 * today. 200,000 keys `key0`, `key1`, ...; values of one length. Keys are looked up in random
 * order, each as often as any other, which leaves nothing in any cache; or as the Yahoo! Cloud
 * Serving Benchmark draws them, the k-th most popular one in proportion to 1 / k^0.99.
 *
 * All subjects are in one thread of one process; their rounds alternate, so that a disturbance of
 * the machine hits all alike, and medians are compared within one run. Both maps encode alike:
 * lmdb's `string` is our `utf8`, its `binary` our `bytes`. lmdb writes without a sync; SharedMap
 * is not durable at all.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Machine } from '../src/index.ts'
import { median } from './median.ts'

const GiB = 2 ** 30
const KEYS = 200_000
const LOOKUPS = 50_000
const WRITES = 20_000
const SYNC_WRITES = 500
const ZIPFIAN_CONSTANT = 0.99
const WARM_UP_ROUNDS = 3
/** Bytes a key and value take at most, headers and tables and room beside them included. */
const OVERHEAD_BYTES = 1000

/** What is used of lmdb, whose own types do not go with ours. */
interface Lmdb {
  get(key: string): Value | undefined
  getBinaryFast(key: string): Buffer | undefined
  put(key: string, value: Value): Promise<boolean>
  putSync(key: string, value: Value): boolean
  close(): Promise<void>
}
const LMDB: string = 'lmdb'

/** What is looked up in one run. */
export interface MapSetting {
  readonly codec: 'utf8' | 'bytes'
  readonly valueBytes: number
  /** How often each key is; what is `zipfian` is only read. */
  readonly keys: 'uniform' | 'zipfian'
}

/** What one call took. */
export interface MapFigure extends MapSetting {
  readonly name: string
  readonly ns: number
}

/** The runs of docs/benchmarks.md. */
export const MAP_SETTINGS: readonly MapSetting[] = (['uniform', 'zipfian'] as const).flatMap(keys =>
  (['utf8', 'bytes'] as const).flatMap(codec =>
    [20, 100, 4096].map(valueBytes => ({ codec, valueBytes, keys })),
  ),
)

type Value = string | Uint8Array

/** So many calls at a time. */
interface Subject {
  readonly name: string
  readonly nrCalls: number
  run(): unknown
}

/** Measures every subject. @param nrRounds Of which the median is taken. */
export async function measureMaps(setting: MapSetting, nrRounds: number): Promise<MapFigure[]> {
  const memory = Math.ceil((KEYS * (2 * setting.valueBytes + OVERHEAD_BYTES)) / GiB) * GiB
  await using machine = await Machine.boot({ memory })
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-bench-'))
  const encoding = setting.codec === 'utf8' ? 'string' : 'binary'
  const { open } = (await import(LMDB)) as { open(options: object): Lmdb }
  const lmdb = open({ path: folder, encoding, noSync: true, mapSize: 4 * GiB })
  try {
    const subjects = await subjectsOf(machine, lmdb, setting)
    const rounds: number[][] = subjects.map(() => [])
    for (let i = -WARM_UP_ROUNDS; i < nrRounds; i++) {
      for (const [s, { nrCalls, run }] of subjects.entries()) {
        const begin = process.hrtime.bigint()
        await run()
        const ns = Number(process.hrtime.bigint() - begin) / nrCalls
        if (i >= 0) rounds[s]!.push(ns)
      }
      await machine.memory.resize(memory) // what is garbage goes between rounds
    }
    return subjects.map(({ name }, s) => ({ ...setting, name, ns: median(rounds[s]!) }))
  } finally {
    await lmdb.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function subjectsOf(
  machine: Machine,
  lmdb: Lmdb,
  { codec, valueBytes, keys: drawn }: MapSetting,
): Promise<Subject[]> {
  const keys = Array.from({ length: KEYS }, (_, i) => `key${i}`)
  const draw = drawn === 'zipfian' ? zipfian(KEYS) : () => Math.floor(Math.random() * KEYS)
  const order = Array.from({ length: LOOKUPS }, () => keys[draw()]!)
  const some = order.slice(0, WRITES)
  const few = order.slice(0, SYNC_WRITES)
  const value = codec === 'utf8' ? 'v'.repeat(valueBytes) : Buffer.alloc(valueBytes, 7)
  const map = machine.map<Value>('bench', { codec: codec as 'bytes' })
  const local = new Map<string, Value>()
  let last: Promise<boolean> | undefined
  for (const key of keys) {
    map.set(key, value)
    local.set(key, typeof value === 'string' ? `${value}`.slice() : Buffer.from(value))
    last = lmdb.put(key, value)
  }
  await last
  const into = Buffer.alloc(valueBytes)
  let sum = 0
  const subject = (name: string, which: readonly string[], call: (key: string) => number) => ({
    name,
    nrCalls: which.length,
    run: () => {
      for (const key of which) sum += call(key)
      return sum
    },
  })
  const putBatched = async (): Promise<void> => {
    let done: Promise<boolean> | undefined
    for (const key of some) done = lmdb.put(key, value)
    await done
  }
  const reads = [
    subject('SharedMap get', order, key => map.get(key)!.length),
    subject('lmdb get', order, key => lmdb.get(key)!.length),
    subject('Map get', order, key => local.get(key)!.length),
    subject('Map get, copied', order, key => Buffer.from(local.get(key) as string).length),
    subject('SharedMap getInto', order, key => map.getInto(key, into)),
    subject('lmdb getBinaryFast', order, key => lmdb.getBinaryFast(key)!.length),
  ]
  if (drawn === 'zipfian') return reads
  return [
    ...reads,
    subject('SharedMap set', some, key => map.set(key, value) && 1),
    { name: 'lmdb put, batched', nrCalls: WRITES, run: putBatched },
    subject('lmdb putSync', few, key => Number(lmdb.putSync(key, value))),
    subject('Map set, copied', some, key => local.set(key, Buffer.from(value as string)) && 1),
  ]
}

/** Draws from [0, `count`), popular ones spread over all of it. */
function zipfian(count: number): () => number {
  const byRank = Array.from({ length: count }, (_, i) => i)
  const upTo = new Float64Array(count)
  let sum = 0
  for (let i = 0; i < count; i++) {
    const other = i + Math.floor(Math.random() * (count - i))
    const swapped = byRank[i]!
    byRank[i] = byRank[other]!
    byRank[other] = swapped
    upTo[i] = sum += 1 / (i + 1) ** ZIPFIAN_CONSTANT
  }
  return () => {
    const at = Math.random() * sum
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (upTo[middle]! > at) high = middle
      else low = middle + 1
    }
    return byRank[low]!
  }
}
