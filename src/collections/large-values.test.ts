import { equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { Machine, type SharedMap } from '../index.ts'
import { VALUE_BYTES_MAX } from './large-values.ts'

const PAGE_SIZES = ['4KiB', '64KiB'] as const

/** Bytes of which no page is like another. */
function patterned(nrBytes: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(nrBytes / 4))
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 2654435761)
  return Buffer.from(words.buffer, 0, nrBytes)
}

test('the limit of values is what the docs say', () => {
  equal(VALUE_BYTES_MAX, 64 * 2 ** 20)
})

for (const pageSize of PAGE_SIZES) {
  test(`a value of exactly the limit is written and read, and none above it: pages of ${pageSize}`, async () => {
    await using machine = await Machine.boot({
      memory: '256MiB',
      maxMemory: '256MiB',
      pageSize,
      lockdep: false,
    })
    const map = machine.map<Uint8Array>('values', { codec: 'bytes' })
    const value = patterned(VALUE_BYTES_MAX, 1)

    map.set('key', value)
    isThere(map, value)

    const longer = patterned(VALUE_BYTES_MAX + 1, 2)
    throws(() => map.set('key', longer), {
      code: 'EINVAL',
      message: 'set: the value has 67108865 bytes, more than 67108864 (EINVAL)',
    })
    isThere(map, value)
    const other = longer.subarray(0, VALUE_BYTES_MAX)
    map.set('key', other)
    isThere(map, other)
  })
}

function isThere(map: SharedMap<Uint8Array>, value: Buffer): void {
  const copy = new Uint8Array(VALUE_BYTES_MAX)
  ok(value.equals(map.get('key')!), 'what get gives is another')
  equal(map.getInto('key', copy), VALUE_BYTES_MAX)
  ok(value.equals(copy), 'what getInto gives is another')
}

test('a text of exactly the limit is written and read, and none above it', async () => {
  await using machine = await Machine.boot({ memory: '256MiB', maxMemory: '256MiB' })
  const map = machine.map<string>('texts', { codec: 'utf8' })
  const text = 'häßlich!'.repeat(VALUE_BYTES_MAX / 10) + 'x'.repeat(VALUE_BYTES_MAX % 10)
  equal(Buffer.byteLength(text), VALUE_BYTES_MAX)

  map.set('key', text)
  ok(map.get('key') === text)

  throws(() => map.set('key', `${text}x`), { code: 'EINVAL' })
  ok(map.get('key') === text)
})
