import { equal, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { TestThread } from '../../test/thread.ts'
import { Machine } from '../index.ts'

const BODIES = new URL('../../test/bodies/after-shutdown.js', import.meta.url)

test('a worker that uses a map after the machine was shut down is told, and does not hang', async () => {
  const machine = await Machine.boot({ memory: '8MiB', maxMemory: '8MiB', blockSize: '4MiB' })
  const turns = new Int32Array(new SharedArrayBuffer(8))
  const data = { handle: machine.handle, turns }
  const worker = new TestThread(BODIES, 'usesMapAfterwards', data)
  await Atomics.waitAsync(turns, 0, 0).value
  await machine.shutdown()
  Atomics.store(turns, 1, 1)
  Atomics.notify(turns, 1)

  equal(await worker.result, 'ENODEV ENODEV')
  throws(() => machine.map('m', { codec: 'utf8' }), { code: 'EINVAL' })
  await rejects(machine.memory.resize('4MiB'), { code: 'ENODEV' })
})
