import { deepEqual, equal, notEqual, ok, throws } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { TestThread, until } from '../../test/thread.ts'
import type { Frames } from '../mm/geometry.ts'
import { AddressSpace } from './address-space.ts'

const MiB = 2 ** 20
const BLOCK = 4 * MiB
const BODIES = new URL('../../test/bodies/memory.js', import.meta.url)

const spaceOf = (maxBlocks: number, nrBlocks: number): AddressSpace =>
  new AddressSpace(AddressSpace.reserve(maxBlocks * BLOCK, nrBlocks * BLOCK), BLOCK)

test('a block is one view of a fixed length, the same each time', () => {
  const space: Frames & AddressSpace = spaceOf(4, 1)

  const before = space.block(0)
  before[BLOCK / 4 - 1] = 7
  space.grow(4 * BLOCK)
  const last = space.block(3)

  equal(before.length, BLOCK / 4)
  equal(space.block(0), before)
  equal(last.byteOffset, 3 * BLOCK)
  deepEqual([before.at(-1), last[0], last.length], [7, 0, BLOCK / 4])
})

test('growing to what is there already does nothing', () => {
  const space = spaceOf(4, 2)

  space.grow(BLOCK)
  equal(space.buffer.byteLength, 2 * BLOCK)
  space.grow(3 * BLOCK)
  space.grow(3 * BLOCK)
  equal(space.buffer.byteLength, 3 * BLOCK)
})

test('a block that was not grown to, and one that is not reserved, cannot be touched', () => {
  const space = spaceOf(4, 1)

  throws(() => space.block(1), /block 1 is touched before it was grown to/)
  throws(() => space.block(4), /there is no block 4/)
  throws(() => space.grow(5 * BLOCK), /not reserved/)
})

test('threads grow one address space at once, and see what each other writes', async () => {
  const { buffer } = spaceOf(64, 0)
  const data = { buffer, blockBytes: BLOCK, nrBlocks: 64 }
  const threads = [0, 1, 2].map(id => new TestThread(BODIES, 'growAndMark', { ...data, id }))

  await Promise.all(threads.map(thread => thread.result))

  const space = new AddressSpace(buffer, BLOCK)
  equal(buffer.byteLength, 64 * BLOCK)
  for (let i = 0; i < 64; i++) deepEqual([...space.block(i).subarray(0, 4)], [1, 1, 1, 0])
})

test('threads that are killed while they grow it leave an address space that others use', async () => {
  const { buffer } = spaceOf(256, 0)
  const data = { buffer, blockBytes: BLOCK, nrBlocks: 256, id: 0 }
  for (let round = 1; round <= 8; round++) {
    const thread = new TestThread(BODIES, 'growAndMark', data)
    const target = round * 8 * BLOCK
    await until('it has grown some', () => buffer.byteLength >= target)
    await thread.kill()
  }

  const space = new AddressSpace(buffer, BLOCK)
  space.grow(256 * BLOCK)

  space.block(255).fill(1)
  ok(space.block(0)[0]! > 0)
})

test('a machine of 1 TiB is reserved where the engine can, else 4 GiB are named', () => {
  const major = Number(process.versions.node.split('.')[0])
  const reserve = (): SharedArrayBuffer => AddressSpace.reserve(2 ** 40, 0)
  if (major >= 22) return equal(reserve().maxByteLength, 2 ** 40)

  throws(reserve, {
    code: 'ENOMEM',
    message:
      `reserve 1 TiB: maxMemory 4 GiB could be reserved; Node ${major} has 4 GiB at most,` +
      ' 22 more (ENOMEM)',
  })
})

test('4 GiB are reserved by every engine, and touched at both ends', () => {
  const space = new AddressSpace(AddressSpace.reserve(4096 * MiB, 4096 * MiB), 64 * MiB)

  space.block(63)[64 * (MiB / 4) - 1] = 1

  equal(space.block(0)[0], 0)
  notEqual(space.block(63).at(-1), 0)
})

test('where addresses are limited, the error names a maxMemory that would do', t => {
  if (process.platform !== 'linux') return t.diagnostic('no ulimit -v here')
  const code = `
    import { AddressSpace } from ${JSON.stringify(new URL('./address-space.js', import.meta.url).href)}
    const bytes = 4 * 2 ** 30
    const said = attempt => { try { attempt(); return 'ok' } catch (error) { return error.message } }
    const message = said(() => AddressSpace.reserve(bytes, 0))
    const [, amount, unit] = /maxMemory (\\d+) ([MG]iB)/.exec(message)
    const possible = Number(amount) * (unit === 'GiB' ? 2 ** 30 : 2 ** 20)
    gc()
    console.log(JSON.stringify([message, said(() => AddressSpace.reserve(possible, 0))]))`
  const flags = ['--expose-gc', '--input-type=module', '-e', code]
  const { VmPeak } = bareProcess()
  const script = `ulimit -v ${VmPeak + 2 * 2 ** 20}; exec "$0" "$@"`

  const [message, second] = JSON.parse(
    execFileSync('sh', ['-c', script, process.execPath, ...flags], { encoding: 'utf8' }),
  ) as [string, string]

  ok(message.startsWith('reserve 4 GiB: maxMemory '), message)
  ok(message.endsWith('; if that is too little, see ulimit -v (ENOMEM)'), message)
  equal(second, 'ok')
})

/** What a node that does nothing needs, in KiB. */
function bareProcess(): { VmPeak: number } {
  const code = `console.log(/VmPeak:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status'))[1])`
  const printed = execFileSync(process.execPath, ['--expose-gc', '-e', code], { encoding: 'utf8' })
  return { VmPeak: Number(printed) }
}
