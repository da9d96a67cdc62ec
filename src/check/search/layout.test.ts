import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { type Field, Layout } from './layout.ts'
import type { Places } from './places.ts'

/** What a layout looks at: how many places each thread has, and how many values each word. */
function placesOf(nrPlaces: readonly number[], nrValues: readonly number[] = []): Places {
  const some = <T>(length: number, item: T): T[] => new Array<T>(length).fill(item)
  return {
    automata: { classOf: nrPlaces.map((_, t) => t) },
    classes: nrPlaces.map(count => some(count, { queue: -1 })),
    words: { values: nrValues.map(count => some(count, 0)) },
  } as unknown as Places
}

function assertApart({ parts, size }: Layout): void {
  const taken = new Set<string>()
  for (const { at, shift, bits } of parts) {
    ok(at < size || bits === 0)
    ok(shift + bits <= 32)
    for (let bit = shift; bit < shift + bits; bit++) {
      ok(!taken.has(`${at}.${bit}`))
      taken.add(`${at}.${bit}`)
    }
  }
}

test('what the integers of a state have left over is shared out evenly among the threads', () => {
  const bits = [11, 11, 10, 8, 8]

  const layout = new Layout(placesOf(bits.map(n => 2 ** n)), -1)

  equal(layout.size, 2)
  assertApart(layout)
  const spare = layout.placeBits.map((width, t) => width - bits[t]!)
  ok(Math.min(...spare) >= 1, `${spare}`)
})

test('the thread whose field is fullest gets the last bit', () => {
  const nearlyFull = new Layout(placesOf([513, 1024, 513], [3]), -1)

  assertApart(nearlyFull)
  deepEqual(nearlyFull.placeBits, [10, 10, 10])

  const withRoom = new Layout(placesOf([513, 1024, 513]), -1)

  assertApart(withRoom)
  deepEqual(withRoom.placeBits, [11, 11, 10])
})

test('fields that fill their integers are packed into no more of them', () => {
  const bits = [18, 14, 13, 10, 9]

  const layout = new Layout(placesOf(bits.map(n => 2 ** n)), -1)

  equal(layout.size, 2)
  assertApart(layout)
  deepEqual(layout.placeBits, bits)
})

test('a state of nothing that changes is one integer', () => {
  const layout = new Layout(placesOf([1, 1], [1]), -1)

  equal(layout.size, 1)
  deepEqual(
    layout.parts.filter(({ bits }: Field) => bits > 0),
    [],
  )
})
