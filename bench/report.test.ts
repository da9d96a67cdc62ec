import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { locksTable, tableText } from './report.ts'

const figures = [
  { name: 'pthread_rwlock', nrThreads: 1, ns: 20 },
  { name: 'guard', nrThreads: 1, ns: 5 },
  { name: 'guard', nrThreads: 2, ns: 4 },
]

test('a lock is compared with those of C that as many threads took', () => {
  const { rows } = locksTable(figures)

  equal(rows[1]!.join(), 'guard,1,5.0,0.25,-')
  equal(rows[2]!.join(), 'guard,2,4.0,-,-')
})

test('a table is aligned for a terminal and for Markdown', () => {
  const table = {
    title: 'Title',
    head: ['lock', 'ns'],
    rows: [['a', '10']],
  }

  equal(tableText(table, false), 'Title\n  lock  ns\n  a     10')
  equal(
    tableText(table, true),
    ['**Title**', '', '| lock | ns |', '| ---- | -: |', '| a    | 10 |'].join('\n'),
  )
})
