import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockModel, type Command, Driven } from '../../test/bodies/block-model.ts'
import { assertWhole, SMALL } from '../../test/bodies/blocks.ts'
import { Machine } from '../index.ts'

const RUNS = 20
const COMMANDS_MAX = 40

const block = fc.integer({ min: -1, max: 8 })
const onlineType = fc.constantFrom('online', 'online_kernel', 'online_movable')
const autoOnline = fc.constantFrom('offline', 'online', 'online_kernel', 'online_movable')
const command = fc.oneof(
  fc.record({
    call: fc.constant('add'),
    count: fc.integer({ min: 0, max: 4 }),
    at: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined }),
    type: autoOnline,
  }),
  fc.record({ call: fc.constant('online'), block, type: onlineType }),
  fc.record({ call: fc.constant('offline'), block }),
  fc.record({ call: fc.constant('remove'), block }),
  fc.record({ call: fc.constant('resize'), count: fc.integer({ min: 0, max: 9 }) }),
  fc.record({ call: fc.constant('buffer') }),
  fc.record({ call: fc.constant('release'), nth: fc.nat(20) }),
) as fc.Arbitrary<Command>

test('operations answer and leave behind what a plain model does', async () => {
  const commands = fc.array(command, { maxLength: COMMANDS_MAX, size: 'max' })
  const property = fc.asyncProperty(commands, async sequence => {
    await using machine = await Machine.boot({ ...SMALL, lockdep: false })
    const model = new BlockModel()
    const driven = new Driven(machine)
    for (const one of sequence) {
      const what = JSON.stringify(one)
      equal(await driven.run(one), model.run(one), what)
      deepEqual(driven.seen(), model.seen(), what)
    }
    assertWhole(machine)
  })

  await fc.assert(property, { numRuns: RUNS })
})
