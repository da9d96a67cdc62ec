import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { declare, layOut, viewsOver } from './layout.ts'

test('views lie one after another in one buffer, and words have their names', () => {
  const layout = layOut('m', {
    m: declare.int32({ LOCK: 0, WAKE: [2, 4] }),
    s: declare.int32(2),
  })

  deepEqual(layout.names, ['LOCK', 'm[1]', 'WAKE[0]', 'WAKE[1]', 's[0]', 's[1]'])
  const { m, s } = viewsOver(layout, new SharedArrayBuffer(24))
  deepEqual([m?.byteOffset, m?.length, s?.byteOffset, s?.length], [0, 4, 16, 2])
})

test('a name that two views have is written with its view', () => {
  const layout = layOut('m', { a: declare.int32({ LOCK: 0 }), b: declare.int32({ LOCK: 0 }) })

  deepEqual(layout.names, ['a.LOCK', 'b.LOCK'])
})

test('init fills a shared Int32Array of its own', () => {
  const layout = layOut('m', {
    a: declare.int32(1),
    b: declare.int32(2, {
      init: words => {
        equal(words.buffer instanceof SharedArrayBuffer, true)
        words[1] = -7
      },
    }),
  })

  deepEqual([...layout.initial], [0, 0, -7])
})

test('names that overlap are refused', () => {
  throws(() => layOut('m', { m: declare.int32({ LOCK: 1, WAKE: [0, 2] }) }), {
    code: 'EINVAL',
    message: 'model m: LOCK and m.WAKE overlap at word 1 (EINVAL)',
  })
})

test('names beyond the end, empty ranges and no words at all are refused', () => {
  throws(() => layOut('m', { m: declare.int32({ A: 4 }, { length: 4 }) }), { code: 'EINVAL' })
  throws(() => layOut('m', { m: declare.int32({ A: [2, 2] }) }), { code: 'EINVAL' })
  throws(() => layOut('m', { m: declare.int32({ A: -1, B: 1 }) }), { code: 'EINVAL' })
  throws(() => layOut('m', { m: declare.int32(0) }), { code: 'EINVAL' })
  throws(() => layOut('m', { m: declare.int32(1.5) }), { code: 'EINVAL' })
})

test('an initial value that is wider than its word is refused', () => {
  const init = (words: Int32Array) => words.fill(256)

  throws(() => layOut('m', { m: declare.int32({ COUNT: 0 }, { bits: 8, init }) }), {
    code: 'EINVAL',
    message: 'model m: COUNT begins as 256, and holds 0 to 255 (EINVAL)',
  })
  throws(() => layOut('m', { m: declare.int32({ A: 0, B: 1 }, { bits: { B: 8 }, init }) }), {
    message: /B begins as 256/,
  })
})

test('a width that no word has is refused', () => {
  throws(() => layOut('m', { m: declare.int32({ A: 0 }, { bits: 32 }) }), { code: 'EINVAL' })
  throws(() => layOut('m', { m: declare.int32({ A: 0 }, { bits: { B: 8 } }) }), {
    message: /the width of m.B is declared, the word is not/,
  })
})

test('words of another width are refused by name, which JavaScript does not know', () => {
  const { uint8 } = declare as unknown as { uint8(length: number): void }

  throws(() => uint8(4), {
    code: 'EINVAL',
    message: 'declare t.uint8: the words of a model are of an Int32Array (EINVAL)',
  })
})
