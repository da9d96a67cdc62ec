import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { Mode } from './lockdep-graph.ts'
import type { Taking } from './lockdep-held.ts'
import {
  cycleReport,
  initReport,
  nestedReport,
  orderText,
  releaseReport,
} from './lockdep-report.ts'

function taking(className: string, mode: Mode, isRegion = false): Taking {
  const lock = { className, class: 0, memory: {}, byteOffset: 0, ownerMayRead: false, isRegion }
  return { lock, mode, place: { stack: `Error\n    at ${className} (x.ts:1:2)` } }
}

const { Exclusive, Shared } = Mode

test('a cycle is told edge by edge, those seen before first', () => {
  const now = orderText(3, taking('b', Shared), taking('a', Exclusive))
  const path = [{ from: 0, to: 1, kind: 0, text: 'slot 1 took a\n  then asks for b (read)' }]

  const report = cycleReport(path, now, taking('a', Exclusive), index => 'ab'[index]!)

  equal(
    report.message,
    `take a: it would close the cycle a -> b -> a, in which each can wait for the next for ever
  before: slot 1 took a
  then asks for b (read)
  now: slot 3 took b (read)
    at b (x.ts:1:2)
  then asks for a
    at a (x.ts:1:2)
  take them in one order, or only try and start over (EDEADLK)`,
  )
})

test('a lock that is held already is told with how', () => {
  const why = (held: Taking, asked: Taking): string =>
    nestedReport(held, asked, true).message.split('\n')[0]!

  const [read, written] = [taking('a', Shared), taking('a', Exclusive)]
  equal(why(written, written), 'take a: it has it already')
  equal(why(written, read), 'take a (read): it has it already')
  equal(why(read, written), 'take a: it reads already, and would wait for itself to leave')
  equal(
    why(read, read),
    'take a (read): it reads already; ' +
      'a writer that comes in between stops the second reader for ever',
  )
  const region = taking('flush', Exclusive, true)
  equal(why(region, region), 'wait for flush: it waits for what it must do itself')
})

test('another lock of the class is told with the remedy', () => {
  const { message } = nestedReport(taking('a', Exclusive), taking('a', Exclusive), false)

  equal(
    message,
    `take a: a is the name of one already held
  took a
    at a (x.ts:1:2)
  now asks for a
    at a (x.ts:1:2)
  if there is an order among them, say so with nest() (EDEADLK)`,
  )
})

test('a wrong release and a lock made anew say where', () => {
  const { lock, place } = taking('a', Exclusive)

  equal(
    releaseReport(lock, place).message,
    `release a: this thread does not hold it
    at a (x.ts:1:2)
  (EPERM)`,
  )
  equal(
    initReport(taking('a', Shared), place).message,
    `make a: this thread holds it
  took a (read)
    at a (x.ts:1:2)
  made anew
    at a (x.ts:1:2)
  (EDEADLK)`,
  )
})

test('a stack leaves out what belongs to node, and has an end', () => {
  const lines = Array.from({ length: 20 }, (_, i) => `    at f${i} (x.ts:${i}:1)`)
  const stack = ['Error', '    at node:internal/timers', '    at g (node:fs:1:1)', ...lines]
  const shown = (place: { stack: string }): string[] =>
    releaseReport(taking('a', Exclusive).lock, place).message.split('\n').slice(1, -1)

  equal(shown({ stack: stack.join('\n') }).join(), lines.slice(0, 8).join())
  equal(shown({ stack: 'Error' }).join(), '    at the top of the event loop')
})
