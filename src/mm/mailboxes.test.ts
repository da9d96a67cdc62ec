import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { CACHE_LINE_WORDS, Slots } from '../locking/slots.ts'
import { Mailboxes } from './mailboxes.ts'

const FIRST = 1
const POST = CACHE_LINE_WORDS + 1

/** A thread with a box. */
function scene() {
  const slots = new Slots(sharedWords(Slots.words(1)))
  const boxes = new Mailboxes(slots.attach(testOracle(1)), sharedWords(Mailboxes.words(1)))
  return { boxes, box: boxes.open(0) }
}

test('a box that closes ends the sleep of its own thread', async () => {
  const { boxes, box } = scene()
  let isOver = false

  const sleep = boxes.letter(box).then(() => (isOver = true))
  await setImmediate()
  equal(isOver, false)
  boxes.close(box)

  equal(Atomics.notify(boxes.words, POST), 0) // nobody is left asleep
  await sleep
})

test('a letter ends the sleep, and one that is answered does not', async () => {
  const { boxes, box } = scene()
  let isOver = false

  const first = boxes.letter(box)
  boxes.deliver(boxes.list()[0]!, FIRST).step()
  await first
  boxes.answer(box, boxes.pending(box), { code: 0, text: '' })
  void boxes.letter(box).then(() => (isOver = true))
  await setImmediate()

  equal(isOver, false)
  equal(Atomics.notify(boxes.words, POST), 1)
})
