import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { describe, type ModelOptions } from './describe.ts'
import type { Declare, Views } from './layout.ts'

const shared = (t: Declare) => ({ m: t.int32(1) })
const body = () => {}
const read = (options: ModelOptions<Views>) => describe(options)

test('threads are numbered over all entries, and named by their count', () => {
  const description = read({
    name: 'm',
    shared,
    threads: [
      { name: 'reader', count: 2, symmetric: true, body },
      { name: 'writer', body },
    ],
  })

  deepEqual(
    description.threads.map(({ name, group }) => [name, group]),
    [
      ['reader1', 0],
      ['reader2', 0],
      ['writer', -1],
    ],
  )
  equal(description.scope, '2 reader + 1 writer')
})

test('a model without threads is refused', () => {
  throws(() => read({ name: 'm', shared, threads: [] }), {
    code: 'EINVAL',
    message: 'model m: it has no threads (EINVAL)',
  })
})

test('a count that is none, and more threads than a schedule can name, are refused', () => {
  for (const count of [0, -1, 1.5, Number.NaN, 100]) {
    throws(() => read({ name: 'm', shared, threads: [{ name: 'a', count, body }] }), {
      code: 'EINVAL',
    })
  }
})

test('more deaths than threads that can die are refused', () => {
  const threads = [
    { name: 'a', body },
    { name: 'reaper', daemon: true, body },
  ]

  throws(() => read({ name: 'm', shared, threads, deaths: 2 }), {
    message: 'model m: 2 deaths, with 1 threads that can die (EINVAL)',
  })
  const spared = threads.map(entry => ({ ...entry, mortal: false }))
  throws(() => read({ name: 'm', shared, threads: spared, deaths: 1 }), {
    message: 'model m: 1 deaths, with 0 threads that can die (EINVAL)',
  })
  throws(() => read({ name: 'm', shared, threads: threads.slice(1) }), {
    message: /all its threads are daemons/,
  })
})

test('the scope says who may die, if not all may', () => {
  const threads = [
    { name: 'a', body },
    { name: 'b', count: 2, mortal: false, body },
    { name: 'reaper', daemon: true, body },
  ]
  const scopeOf = (some: readonly number[]): string =>
    read({ name: 'm', shared, threads: some.map(i => threads[i]!), deaths: 1 }).scope

  equal(scopeOf([0, 1, 2]), '1 a + 2 b + 1 reaper, 1 death of a')
  equal(scopeOf([0, 2]), '1 a + 1 reaper, 1 death')
})

test('a daemon that is to be mortal is refused', () => {
  const threads = [
    { name: 'a', body },
    { name: 'reaper', daemon: true, mortal: true, body },
  ]

  throws(() => read({ name: 'm', shared, threads, deaths: 1 }), {
    message: 'model m: daemon reaper is to be mortal (EINVAL)',
  })
})

test('a view with the name of something else that bodies or predicates are given is refused', () => {
  for (const name of ['id', 'cs', 'awaitDeath', 'in', 'dead']) {
    const shared = (t: Declare) => ({ [name]: t.int32(1) })
    throws(() => read({ name: 'm', shared, threads: [{ name: 'a', body }] }), { code: 'EINVAL' })
  }
})
