import { equal, notEqual, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { Key, keyBytesMax } from './key.ts'
import { KEY_BYTES_MAX } from './layout.ts'

const NAMES = ['', 'a', 'ab', 'abc', 'abcd', 'abcde', 'é', 'aé', '日本語', '🚢', 'a\0b']

test('a key is its name, whatever it was before', () => {
  const key = new Key(1)
  for (const name of NAMES) {
    key.encode('something much longer, not to be seen again', 'test')
    key.encode(name, 'test')
    equal(textOf(key), name)
    equal(key.nrBytes, Buffer.byteLength(name))
    equal(key.nrWords, Math.ceil(key.nrBytes / 4))
  }
})

test('hashes are of the words alone: adopted words have the hash of their name', () => {
  const [key, adopted] = [new Key(7), new Key(7)]
  for (const name of NAMES) {
    key.encode(name, 'test')
    adopted.words.set(key.words.subarray(0, key.nrWords))
    adopted.adopt(key.nrBytes)
    equal(adopted.hash, key.hash, name)
  }
})

test('names, lengths and seeds make different hashes, spread over shards', () => {
  const [key, other] = [new Key(1), new Key(2)]
  const shards = new Set<number>()
  const hashes = new Set<number>()
  for (let i = 0; i < 4096; i++) {
    key.encode(`key${i}`, 'test')
    shards.add(key.hash & 0xff)
    hashes.add(key.hash)
  }
  equal(shards.size, 256)
  ok(hashes.size > 4090)
  key.encode('key', 'test')
  other.encode('key', 'test')
  notEqual(key.hash, other.hash)
  const { hash } = key
  key.encode('key\0', 'test')
  notEqual(key.hash, hash)
})

test('what is no key is refused', () => {
  const key = new Key(1)
  const longest = 'x'.repeat(KEY_BYTES_MAX)
  key.encode(longest, 'test')
  equal(textOf(key), longest)
  const wrong = [`${longest}x`, 'é'.repeat(KEY_BYTES_MAX / 2 + 1), '\ud800', 7, null, undefined]
  for (const name of wrong) {
    throws(() => key.encode(name as string, 'test'), { code: 'EINVAL' }, String(name))
  }
})

test('where pages are small, keys are at most half a page', () => {
  equal(keyBytesMax(4096), 2048)
  equal(keyBytesMax(65536), KEY_BYTES_MAX)
  throws(() => new Key(1, 2048).encode('x'.repeat(2049), 'test'), { code: 'EINVAL' })
})

function textOf({ words, nrBytes }: Key): string {
  return Buffer.from(words.buffer, 0, nrBytes).toString()
}
