import { deepEqual, equal, notEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { sharedWords } from '../../test/thread.ts'
import { CACHE_LINE_WORDS, generationOfToken, Slots, slotOfToken, tokenOf } from './slots.ts'

function table(nrSlots = 2): Slots {
  return new Slots(sharedWords(Slots.words(nrSlots)))
}

test('a token names a slot and a generation, and is never 0', () => {
  for (const [slot, generation] of [
    [0, 0],
    [1022, 0],
    [5, 2 ** 19 - 1],
  ] as const) {
    const token = tokenOf(slot, generation)

    notEqual(token, 0)
    equal(slotOfToken(token), slot)
    equal(generationOfToken(token), generation)
  }
})

test('memory that is not shared, not words, or not of whole slots is refused', () => {
  const refused = [
    new Int32Array(64),
    new Float64Array(64),
    ...[0, 16, 17, 33, Slots.words(1024)].map(sharedWords),
  ] as Int32Array[]

  for (const words of refused) {
    throws(() => new Slots(words), { code: 'EINVAL', message: /^make slots: / })
  }
  equal(new Slots(sharedWords(Slots.words(1023))).nrSlots, 1023)
})

test('a thread id that no thread can have is refused', () => {
  const slots = table()

  for (const tid of [0, -1, 2 ** 22, Number.NaN]) {
    throws(() => slots.attach(testOracle(tid)), { code: 'EINVAL', message: /^attach: thread id/ })
  }

  deepEqual([...slots.words], [...sharedWords(Slots.words(2))])
})

test('an attached thread is alive, a detached one is not, and its slot is free again', () => {
  const slots = table()

  const slot = slots.attach(testOracle(1))
  const { token } = slot
  equal(slots.isAlive(token), true)
  equal(slots.tokenAt(0), token)
  slot.detach()
  equal(slots.isAlive(token), false)
  equal(slots.isFreed(token), true)
  const next = slots.attach(testOracle(1))

  equal(next.index, 0)
  notEqual(next.token, token)
})

test('more threads than slots are refused', () => {
  const slots = table(2)

  slots.attach(testOracle(1))
  slots.attach(testOracle(2))

  throws(() => slots.attach(testOracle(3)), {
    code: 'ENOSPC',
    message: 'attach: all 2 slots are taken (ENOSPC)',
  })
})

test('a slot is reused a thousand times, and each time is another owner', () => {
  const slots = table(1)
  const tokens = new Set<number>()

  for (let i = 0; i < 1000; i++) {
    tokens.add(slots.attach(testOracle(i + 1)).token)
    equal(slots.reap(0, testOracle(0, [i + 1])), true)
  }

  equal(tokens.size, 1000)
})

test('a reaper leaves the living alone and frees the slot of the dead', () => {
  const slots = table()
  const first = slots.attach(testOracle(1))
  const second = slots.attach(testOracle(2))

  equal(slots.reap(0, testOracle(9, [2])), false)
  equal(slots.reap(1, testOracle(9, [2])), true)

  equal(slots.isAlive(first.token), true)
  equal(slots.isFreed(second.token), true)
})

test('recovery runs when a slot is closed and again when it is freed', () => {
  const slots = table()
  const slot = slots.attach(testOracle(1))
  const seen: string[] = []
  slots.register({
    recover: token => seen.push(`${slots.isAlive(token)} ${slots.isFreed(token)}`),
  })

  equal(slots.close(slot.index, slot.generation), true)
  equal(slots.close(slot.index, slot.generation), false)
  slots.free(slot.index, slot.generation)
  slots.free(slot.index, slot.generation)

  deepEqual(seen, ['false false', 'false false', 'false true'])
})

test('a closed slot is not free until the thread is gone', () => {
  const slots = table(1)
  const slot = slots.attach(testOracle(1))

  slots.close(slot.index, slot.generation)
  equal(slots.reap(0, testOracle(9)), false)
  throws(() => slots.attach(testOracle(2)), { code: 'ENOSPC' })
  equal(slots.reap(0, testOracle(9, [1])), true)

  equal(slots.attach(testOracle(2)).index, 0)
})

test('a hint about an owner that is gone does not touch the next', () => {
  const slots = table(1)
  const first = slots.attach(testOracle(1))
  first.detach()
  const second = slots.attach(testOracle(2))

  equal(slots.close(first.index, first.generation), false)
  slots.free(first.index, first.generation)

  equal(slots.isAlive(second.token), true)
})

test('a thread that died between its claim and its start leaves a slot that can be freed', () => {
  const slots = table(1)
  slots.words[CACHE_LINE_WORDS + 1] = 7 // TID alone: died after A1

  equal(slots.reap(0, testOracle(9)), false)
  equal(slots.reap(0, testOracle(9, [7])), true)

  equal(slots.attach(testOracle(2)).index, 0)
})

test('a thread that is between its claim and its start is not taken for its predecessor', () => {
  const slots = table(1)
  const byStart = { tid: 7, start: 2, exists: (_: number, start: number) => start !== 1 }
  slots.attach({ ...byStart, start: 1 })

  slots.reap(0, byStart)
  slots.words[CACHE_LINE_WORDS + 1] = 7 // A1 of the next

  equal(slots.reap(0, byStart), false)
})

test('a slot whose thread has references stays taken after it detaches', () => {
  const slots = table(1)
  const slot = slots.attach(testOracle(1))
  slot.references.push({ mine: () => 1 })
  const { token } = slot

  slot.detach()

  equal(slots.isAlive(token), false)
  equal(slots.isFreed(token), false)
})

test('a slot is detached once', () => {
  const slot = table().attach(testOracle(1))

  slot.detach()

  throws(() => slot.detach(), {
    code: 'EINVAL',
    message: 'detach: slot 0 is detached (EINVAL)',
  })
})
