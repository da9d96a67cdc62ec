import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { Kind, Move, type Program, type Site, Woke } from './program.ts'
import { type Names, sitesText, tellEnd, tellSteps } from './report.ts'
import type { Happening } from './search/replay.ts'

const names: Names = { threads: ['reader', 'writer', 'reaper'], words: ['LOCK', 'DATA'] }

/** A program whose node n is `kinds[n]`, with `a` 5, on word DATA. */
function programOf(...kinds: Kind[]): Program {
  const all = (value: number) => Int32Array.from(kinds, () => value)
  const site = (line: number): Site => ({ file: '/some/where/x.js', line, text: '' })
  return {
    nrThreads: 3,
    nrWords: 2,
    roots: [],
    nrNodes: kinds.length,
    nrEdges: 0,
    kind: Int32Array.from(kinds),
    word: all(1),
    a: all(5),
    b: all(0),
    label: Int32Array.from(kinds, (_, node) => node % 2),
    labels: ['', 'inside'],
    thread: all(0),
    stores: () => [],
    reads: () => [],
    next: () => 0,
    known: () => -1,
    sites: node => [site(10 + node)],
    error: () => 'it broke',
  }
}

/** The line that tells one step of the thread `reader`. */
function line(kind: Kind, step: Partial<Happening> & { readonly move?: Move }): string {
  const happening: Happening = {
    node: 0,
    kind,
    word: 1,
    before: 0,
    after: 0,
    result: 0,
    woke: [],
    sleeps: false,
    next: 0,
    ...step,
    step: { thread: 0, move: step.move ?? Move.Run },
  }
  return tellSteps(programOf(kind), names, [happening]).replace(/ +/g, ' ').trim()
}

test('each operation is told with its word and what became of it', () => {
  equal(line(Kind.Load, { before: 3, after: 3 }), '1 reader load DATA = 3 x.js:10')
  equal(line(Kind.Store, { after: 5 }), '1 reader store DATA 0 -> 5 x.js:10')
  equal(line(Kind.Store, { before: 5, after: 5 }), '1 reader store DATA 5 -> 5 x.js:10')
  equal(line(Kind.Add, { after: 5 }), '1 reader add DATA 0 -> 5 x.js:10')
  const cas = Kind.CompareExchange
  equal(line(cas, { before: 5, after: 7 }), '1 reader compareExchange DATA 5 -> 7 succeeds x.js:10')
  equal(line(cas, {}), '1 reader compareExchange DATA = 0 fails, not 5 x.js:10')
})

test('sleeping and waking are told', () => {
  const asleep = { before: 5, after: 5, result: null, sleeps: true }
  equal(line(Kind.Wait, asleep), '1 reader wait DATA = 5 SLEEPS x.js:10')
  equal(line(Kind.Wait, { result: Woke.NotEqual }), '1 reader wait DATA = 0 goes on, not 5 x.js:10')
  equal(line(Kind.Wait, { move: Move.TimeOut }), '1 reader (time) DATA = 0 times out x.js:10')
  equal(line(Kind.Notify, { woke: [1, 2] }), '1 reader notify DATA wakes writer, reaper x.js:10')
  equal(line(Kind.Notify, {}), '1 reader notify DATA wakes nobody x.js:10')
})

test('what plain words and the machine do is told', () => {
  equal(line(Kind.StorePlain, {}), '1 reader storePlain DATA := 5 on its way x.js:10')
  const flush = { move: Move.Flush, after: 5 }
  equal(line(Kind.StorePlain, flush), '1 reader (memory) DATA 0 -> 5 reaches memory x.js:10')
  const stale = { move: Move.Stale, before: 5, after: 5, result: 4 }
  equal(line(Kind.LoadPlain, stale), '1 reader loadPlain DATA = 4 stale x.js:10')
  equal(line(Kind.BarrierAll, { word: -1 }), '1 reader barrierAll x.js:10')
  equal(line(Kind.Load, { word: -1, move: Move.Die }), '1 reader DIES x.js:10')
  equal(line(Kind.AwaitDeath, { word: -1, result: 1 }), '1 reader awaitDeath of writer x.js:10')
})

test('the end says where each thread is left', () => {
  const program = programOf(Kind.Wait, Kind.Load, Kind.Done, Kind.Fail)
  const at = (node: number, queue = -1, dead = false) => ({ node, queue, dead })
  const end = (...threads: ReturnType<typeof at>[]): string[] =>
    tellEnd(program, names, { words: Int32Array.of(0, 5), threads }).split('\n')

  deepEqual(end(at(0, 1), at(1), at(2)), [
    '     reader  sleeps on DATA = 5                x.js:10',
    '     writer  [inside] is before load DATA = 5  x.js:11',
    '     reaper  is done',
  ])
  deepEqual(end(at(3), at(-1, -1, true)), [
    '     reader  [inside] threw it broke  x.js:13',
    '     writer  is dead',
  ])
})

test('a long chain of calls is told by its two ends', () => {
  const sites = [1, 2, 3, 4, 5].map(line => ({ file: 'a.js', line, text: '' }))

  equal(sitesText(sites), 'a.js:1 < a.js:2 < a.js:3 < ... < a.js:5')
})
