import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Machine } from '../index.ts'

const MiB = 2 ** 20
const RECORDS = 8000
const value = 'x'.repeat(1000)

test('a resize to the size that there is gives back what is free, and nothing else', async () => {
  const machine = await Machine.boot({ memory: '16MiB', maxMemory: '16MiB', blockSize: '4MiB' })
  const map = machine.map<string>('words', { codec: 'utf8' })
  for (let i = 0; i < RECORDS; i++) map.set(`word${i}`, value)
  for (let i = 0; i < RECORDS; i++) if (i % 8 !== 0) map.delete(`word${i}`)

  const report = await machine.memory.resize('16MiB')

  equal(report.afterBytes, 16 * MiB)
  equal(report.blockedBy.length, 0)
  if (machine.capabilities.discard) ok(report.returnedBytes > 4 * MiB, `${report.returnedBytes}`)
  for (let i = 0; i < RECORDS; i++) equal(map.get(`word${i}`), i % 8 === 0 ? value : undefined)
  for (let i = 0; i < RECORDS; i++) map.set(`word${i}`, value)
  for (let i = 0; i < RECORDS; i++) equal(map.get(`word${i}`), value)
  machine.memory.walkBlocks()
  await machine.shutdown()
})
