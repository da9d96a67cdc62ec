import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { TestThread } from '../../test/thread.ts'
import { type BootOptions, Machine } from '../index.ts'

const BODIES = new URL('../../test/bodies/detached.js', import.meta.url)
/** 4096 virtual pages. */
const SMALL: BootOptions = { memory: '8MiB', maxMemory: '16MiB', blockSize: '4MiB', pageSize: 4096 }

test('sets of a thread that has detached are refused, and take nothing away from others', async () => {
  await using machine = await Machine.boot(SMALL)
  const { control, collections } = machine.handle.memory

  const refused = await new TestThread(BODIES, 'setsDetached', machine.handle).result

  deepEqual(refused, [['EINVAL'], 120])
  ok(control.pageTable.every(word => word === 0))
  ok(collections.shards.every(word => word === 0))
  const map = machine.map<Uint8Array>('detached', { codec: 'bytes' })
  map.set('small', Buffer.alloc(100)).set('large', Buffer.alloc(2 ** 20))
  equal(map.size, 2)
})
