import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { bootMemory, type TestMemory } from '../../test/bodies/collections.ts'
import { SharedMap } from './shared-map.ts'

const LENGTHS = [...Array(300).keys(), 1023, 1024, 3000, 4000, 8191, 8192, 8193, 12000, 40000]

function bytesMap({ context }: TestMemory): SharedMap<Uint8Array> {
  return new SharedMap<Uint8Array>(context, 'map', { codec: 'bytes' })
}

function pattern(nrBytes: number): Buffer {
  return Buffer.from(Array.from({ length: nrBytes }, (_, i) => (i * 7 + nrBytes) & 0xff))
}

test('values of each length come out by every call, byte for byte', async () => {
  await using memory = await bootMemory(1, { pageSize: 65536 })
  const map = bytesMap(memory)
  for (const length of LENGTHS) map.set(`key${length}`, pattern(length))
  const bytes = Buffer.alloc(50_000)

  for (const length of LENGTHS) {
    deepEqual(map.get(`key${length}`), pattern(length))
    for (const start of [0, 1, 2, 4]) {
      bytes.fill(0xaa)
      equal(map.getInto(`key${length}`, bytes.subarray(start)), length)
      deepEqual(bytes.subarray(start, start + length), pattern(length))
      deepEqual([bytes.at(start - 1), bytes.at(start + length)], [0xaa, 0xaa])
    }
  }
})

test('texts of each length come out as they were', async () => {
  await using memory = await bootMemory(1)
  const map = new SharedMap<string>(memory.context, 'map', { codec: 'utf8' })
  for (const length of LENGTHS) {
    for (const text of ['x'.repeat(length), 'ä€'.repeat(length / 5)]) {
      map.set('key', text)
      equal(map.get('key'), text)
    }
  }
})

test('what get gave does not change when more is got', async () => {
  await using memory = await bootMemory(1)
  const map = bytesMap(memory)
  for (const length of LENGTHS) map.set(`key${length}`, pattern(length))
  const got = Array.from({ length: 5 }, () => LENGTHS.map(length => map.get(`key${length}`)!))

  for (const values of got) deepEqual(values, LENGTHS.map(pattern))
  got[0]![200]!.fill(0)
  deepEqual(map.get('key200'), pattern(200))
  deepEqual(got[1]![200], pattern(200))
})

test('a target may be the end of its buffer, exactly as long, and one that shrank', async () => {
  await using memory = await bootMemory(1)
  const map = bytesMap(memory)
  map.set('key', pattern(10))
  const buffer = new ArrayBuffer(64, { maxByteLength: 64 })
  const end = new Uint8Array(new ArrayBuffer(22), 12)
  for (let i = 0; i < 3; i++) {
    equal(map.getInto('key', end.subarray(0, 10)), 10)
    deepEqual(Buffer.from(end.subarray(0, 10)), pattern(10))
  }
  for (let i = 0; i < 3; i++) equal(map.getInto('key', new Uint8Array(buffer, 0, 10)), 10)
  buffer.resize(12)
  const short = new Uint8Array(buffer, 0, 10).fill(0)

  equal(map.getInto('key', short), 10)
  deepEqual(Buffer.from(short), pattern(10))
  throws(() => map.getInto('key', short.subarray(1)), { code: 'EINVAL' })
})
