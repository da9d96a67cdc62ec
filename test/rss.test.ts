import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { runNode } from '../src/check/stranger.test.fixture.ts'

const MiB = 2 ** 20

/** As somebody new to it would write it; only the last part is for machines that cannot discard. */
const PROGRAM = `
import { Machine } from 'hotplug'

const machine = await Machine.boot({ memory: '512MiB', maxMemory: '512MiB' })
const map = machine.map('values', { codec: 'bytes' })
const value = new Uint8Array(2 ** 20).fill(7)
for (let i = 0; i < 300; i++) map.set('key' + i, value)
const full = process.memoryUsage.rss()

for (let i = 0; i < 200; i++) map.delete('key' + i)
const { afterBytes, returnedBytes } = await machine.memory.resize('192MiB')
const left = map.size
const shrunk = process.memoryUsage.rss()

await machine.shutdown()
const ended = process.memoryUsage.rss()

const { discard } = machine.capabilities
const { handle } = machine
const words = discard ? [] : new BigUint64Array(handle.memory.space)
const isZero = words.every(word => word === 0n)
console.log(JSON.stringify({ discard, full, shrunk, ended, afterBytes, returnedBytes, left, isZero }))
`

interface Said {
  readonly discard: boolean
  readonly full: number
  readonly shrunk: number
  readonly ended: number
  readonly afterBytes: number
  readonly returnedBytes: number
  readonly left: number
  readonly isZero: boolean
}

test('memory leaves the process on resize after deletes, and the rest of it on shutdown', () => {
  const { status, stdout, stderr } = runNode({ 'main.js': PROGRAM }, 'main.js')

  deepEqual([status, stderr], [0, ''])
  const said = JSON.parse(stdout) as Said
  equal(said.left, 100)
  equal(said.afterBytes, 192 * MiB)
  equal(said.isZero, true)
  if (process.env.HOTPLUG_ARCH === 'portable') equal(said.discard, false)
  if (!said.discard) {
    equal(said.returnedBytes, 0) // no more is promised than zeroes
    return
  }
  ok(said.returnedBytes > 180 * MiB, stdout)
  ok(said.full - said.shrunk > 150 * MiB, stdout)
  ok(said.shrunk - said.ended > 80 * MiB, stdout)
})
