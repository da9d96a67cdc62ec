import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { assertWhole, bootSmall, insides, snapshot } from '../../test/bodies/blocks.ts'
import { Machine, type RawMemory, type Size } from '../index.ts'

const MiB = 2 ** 20

test('raw memory is zeroed, of the size that was asked for, and of zone Normal', async t => {
  const machine = await bootSmall(t)
  const before = snapshot(machine)

  for (const bytes of [1, 65536, 65537, 2 * MiB]) {
    const raw = machine.buffer(bytes, { owner: 'test' })
    equal(raw.bytes.length, bytes)
    equal(raw.owner, 'test')
    ok(raw.bytes.every(byte => byte === 0))
    raw.bytes.fill(255)
    deepEqual(machine.memory.block(1), before.blocks[1])
    raw.release()
  }

  deepEqual(snapshot(machine), before)
  assertWhole(machine)
})

test('raw memory does not overlap, and other threads see it', async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  t.after(() => other.shutdown())

  const held = [machine, other, machine].map((one, i) => one.buffer(100, { owner: `o${i}` }))
  for (const [i, { bytes }] of held.entries()) bytes.fill(i + 1)

  for (const [i, { bytes }] of held.entries()) ok(bytes.every(byte => byte === i + 1))
  deepEqual(
    other
      .pins()
      .map(({ owner }) => owner)
      .sort(),
    ['o0', 'o1', 'o2'],
  )
  for (const one of held) one.release()
  deepEqual(machine.pins(), [])
})

test('sizes and owners that cannot be are refused', async t => {
  const machine = await bootSmall(t)
  const before = snapshot(machine)

  for (const size of [0, -1, 1.5, Number.NaN, '3MiB', '1GiB', 2 ** 52] as Size[]) {
    throws(() => machine.buffer(size, { owner: 'x' }), { code: 'EINVAL' }, String(size))
  }
  throws(() => machine.buffer('3MiB', { owner: 'x' }), {
    message: 'take 3 MiB of raw memory: it can be 1 byte to 2 MiB (EINVAL)',
  })
  for (const owner of ['', undefined, 7] as string[]) {
    throws(() => machine.buffer(1, { owner }), { code: 'EINVAL', message: /name of an owner/ })
  }

  deepEqual(snapshot(machine), before)
})

test('raw memory is refused where zone Normal has no room side by side', async t => {
  const machine = await bootSmall(t)
  const held: RawMemory[] = []

  throws(
    () => {
      for (;;) held.push(machine.buffer('1MiB', { owner: 'all' }))
    },
    {
      code: 'ENOMEM',
      message:
        'take 1 MiB of raw memory: no 16 pages side by side are free in zone Normal (ENOMEM)',
    },
  )

  equal(held.length, 3) // the fourth has the records of the block's pages
  machine.buffer('512KiB', { owner: 'less' }).release()
  for (const one of held) one.release()
  assertWhole(machine)
})

test('more holders than there are records are refused, and lose no page', async t => {
  const machine = await bootSmall(t, { pageSize: '4KiB', blockSize: '8MiB', memory: '8MiB' })
  const held: RawMemory[] = []
  const take = (): void => void held.push(machine.buffer(1, { owner: 'many' }))

  for (let i = 0; i < 1024; i++) take()
  const full = snapshot(machine)
  throws(take, { code: 'ENOSPC', message: /1024 are held already/ })

  deepEqual(snapshot(machine), full)
  for (const one of held) one.release()
  equal(machine.memory.block(0).usedBytes, 0)
  assertWhole(machine)
})

test('raw memory is released once', async t => {
  const machine = await bootSmall(t)
  const raw = machine.buffer(1, { owner: 'x' })

  raw.release()

  throws(() => raw.release(), {
    code: 'EPERM',
    message: 'release: it was released already (EPERM)',
  })
  raw[Symbol.dispose]()
  {
    using scoped = machine.buffer(1, { owner: 'scoped' })
    equal(machine.pins()[0]?.owner, scoped.owner)
  }
  deepEqual(machine.pins(), [])
  assertWhole(machine)
})

test('raw memory of a thread that has detached is not given back by it', async t => {
  const machine = await bootSmall(t)
  const other = Machine.attach(machine.handle)
  const raw = other.buffer(1, { owner: 'late' })

  await other.shutdown()

  throws(() => raw.release(), { code: 'EINVAL', message: /release raw memory: slot . is detached/ })
  equal(machine.pins()[0]?.owner, 'late') // its asynchronous I/O may be at work still
  ok(insides(machine).hotplug.blocks.usedPages(0) >= 1)
})
