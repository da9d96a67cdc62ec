import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { Roll } from './roll.ts'
import { Slots } from './slots.ts'

function table(): Slots {
  return new Slots(sharedWords(Slots.words(2)))
}

test('who comes is no change, who goes is one, once', () => {
  const slots = table()
  const roll = new Roll(slots)

  const slot = slots.attach(testOracle(1))
  equal(roll.hasChanged(), false)
  slot.detach()

  equal(roll.hasChanged(), true)
  equal(roll.hasChanged(), false)
})

test('a slot that is closed has changed, and again when it is freed', () => {
  const slots = table()
  const { index, generation } = slots.attach(testOracle(1))
  const roll = new Roll(slots)

  slots.close(index, generation)
  equal(roll.hasChanged(), true)
  slots.free(index, generation)

  equal(roll.hasChanged(), true)
})

test('who came and went between two looks is noticed, also if another has come since', () => {
  const slots = table()
  const roll = new Roll(slots)

  slots.attach(testOracle(1)).detach()
  equal(roll.hasChanged(), true)
  slots.attach(testOracle(1)).detach()
  slots.attach(testOracle(2))

  equal(roll.hasChanged(), true)
})
