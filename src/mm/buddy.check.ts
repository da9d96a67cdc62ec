/*
 * Buddy lists of one block of eight pages: what one thread takes and gives, chunk by chunk, and
 * what is left when it dies at that.
 */
import { load, store, type Words } from '#atomics'
import { tinyGeometry } from '../../test/litmus/geometry.ts'
import { wrongInBlock } from '../../test/litmus/pages.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { countFree, forgetLists, giveChunk, rebuildLists, takeChunk } from './buddy.ts'
import { FREE_LIST_HEADS, PageState } from './geometry.ts'
import { isFreeWord, pageWord, recordOfPage } from './memmap.ts'

/** Pages 1 to 7 can be given out: at first as chunks of 1, 2 and 4. */
const GEOMETRY = tinyGeometry({ pagesPerBlock: 8 })
const TAKEN = pageWord(PageState.Allocated, 1)

interface Face {
  readonly m: Words
  awaitDeath(): number
}

type Work = (memmap: Words) => void

function take(memmap: Words, order: number, page: number): void {
  const taken = takeChunk(memmap, GEOMETRY, order, TAKEN)
  assert(taken === page, `took ${taken}, not ${page}`)
}

function rebuild(memmap: Words, nrFree: number): void {
  const counted = countFree(memmap, GEOMETRY)
  const rebuilt = rebuildLists(memmap, GEOMETRY)
  assert(counted === nrFree && rebuilt === nrFree, `${counted}, ${rebuilt} are free: ${nrFree}`)
}

/** The smallest chunk that is large enough; halves go back, and come together again. */
function takesAndGives(memmap: Words): void {
  take(memmap, 0, 1)
  take(memmap, 0, 2)
  take(memmap, 1, 4)
  take(memmap, 2, 0)
  giveChunk(memmap, 4, 1)
  take(memmap, 2, 4)
  giveChunk(memmap, 2, 0)
  take(memmap, 1, 2)
  giveChunk(memmap, 4, 2)
  giveChunk(memmap, 1, 0)
  giveChunk(memmap, 2, 1)
}

/** Chunks of 1 in one list: 7, 5, 3, 1. */
function scatters(memmap: Words): void {
  for (let page = 1; page < 8; page++) take(memmap, 0, page)
  for (let page = 1; page < 8; page += 2) giveChunk(memmap, page, 0)
}

/** One in the middle of a list leaves it, then the last. */
function joins(memmap: Words): void {
  scatters(memmap)
  giveChunk(memmap, 4, 0)
  giveChunk(memmap, 2, 0)
}

/** Lists are made from words, whatever they were. */
function rebuilds(memmap: Words): void {
  scatters(memmap)
  for (let page = 2; page < 8; page += 4) store(memmap, recordOfPage(page), 0)
  rebuild(memmap, 6)
}

function forgets(memmap: Words): void {
  forgetLists(memmap, GEOMETRY)
  for (let order = 0; order < 3; order++) take(memmap, order, 0)
  for (let page = 1; page < 8; page++) {
    const word = load(memmap, recordOfPage(page))
    assert(word === 0, `page ${page} is in a list`)
  }
}

function takesTwo(memmap: Words): void {
  const page = takeChunk(memmap, GEOMETRY, 1, TAKEN)
  giveChunk(memmap, page, 1)
}

function init(memmap: Words): void {
  memmap[recordOfPage(0)] = pageWord(PageState.Reserved, 0)
  rebuildLists(memmap, GEOMETRY)
}

function isRight(memmap: Readonly<Record<number, number>>): boolean {
  let nrFree = 0
  for (let page = 1; page < 8; page++) if (isFreeWord(memmap[recordOfPage(page)]!)) nrFree++
  return wrongInBlock(GEOMETRY, memmap, nrFree) === ''
}

function alone(name: string, work: Work, nrFree = 7) {
  return model({
    name: `buddy: ${name}`,
    shared: t => ({ m: t.int32(FREE_LIST_HEADS + 16, { init }) }),
    threads: [{ name: 'owner', body: ({ m }) => work(m) }],
    atEnd: ({ m }) => wrongInBlock(GEOMETRY, m, nrFree) === '',
  })
}

function dying(name: string, repair: Work) {
  return model({
    name: `buddy: ${name}`,
    shared: t => ({ m: t.int32(FREE_LIST_HEADS + 16, { init }) }),
    threads: [
      { name: 'owner', body: ({ m }) => takesTwo(m) },
      {
        name: 'next',
        daemon: true,
        body: ({ m, awaitDeath }: Face) => {
          awaitDeath()
          repair(m)
        },
      },
    ],
    deaths: 1,
    atEnd: ({ m }) => isRight(m),
  })
}

/** What `npm run check` runs. */
export const models = [
  alone('takes and gives', takesAndGives),
  alone('four in a list', scatters, 4),
  alone('two in a list join others', joins, 6),
  alone('lists are made anew', rebuilds, 6),
  alone('lists are forgotten', forgets, 0),
  dying('the owner dies', m => void rebuildLists(m, GEOMETRY)),
  mustFail(
    dying('nobody makes the lists anew', () => {}),
    { kind: 'atEnd' },
  ),
]
