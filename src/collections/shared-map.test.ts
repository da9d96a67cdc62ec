import { deepEqual, equal, match, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bootMemory, reclaim, type TestMemory } from '../../test/bodies/collections.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { VirtualKind } from '../mm/geometry.ts'
import type { Codec } from './codecs.ts'
import { Compactor } from './compactor.ts'
import { VALUE_BYTES_MAX } from './large-values.ts'
import { SharedMap } from './shared-map.ts'
import type { Unfinished } from './unfinished.ts'

const BODIES = new URL('../../test/bodies/maps.js', import.meta.url)
const MiB = 2 ** 20
const THREADS = 4
const KEYS = 2000

/** What fits on an entries page of 4 KiB, beside a key of 4 bytes. */
const SMALL_MAX = 4096 - 16 - 8 - 4

function mapOf<V = string>({ context }: TestMemory, codec = 'utf8' as never): SharedMap<V> {
  return new SharedMap<V>(context, 'map', { codec })
}

test('a map has what was set, until it is deleted', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)

  equal(map.set('a', '1').set('b', '2'), map)
  equal(map.get('a'), '1')
  equal(map.get('c'), undefined)
  equal(map.has('b'), true)
  equal(map.has('c'), false)
  equal(map.size, 2)
  map.set('a', 'another')
  equal(map.get('a'), 'another')
  equal(map.size, 2)
  equal(map.delete('a'), true)
  equal(map.delete('a'), false)
  equal(map.get('a'), undefined)
  equal(map.size, 1)
  map.clear()
  equal(map.size, 0)
  equal(map.get('b'), undefined)
})

test('keys, values, entries and forEach give each key once', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)
  const wanted = Array.from({ length: KEYS }, (_, i) => [`key${i}`, `value${i}`] as const)
  for (const [key, value] of wanted) map.set(key, value)

  deepEqual([...map.keys()].sort(), wanted.map(([key]) => key).sort())
  deepEqual([...map.values()].sort(), wanted.map(([, value]) => value).sort())
  deepEqual(new Map(map), new Map(wanted))
  deepEqual(new Map(map.entries()), new Map(wanted))
  const seen = new Map<string, string>()
  map.forEach((value, key, which) => {
    equal(which, map)
    seen.set(key, value)
  })
  deepEqual(seen, new Map(wanted))
})

test('an iteration gives what is there all the time exactly once, whatever else happens', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)
  for (let i = 0; i < KEYS; i++) map.set(`stays${i}`, 'x')
  const seen = new Map<string, number>()
  let n = 0

  for (const [key] of map) {
    seen.set(key, (seen.get(key) ?? 0) + 1)
    map.set(`comes${n++}`, 'y')
    map.set(key, 'again')
    map.delete(`comes${n - 3}`)
  }

  for (let i = 0; i < KEYS; i++) equal(seen.get(`stays${i}`), 1)
  ok([...seen.values()].every(times => times === 1))
})

test('update runs again if another was faster, and deletes what becomes undefined', async () => {
  await using memory = await bootMemory(1)
  const map = new SharedMap<number>(memory.context, 'map', { codec: 'json' })
  const another = new SharedMap<number>(memory.context, 'map', { codec: 'json' })
  const given: (number | undefined)[] = []

  const result = map.update('n', n => {
    given.push(n)
    if (given.length < 3) another.set('n', given.length * 10)
    return (n ?? 0) + 1
  })

  equal(result, 21)
  deepEqual(given, [undefined, 10, 20])
  equal(map.get('n'), 21)
  equal(
    map.update('n', () => undefined),
    undefined,
  )
  equal(map.has('n'), false)
  equal(
    map.update('n', n => n),
    undefined,
  )
})

test('getOrSet makes a value once, and takes what another was faster with', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)

  equal(
    map.getOrSet('a', key => `of ${key}`),
    'of a',
  )
  equal(
    map.getOrSet('a', () => 'no'),
    'of a',
  )
  const slower = map.getOrSet('b', () => {
    map.set('b', 'faster')
    return 'slower'
  })
  equal(slower, 'faster')
})

test('getInto copies into given bytes, or says how many it would need', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)
  map.set('a', 'hello').set('large', 'x'.repeat(10_000))
  const bytes = new Uint8Array(8)

  equal(map.getInto('a', bytes), 5)
  equal(Buffer.from(bytes).toString(), 'hello\0\0\0')
  equal(map.getInto('b', bytes), -1)
  throws(() => map.getInto('a', new Uint8Array(4)), { code: 'EINVAL', message: /5 bytes/ })
  throws(() => map.getInto('large', bytes), { code: 'EINVAL', message: /10000 bytes/ })
  equal(map.getInto('large', new Uint8Array(10_000)), 10_000)
})

test('each codec gives back what it was given, as a copy', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const values = { 1: [null, true, 'x'], two: { three: 'ü' } }
  const bytes = new SharedMap<Uint8Array>(context, 'bytes', { codec: 'bytes' })
  const json = new SharedMap<unknown>(context, 'json', { codec: 'json' })
  const v8 = new SharedMap<unknown>(context, 'v8', { codec: 'v8' })
  const own: Codec<number> = {
    name: 'number',
    encode: value => new Uint8Array(new Float64Array([value]).buffer),
    decode: copy => new Float64Array(copy.buffer)[0]!,
  }
  const numbers = new SharedMap<number>(context, 'numbers', { codec: own })
  const source = new Uint8Array([1, 2, 3])

  bytes.set('a', source)
  source[0] = 9
  const copy = bytes.get('a')!
  deepEqual([...copy], [1, 2, 3])
  copy[0] = 8
  deepEqual([...bytes.get('a')!], [1, 2, 3])
  deepEqual(json.set('a', values).get('a'), values)
  deepEqual(v8.set('a', new Map([[1, new Set([2n])]])).get('a'), new Map([[1, new Set([2n])]]))
  equal(numbers.set('pi', Math.PI).get('pi'), Math.PI)
})

test('a codec that throws leaves everything as it was', async () => {
  await using memory = await bootMemory(1)
  const codec: Codec<string> = {
    name: 'picky',
    encode: value => {
      if (value === 'bad') throw new TypeError('I will not')
      return Buffer.from(value)
    },
    decode: bytes => {
      if (bytes.length === 0) throw new RangeError('empty')
      return Buffer.from(bytes).toString()
    },
  }
  const map = new SharedMap<string>(memory.context, 'map', { codec })
  map.set('a', 'good').set('empty', '')
  const { nrTaken } = memory.frames

  throws(() => map.set('a', 'bad'), TypeError)
  throws(() => map.get('empty'), RangeError)
  throws(
    () =>
      map.update('a', () => {
        throw new SyntaxError('mine')
      }),
    SyntaxError,
  )
  equal(map.get('a'), 'good')
  equal(map.size, 2)
  equal(memory.frames.nrTaken, nrTaken)
})

test('bad keys, values and codecs are refused by name', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const map = mapOf(memory)
  const code = 'EINVAL'

  throws(() => map.get(1 as never), { code, message: /get: the key is of type number/ })
  throws(() => map.set('k'.repeat(2049), 'x'), { code, message: /2049 characters/ })
  throws(() => map.set('ü'.repeat(1025), 'x'), { code, message: /2050 bytes/ })
  throws(() => map.has('\ud800'), { code, message: /lone surrogate/ })
  throws(() => map.set('a', undefined as never), { code, message: /undefined/ })
  throws(() => map.set('a', 1 as never), { code, message: /number, no string/ })
  throws(() => map.set('a', 'x\udfff'), { code, message: /lone surrogate/ })
  throws(() => map.set('a', `${'x'.repeat(5000)}\udfff`), { code, message: /lone surrogate/ })
  throws(() => new SharedMap(context, '', { codec: 'json' }), { code })
  throws(() => new SharedMap(context, 'x', { codec: 'xml' as never }), { code, message: /xml/ })
  throws(() => new SharedMap(context, 'x', { codec: {} as never }), { code })
  throws(() => new SharedMap(context, 'map', { codec: 'json' }), {
    code,
    message: 'open map map: it has codec utf8, not codec json (EINVAL)',
  })
  equal(map.size, 0)
})

test('keys and values of every length up to the limits come back', async () => {
  await using memory = await bootMemory(1, { maxMemory: 128 * MiB })
  const map = new SharedMap<Uint8Array>(memory.context, 'map', { codec: 'bytes' })
  const lengths = [0, 1, 3, 4, 5, 383, 384, 385, SMALL_MAX - 1, SMALL_MAX, SMALL_MAX + 1]
  const values = [...lengths, 4096, 8192, 8193, 100_000, 16 * MiB].map((length, i) =>
    new Uint8Array(length).fill(i + 1),
  )

  for (const [i, value] of values.entries()) map.set(`k${100 + i}`, value)
  for (const [i, value] of values.entries()) {
    const found = map.get(`k${100 + i}`)!
    equal(found.length, value.length)
    equal(Buffer.compare(found, value), 0)
  }
  const keys = ['', 'ä', '€'.repeat(682), '😀', 'k'.repeat(2048)]
  for (const key of keys) map.set(key, Buffer.from(key))
  for (const key of keys) equal(Buffer.from(map.get(key)!).toString(), key)
  deepEqual([...map.keys()].filter(key => keys.includes(key)).sort(), [...keys].sort())
  throws(() => map.set('a', new Uint8Array(VALUE_BYTES_MAX + 1)), { code: 'EINVAL' })
})

test('a large value that is replaced or deleted gives its pages back', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)
  map.set('a', 'x'.repeat(MiB))
  map.set('a', 'y'.repeat(2 * MiB))
  equal(map.get('a')?.length, 2 * MiB)
  map.delete('a')

  equal(map.get('a'), undefined)
  map.clear()
  map.close()
  reclaim(memory)
  equal(memory.frames.nrTaken, 0)
})

test('a large value that is replaced all the time is read after a few tries', async () => {
  await using memory = await bootMemory(1)
  const [map, another] = [0, 1].map(() => mapOf<Buffer>(memory, 'bytes' as never))
  const big = Buffer.alloc(40_000, 7)
  let replaced = 0
  another!.set('key', big)
  // Between two pages of each read without the lock, as another thread would.
  const { unfinished } = (map as unknown as { core: { unfinished: Unfinished } }).core
  const takePage = unfinished.large.takePage.bind(unfinished.large)
  unfinished.large.takePage = (target, i) => {
    takePage(target, i)
    const isLocked = (unfinished as unknown as { locked: number }).locked !== -1
    if (i === 0 && !isLocked && replaced++ < 20) another!.set('key', big)
  }
  let changes = 0
  const calls: readonly (() => unknown)[] = [
    () => map!.get('key'),
    () => map!.getInto('key', Buffer.alloc(40_000)),
    () => map!.getOrSet('key', () => big),
    () => [...map!.values()],
    () => [...map!.entries()],
    () => map!.forEach(() => {}),
    () => map!.update('key', value => (changes++ === 0 ? value : undefined)),
  ]

  const seen = calls.map(call => {
    replaced = 0
    call()
    return replaced
  })

  deepEqual(seen, [3, 3, 3, 3, 3, 3, 3])
  equal(changes, 1)
  deepEqual(map!.get('key'), big)
})

test('200,000 keys: the table grows from nothing, and everything can go again', async () => {
  await using memory = await bootMemory(1, { pageSize: 16384, maxMemory: 64 * MiB })
  const map = mapOf(memory)
  const nr = 200_000

  for (let i = 0; i < nr; i++) map.set(`key${i}`, `${i}`.padStart(100))
  equal(map.size, nr)
  for (let i = 0; i < nr; i++) equal(map.get(`key${i}`), `${i}`.padStart(100))
  reclaim(memory)
  new Compactor(memory.context).compact({ maxPages: 1000, below: 0.9 })
  reclaim(memory)
  const bytesEach = (memory.frames.nrTaken * 16384) / nr
  ok(bytesEach <= 1.3 * (9 + 100), `${bytesEach} bytes for each`)
  map.clear()
  map.close()
  reclaim(memory)
  equal(map.size, 0)
  ok(memory.frames.nrTaken < 8, `${memory.frames.nrTaken} pages are left`)
})

test('after deletes, compaction lets almost every free page go', async () => {
  await using memory = await bootMemory(1)
  const map = mapOf(memory)
  const compactor = new Compactor(memory.context)
  const keys = Array.from({ length: 20_000 }, (_, i) => `key${i}`)
  for (const key of keys) map.set(key, key.padEnd(100))
  const full = memory.frames.nrTaken

  for (const [i, key] of keys.entries()) if (i % 10 !== 0) map.delete(key)
  map.close()
  compactor.compact({ maxPages: 10_000, below: 0.9 })
  reclaim(memory)

  const left = memory.frames.nrTaken
  ok(left < 0.15 * full, `${left} of ${full} pages are left`)
  for (const [i, key] of keys.entries()) {
    equal(map.get(key), i % 10 === 0 ? key.padEnd(100) : undefined)
  }
  equal(map.size, 2000)
})

test('without room a write is refused, asks for room first, and changes nothing', async () => {
  await using memory = await bootMemory(1, { maxMemory: 4 * MiB })
  let nrAsked = 0
  const onNoRoom = (): boolean => nrAsked++ < 100
  const context = { ...memory.context, onNoRoom }
  const map = new SharedMap<string>(context, 'map', { codec: 'utf8' })
  let nr = 0

  throws(
    () => {
      for (; ; nr++) map.set(`key${nr}`, 'x'.repeat(1000))
    },
    { code: 'ENOMEM' },
  )

  ok(nrAsked >= 1)
  equal(map.size, nr)
  for (let i = 0; i < nr; i++) equal(map.get(`key${i}`)?.length, 1000)
  throws(() => map.set('key0', 'y'.repeat(3 * MiB)), { code: 'ENOMEM' })
  equal(map.get('key0')?.length, 1000)
  for (let i = 0; i < nr; i++) map.delete(`key${i}`)
  map.close()
  reclaim(memory)
  map.set('a', 'there is room again')
  equal(map.get('a'), 'there is room again')
})

test('room that others take first is made again', async () => {
  await using memory = await bootMemory(1, { maxMemory: 4 * MiB })
  const { pages } = memory.context
  const taken: number[] = []
  for (let vpn = 0; vpn >= 0; ) {
    vpn = pages.open(0, VirtualKind.Chunk)
    if (vpn >= 0) taken.push(vpn)
  }
  let nrAsked = 0
  const onNoRoom = (): boolean => {
    if (++nrAsked >= 30) for (const vpn of taken.splice(0)) pages.release(vpn)
    return true
  }
  const map = new SharedMap<string>({ ...memory.context, onNoRoom }, 'map', { codec: 'utf8' })

  map.set('key', 'value')

  equal(nrAsked, 30)
  equal(map.get('key'), 'value')
})

test('the names of maps are limited in number', async () => {
  await using memory = await bootMemory(1)
  for (let i = 0; i < 256; i++) new SharedMap(memory.context, `map${i}`, { codec: 'v8' })

  throws(() => new SharedMap(memory.context, 'more', { codec: 'v8' }), { code: 'ENOSPC' })
  equal(new SharedMap(memory.context, 'map7', { codec: 'v8' }).name, 'map7')
})

test('any sequence of calls does what it does to a Map', async () => {
  await using memory = await bootMemory(1)
  const { context } = memory
  const compactor = new Compactor(context)
  let nr = 0
  const key = fc.constantFrom('', 'a', 'b', 'ü', 'key', 'k'.repeat(200))
  const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('x'.repeat(9000)))
  const call = fc.oneof(
    fc.record({ op: fc.constant('set' as const), key, value }),
    fc.record({ op: fc.constantFrom('delete' as const, 'get' as const), key, value }),
    fc.record({ op: fc.constantFrom('clear' as const, 'compact' as const), key, value }),
    fc.record({ op: fc.constantFrom('update' as const, 'getOrSet' as const), key, value }),
  )
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60 }), calls => {
      const map = new SharedMap<string>(context, `map${nr++}`, { codec: 'utf8' })
      const model = new Map<string, string>()
      for (const { op, key, value } of calls) {
        if (op === 'set') map.set(key, value) && model.set(key, value)
        else if (op === 'get') equal(map.get(key), model.get(key))
        else if (op === 'delete') equal(map.delete(key), model.delete(key))
        else if (op === 'clear') void [map.clear(), model.clear()]
        else if (op === 'getOrSet') {
          if (!model.has(key)) model.set(key, value)
          equal(
            map.getOrSet(key, () => value),
            model.get(key),
          )
        } else if (op === 'update') {
          map.update(key, old => (old === value ? undefined : value))
          if (model.get(key) === value) model.delete(key)
          else model.set(key, value)
        } else {
          map.close()
          compactor.compact({ maxPages: 100, below: 1.1 })
          reclaim(memory)
        }
        equal(map.size, model.size)
      }
      deepEqual(new Map(map), model)
      map.clear()
    }),
    { numRuns: 100 },
  )
})

test(`${THREADS} threads set, get and delete at once: counts and contents are exact`, async () => {
  await using memory = await bootMemory(THREADS)
  const { handle } = memory
  const compactor = new Compactor(memory.context)
  const threads = Array.from({ length: THREADS }, (_, id) => {
    return new TestThread(BODIES, 'churn', { handle, id, nrKeys: KEYS, rounds: 6 })
  })
  const all = Promise.all(threads.map(({ result }) => result))
  let isOver = false
  const end = all.finally(() => (isOver = true))
  end.catch(() => {})
  while (!isOver) {
    compactor.compact({ maxPages: 20, below: 0.6 })
    reclaim(memory)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  await end

  const map = mapOf(memory)
  equal(map.size, THREADS * (KEYS / 2) + 1)
  for (let id = 0; id < THREADS; id++) {
    for (let i = 0; i < KEYS; i++) {
      const value = map.get(`${id}:${i}`)
      if (i % 2 === 0) equal(value, undefined)
      else match(value!, new RegExp(`^${id}:${i} 5x*$`))
    }
  }
  equal(map.get('counter'), String(THREADS * 6 * 50))
})

test('a read of a large value that is replaced all the time takes the lock, and says so', async () => {
  await using memory = await bootMemory(1)
  const { handle, context } = memory
  const map = mapOf(memory)
  const valueBytes = 9000
  map.set('large', 'x'.repeat(valueBytes)).set('small', 'x'.repeat(100))
  const words = sharedWords(2)
  const thread = new TestThread(BODIES, 'replace', { handle, valueBytes, words })
  const leave = context.guard.leave.bind(context.guard)
  context.guard.leave = () => {
    leave()
    Atomics.wait(words, 1, Atomics.load(words, 1), 10) // until all is replaced, in most cases
  }
  const read = (key: string, length: number): void => {
    const value = map.get(key)!
    ok(value === value.charAt(0).repeat(length), 'a value is of two')
  }
  try {
    await until('a read took the lock', () => {
      read('large', valueBytes)
      reclaim(memory)
      return map.readWaits > 0
    })
    const before = map.readWaits
    for (let i = 0; i < 100; i++) read('small', 100)

    equal(map.readWaits, before)
    equal(map.waits, 0)
  } finally {
    Atomics.store(words, 0, 1)
    await thread.result
  }
})
