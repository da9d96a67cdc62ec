import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { sharedWords } from '../../test/thread.ts'
import { kindOf, LockdepGraph, Mode } from './lockdep-graph.ts'

const [EN, ER, SN, SR] = [0, 1, 2, 3]
/** Kinds as people write them, by number. */
const KIND_NAMES: readonly string[] = ['EN', 'ER', 'SN', 'SR']

function twoViews(nrClasses = 4, nrTextWords = 256): [LockdepGraph, LockdepGraph] {
  const words = sharedWords(LockdepGraph.words(nrClasses, nrTextWords))
  return [new LockdepGraph(words, nrClasses), new LockdepGraph(words, nrClasses)]
}

test('the kind of an edge is how one was held and how the other was asked for', () => {
  const { Exclusive, Shared, Recursive } = Mode
  const kinds = [Exclusive, Shared, Recursive].map(held =>
    [Exclusive, Shared, Recursive].map(asked => KIND_NAMES[kindOf(held, asked)]),
  )

  deepEqual(kinds, [
    ['EN', 'EN', 'ER'],
    ['SN', 'SN', 'SR'],
    ['SN', 'SN', 'SR'],
  ])
})

test('a class has one number in all threads, and keeps its name', () => {
  const [one, other] = twoViews()
  const names = ['zone.lock', 'Sperre für den Hof', 'zone.lock', '', '鎖']

  deepEqual(
    names.map(name => one.classOf(name)),
    [0, 1, 0, 2, 3],
  )
  deepEqual(
    names.map(name => other.classOf(name)),
    [0, 1, 0, 2, 3],
  )
  deepEqual(
    [0, 1, 2, 3].map(index => other.className(index)),
    ['zone.lock', names[1], '', '鎖'],
  )
})

test('more classes than there is room for are refused, and those that are there stay', () => {
  const [graph] = twoViews(2)
  graph.classOf('a')
  graph.classOf('b')

  throws(() => graph.classOf('c'), { code: 'ENOSPC' })

  equal(graph.classOf('b'), 1)
})

test('an edge is sure in all threads once it was found harmless', () => {
  const [one, other] = twoViews()

  equal(one.isSure(0, 1, EN), false)
  equal(one.insert(0, 1, EN, 'first'), null)

  equal(other.isSure(0, 1, EN), true)
  equal(other.isSure(0, 1, ER), false)
  equal(other.isSure(1, 0, EN), false)
})

test('the edge that would close a cycle is not added, and the shortest path is told', () => {
  const [one, other] = twoViews()
  one.insert(0, 1, EN, 'a b')
  one.insert(1, 2, EN, 'b c')
  one.insert(2, 3, EN, 'c d')
  one.insert(1, 3, EN, 'b d')

  const path = other.insert(3, 0, EN, 'd a')

  deepEqual(path, [
    { from: 0, to: 1, kind: EN, text: 'a b' },
    { from: 1, to: 3, kind: EN, text: 'b d' },
  ])
  equal(other.isSure(3, 0, EN), false)
})

test('a path is not strong where a recursive reader meets a reader', () => {
  const expected = new Map([
    [[EN, EN], true], [[EN, ER], true], [[EN, SN], true], [[EN, SR], true],
    [[ER, EN], true], [[ER, ER], true], [[ER, SN], false], [[ER, SR], false],
    [[SN, EN], true], [[SN, ER], false], [[SN, SN], true], [[SN, SR], false],
    [[SR, EN], true], [[SR, ER], false], [[SR, SN], false], [[SR, SR], false],
  ]) // biome-ignore format: a table

  for (const [[there, back], isCycle] of expected) {
    const [graph] = twoViews()
    graph.insert(0, 1, there!, '')
    const found = graph.insert(1, 0, back!, '') !== null
    equal(found, isCycle, `${KIND_NAMES[there!]} ${KIND_NAMES[back!]}`)
  }
})

test('a class that is no way on for a recursive reader is one when entered otherwise', () => {
  const [graph] = twoViews()
  graph.insert(0, 1, ER, '')
  graph.insert(1, 2, SN, '')
  equal(graph.insert(2, 0, EN, ''), null)

  const path = graph.insert(0, 1, EN, '')

  deepEqual(
    path?.map(edge => [edge.from, edge.to]),
    [
      [1, 2],
      [2, 0],
    ],
  )
})

/** Where, in the words of a graph of three classes, an edge EN is. */
const edgeAt = (from: number, to: number): number => 2 + 3 + (from * 3 + to) * 4

test('an edge that its inserter never found harmless is searched for again by others', () => {
  const words = sharedWords(LockdepGraph.words(3, 64))
  const graph = new LockdepGraph(words, 3)
  graph.insert(0, 1, EN, 'text')
  words[edgeAt(0, 1)]! &= ~1 // as if its inserter had died

  equal(graph.insert(1, 0, EN, '')?.[0]?.text, 'text')
  equal(graph.insert(0, 1, EN, ''), null)
  equal(graph.isSure(0, 1, EN), true)
})

test('an edge that its inserter left, and that closes a cycle, is withdrawn by who reports it', () => {
  const words = sharedWords(LockdepGraph.words(3, 64))
  const graph = new LockdepGraph(words, 3)
  graph.insert(1, 0, EN, 'dead')
  const left = words[edgeAt(1, 0)]! & ~1
  words[edgeAt(1, 0)] = 0
  graph.insert(0, 1, EN, '')
  words[edgeAt(1, 0)] = left

  equal(graph.insert(1, 0, EN, '')?.length, 1)

  equal(words[edgeAt(1, 0)], 0)
  deepEqual([graph.insert(0, 2, EN, ''), graph.insert(2, 1, EN, '')], [null, null])
})

test('a path is told without going in circles that two dead inserters left', () => {
  const words = sharedWords(LockdepGraph.words(3, 64))
  const graph = new LockdepGraph(words, 3)
  graph.insert(1, 0, EN, '')
  const left = words[edgeAt(1, 0)]! & ~1
  words[edgeAt(1, 0)] = 0
  graph.insert(0, 1, EN, '')
  graph.insert(1, 2, EN, '')
  words[edgeAt(1, 0)] = left

  const path = graph.insert(2, 0, EN, '')

  deepEqual(
    path?.map(edge => [edge.from, edge.to]),
    [
      [0, 1],
      [1, 2],
    ],
  )
})

test('a graph without room for a text refuses the edge, and is not harmed', () => {
  const [graph] = twoViews(2, 8)
  equal(graph.insert(0, 1, EN, 'short'), null)

  throws(() => graph.insert(0, 1, ER, 'a text of more than eight words'), { code: 'ENOSPC' })

  equal(graph.isSure(0, 1, EN), true)
  equal(graph.isSure(0, 1, ER), false)
})

test('it is turned off once, for all threads', () => {
  const [one, other] = twoViews()

  deepEqual(
    [one.isOff(), one.turnOff(), other.turnOff(), other.isOff()],
    [false, true, false, true],
  )
})

test('the same mistake made again and again takes no more memory', () => {
  const [graph] = twoViews(2, 16)
  graph.insert(0, 1, EN, 'there')

  for (let i = 0; i < 100; i++) equal(graph.insert(1, 0, EN, 'back')?.length, 1)
})
