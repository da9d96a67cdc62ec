import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { sharedWords } from '../../test/thread.ts'
import { readText, textWords, writeText } from './text.ts'

const MAX = 12

function throughWords(text: string): string {
  const words = sharedWords(textWords(MAX) + 2)
  words.fill(-1)
  writeText(words, 1, MAX, text)
  deepEqual([words[0], words.at(-1)], [-1, -1])
  return readText(words, 1, MAX)
}

test('texts that fit come back as they were', () => {
  for (const text of ['', 'a', 'abcd', 'größer', 'abcdefghijkl', '🚢🚢🚢']) {
    equal(throughWords(text), text)
  }
})

test('longer ones are cut after a whole character', () => {
  equal(throughWords('abcdefghijklm'), 'abcdefghijkl')
  equal(throughWords('abcdefghijkö'), 'abcdefghijk')
  equal(throughWords('a🚢🚢🚢'), 'a🚢🚢')
})

test('a length that is not one reads no other words', () => {
  const words = sharedWords(textWords(MAX))
  words[0] = 1000

  equal(readText(words, 0, MAX), '\0'.repeat(MAX))
})
