import { equal, ok, rejects, throws } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { until } from '../../test/thread.ts'
import { makeControl } from './control.ts'
import { openOracle } from './oracle.ts'
import { archFrom, SERVICE_MODULE, Service } from './service.ts'

const SERVICE_STATE = 16

test('the arch is the one asked for, else the environment, else auto', () => {
  const before = process.env.HOTPLUG_ARCH
  try {
    process.env.HOTPLUG_ARCH = 'portable'
    equal(archFrom(undefined), 'portable')
    equal(archFrom('auto'), 'auto')
    process.env.HOTPLUG_ARCH = ''
    equal(archFrom(undefined), 'auto')
    process.env.HOTPLUG_ARCH = 'vax'
    throws(() => archFrom(undefined), { code: 'EINVAL' })
  } finally {
    process.env.HOTPLUG_ARCH = before
    if (before === undefined) delete process.env.HOTPLUG_ARCH
  }
})

test('a service thread takes its slot, gives it to its successor, and ends when asked', async () => {
  const control = makeControl(2, false)
  const { oracle } = openOracle('auto', control.family)
  const made = once(process, 'worker')
  const service = await Service.start(
    { module: SERVICE_MODULE, control, arch: 'auto', form: null },
    oracle,
  )
  const [worker] = (await made) as [Worker]
  const first = Atomics.load(control.slots, SERVICE_STATE)
  equal(first & 3, 1)

  void worker.terminate()
  await until('another has the slot', () => {
    const state = Atomics.load(control.slots, SERVICE_STATE)
    return state >>> 2 > first >>> 2 && (state & 3) === 1
  })

  await service.stop()
  await service.stop()
})

test('a service thread whose threads rely on a barrier does not do without', async () => {
  const control = makeControl(2, false)
  const { oracle } = openOracle('portable', control.family)

  const started = Service.start(
    { module: SERVICE_MODULE, control, arch: 'portable', form: 'asymmetric' },
    oracle,
  )

  await rejects(started, /the barrier is gone: HOTPLUG_ARCH is portable/)
})

test('a control buffer is zeroed, shared and in one piece', () => {
  const control = makeControl(3, true)

  const views = Object.values(control) as Int32Array[]
  const buffers = new Set(views.map(words => words.buffer))
  equal(buffers.size, 1)
  ok([...buffers][0] instanceof SharedArrayBuffer)
  ok(views.every(words => words.every(word => word === 0)))
  equal(makeControl(3, false).lockdep, null)
})
