/*
 * Calls on a map that throw in the middle, where they should not: nothing is held afterwards, each
 * key has its old or its new value, no page is lost, and others go on.
 */
import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Compactor } from '../../src/collections/compactor.ts'
import { Machine } from '../../src/index.ts'
import { assertWhole, SMALL } from '../bodies/blocks.ts'
import { bootMemory, reclaim } from '../bodies/collections.ts'
import { CALL_NAMES } from '../bodies/throws.ts'
import { TestThread } from '../thread.ts'

const BODIES = new URL('../bodies/throws.js', import.meta.url)
/** The less stack there is, the sooner it is full. */
const SHALLOW = { resourceLimits: { stackSizeMb: 0.5 } }
const FAULT = { execArgv: ['--conditions=fault', '--enable-source-maps'] }

for (const call of CALL_NAMES) {
  test(`${call}: each of its operations throws, and all that it had is let go`, async t => {
    await using memory = await bootMemory(2)
    const { handle, context } = memory

    const thread = new TestThread(BODIES, 'throwEverywhere', { handle, call }, FAULT)
    const nrThrown = (await thread.result) as number

    t.diagnostic(`${nrThrown} operations threw`)
    ok(nrThrown > 0)
    const compactor = new Compactor(context)
    compactor.compact({ maxPages: 10_000, below: 1.1 })
    compactor.close()
    context.pages.recoverDead()
    reclaim(memory)
    equal(memory.frames.nrTaken, 0)
  })
}

test('calls of all kinds where the stack is full: a RangeError, and nothing was begun', async t => {
  const machine = await Machine.boot({ ...SMALL, memory: '16MiB' })
  t.after(() => machine.shutdown())

  for (const call of CALL_NAMES) {
    const data = { handle: machine.handle, call, rounds: 24 }
    const nrThrown = (await new TestThread(BODIES, 'overflow', data, SHALLOW).result) as number
    ok(nrThrown > 0, `${call}: ${nrThrown} threw`)
    for (let block = 0; block < 4; block++) {
      await machine.memory.offline(block, { deadlineMs: 10_000 })
      await machine.memory.online(block, block === 0 ? 'online_kernel' : 'online_movable')
    }
    const map = machine.map<string>(call, { codec: 'utf8' })
    equal(map.get('key'), call)
    map.set('key', 'others go on')
  }
  assertWhole(machine)
})

test('raw memory where the stack is full: a RangeError, and no zone is left locked', async t => {
  const machine = await Machine.boot({ ...SMALL, memory: '16MiB' })
  t.after(() => machine.shutdown())

  const data = { handle: machine.handle, call: 'raw', rounds: 24 }
  const nrThrown = (await new TestThread(BODIES, 'overflowRaw', data, SHALLOW).result) as number

  ok(nrThrown > 0)
  machine.buffer('16KiB', { owner: 'others go on' }).release()
  for (const { block } of machine.memory.blocks()) {
    await machine.memory.offline(block, { deadlineMs: 10_000 })
    await machine.memory.online(block, block === 0 ? 'online_kernel' : 'online_movable')
  }
  assertWhole(machine)
})
