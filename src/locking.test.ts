import { deepEqual, equal, match, notEqual, ok, rejects, throws } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { barrierAll } from '#atomics'
import { ENDS, koffiLoaded, type LockCall, plainWorker } from '../test/bodies/machine.ts'
import { sharedWords, TestThread, until } from '../test/thread.ts'
import { PercpuRef } from './locking/percpu-ref.ts'
import { type Held, Locks, type LocksHandle, type LocksOptions } from './locking.ts'

const BODIES = new URL('../test/bodies/machine.js', import.meta.url)
const CALLS = Object.keys(ENDS) as LockCall[]

async function boot(t: TestContext, options: LocksOptions = { threads: 8 }): Promise<Locks> {
  const locks = await Locks.boot(options)
  t.after(() => locks.shutdown())
  return locks
}

/** Boots, and gives the service thread away. */
async function bootWithService(t: TestContext): Promise<{ locks: Locks; service: Worker }> {
  const made = once(process, 'worker')
  const locks = await boot(t)
  const [service] = (await made) as [Worker]
  return { locks, service }
}

/** Whether something was got; it is released. */
function takes(held: Held | null): boolean {
  held?.release()
  return held !== null
}

test('each function excludes what the kernel says, and its end lets it in again', async t => {
  const locks = await boot(t)
  const thread = Locks.attach(locks.handle)
  t.after(() => thread.detach())
  const tries = {
    getOnlineCpus: () => thread.tryGetOnlineCpus(),
    cpuHotplugBegin: () => thread.tryCpuHotplugBegin(),
    cpuMapsUpdateBegin: () => thread.tryCpuMapsUpdateBegin(),
    getOnlineMems: () => thread.tryGetOnlineMems(),
    memHotplugBegin: () => thread.tryMemHotplugBegin(),
    lockDeviceHotplug: () => thread.tryLockDeviceHotplug(),
  }
  const excluded: Record<LockCall, LockCall[]> = {
    getOnlineCpus: ['cpuHotplugBegin'],
    cpuHotplugBegin: ['getOnlineCpus', 'cpuHotplugBegin', 'memHotplugBegin'],
    cpuMapsUpdateBegin: ['cpuMapsUpdateBegin'],
    getOnlineMems: ['memHotplugBegin'],
    memHotplugBegin: ['cpuHotplugBegin', 'getOnlineMems', 'memHotplugBegin'],
    lockDeviceHotplug: ['lockDeviceHotplug'],
  }

  for (const call of CALLS) {
    equal(locks[call](), false)
    const refused = CALLS.filter(other => !takes(tries[other]()))
    locks[ENDS[call]]()
    deepEqual(refused, excluded[call], call)
    for (const other of CALLS) ok(takes(tries[other]()), `${other} after ${call}`)
  }
})

test('each function is refused a second end', async t => {
  const locks = await boot(t)

  for (const call of CALLS) {
    locks[call]()
    locks[ENDS[call]]()
    throws(() => locks[ENDS[call]](), { code: 'EPERM' })
  }
})

test('operations of the main thread and calls of real workers exclude each other', async t => {
  const locks = await boot(t)
  const words = sharedWords(4)

  for (const call of CALLS) {
    const begin = `${call}Async` as const
    const held = await locks[begin]({ timeoutMs: 10_000 })
    const thread = new TestThread(BODIES, 'beginAndEnd', { handle: locks.handle, words, call })
    held.release()
    equal(await thread.result, false)
  }
})

test('a memory writer that gives up lets go of the CPUs', async t => {
  const locks = await boot(t)
  const thread = Locks.attach(locks.handle)
  t.after(() => thread.detach())

  thread.getOnlineMems()
  await rejects(locks.memHotplugBeginAsync({ timeoutMs: 5 }), {
    code: 'ETIMEDOUT',
    message: 'write memHotplugLock: not granted within 5 ms (ETIMEDOUT)',
  })
  const abort = new AbortController()
  const waiting = locks.memHotplugBeginAsync({ signal: abort.signal })
  abort.abort(new Error('no'))
  await rejects(waiting, /no/)
  equal(locks.tryMemHotplugBegin(), null)
  await rejects(locks.memHotplugBeginAsync({ timeoutMs: Number.NaN }), { code: 'EINVAL' })

  ok(takes(thread.tryCpuHotplugBegin()), 'the CPUs are still read')
  thread.putOnlineMems()
})

test('what a killed worker held is released, and who comes next is told', async t => {
  const locks = await boot(t)

  for (const call of CALLS) {
    const words = sharedWords(4)
    const owner = new TestThread(BODIES, 'holdForEver', { handle: locks.handle, words, call })
    await until('the owner holds it', () => words[0] === 1)
    await owner.kill()
    const sleeper = new TestThread(BODIES, 'beginAndEnd', { handle: locks.handle, words, call })

    equal(await sleeper.result, !call.startsWith('getOnline'), call)
    equal(locks[call](), false, call)
    locks[ENDS[call]]()
  }
})

test('what a worker of a killed worker held is released', async t => {
  const locks = await boot(t)
  const words = sharedWords(4)
  const parent = new TestThread(BODIES, 'holdInGrandchild', { handle: locks.handle, words })
  await until('the grandchild holds it', () => words[0] === 1)

  equal(locks.tryLockDeviceHotplug(), null)
  await parent.kill()
  using held = await locks.lockDeviceHotplugAsync()

  equal(held.ownerDied, true)
})

test('a hint releases locks at once, and references only when the thread is gone', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'fifo')
  execFileSync('mkfifo', [path])
  const locks = await boot(t)
  const words = sharedWords(16 + PercpuRef.words(9))
  const ref = new PercpuRef(locks.slot, words, 16)
  const reader = plainWorker('readForEver', { handle: locks.handle, words, path })
  await until('the read is in flight', () => words[0] === 1)
  const fd = openSync(path, 'r+')

  const ended = reader.terminate() // waits for the read
  locks.closed(words[1] as number)
  using held = await locks.lockDeviceHotplugAsync()
  equal(held.ownerDied, true)
  ref.kill()
  equal(ref.tryDrain(), false)
  const drained = ref.drainAsync()
  writeSync(fd, 'late')
  await drained
  notEqual(words[4], 0) // the drain waited for the write

  await ended
})

test('slots are used again, and more threads than slots are refused', async t => {
  const locks = await boot(t, { threads: 3 })
  const words = sharedWords(4)
  const data = { handle: locks.handle, words }

  await new TestThread(BODIES, 'attachAgain', { ...data, rounds: 1000 }).result
  const threads = [1, 2].map(() => new TestThread(BODIES, 'stay', data))
  await until('both are attached', () => words[0] === 2)
  throws(() => Locks.attach(locks.handle), {
    code: 'ENOSPC',
    message: 'attach: all 3 slots are taken (ENOSPC)',
  })
  await threads[0]?.kill()
  let again: Locks | null = null
  await until('the slot of the dead is free', () => {
    try {
      again = Locks.attach(locks.handle)
    } catch {}
    return again !== null
  })
  ;(again as Locks | null)?.detach()
  Atomics.store(words, 2, 1)
  Atomics.notify(words, 2)
  await threads[1]?.result
})

test('a grace period waits for a worker inside the guard, until it leaves or is killed', async t => {
  const locks = await boot(t)
  equal(locks.guard.form, locks.capabilities.asymmetricFence ? 'asymmetric' : 'portable')

  for (const isKilled of [false, true]) {
    const words = sharedWords(4)
    const thread = new TestThread(BODIES, 'stayInside', { handle: locks.handle, words })
    await until('the worker is inside', () => words[0] === 1)
    await rejects(locks.guard.synchronizeAsync({ timeoutMs: 5 }), { code: 'ETIMEDOUT' })
    const isQuiet = locks.guard.synchronizeAsync()
    if (isKilled) await thread.kill()
    Atomics.store(words, 2, 1)
    Atomics.notify(words, 2)
    await isQuiet
    if (!isKilled) await thread.result
  }
  locks.guard.synchronize()
})

test('a barrier is served to several threads at once', async t => {
  const locks = await boot(t)
  if (!locks.capabilities.asymmetricFence) {
    ok(locks.capabilities.reason)
    return
  }
  const words = sharedWords(4)
  const data = { handle: locks.handle, words, rounds: 200 }

  const threads = [1, 2].map(() => new TestThread(BODIES, 'askForBarriers', data))
  for (let i = 0; i < 200; i++) barrierAll()
  await Promise.all(threads.map(thread => thread.result))

  equal(words[0], 400)
})

test('a service thread that dies is replaced, also while main is blocked in a barrier', async t => {
  const { locks, service } = await bootWithService(t)
  const words = sharedWords(4)

  const asking = { handle: locks.handle, words, rounds: 400 }
  const hasBarrier = locks.capabilities.asymmetricFence
  const thread = hasBarrier ? new TestThread(BODIES, 'askForBarriers', asking) : null
  if (hasBarrier) await until('the other thread asks', () => (words[0] as number) > 0)
  const made = once(process, 'worker')
  const ended = service.terminate()
  if (hasBarrier) barrierAll()
  await Promise.all([ended, made, thread?.result])

  const other = sharedWords(4)
  const owner = new TestThread(BODIES, 'holdForEver', { handle: locks.handle, words: other })
  await until('the owner holds it', () => other[0] === 1)
  await owner.kill()
  using held = await locks.lockDeviceHotplugAsync()
  equal(held.ownerDied, true)
})

test('a machine says what it can do, and portable does without the rest', async t => {
  const portable = await boot(t, { threads: 2, arch: 'portable' })

  deepEqual(portable.capabilities, {
    asymmetricFence: false,
    kernelThreadIds: false,
    reason: 'HOTPLUG_ARCH is portable',
  })
})

test('x86-64 Linux has the asymmetric fence', { skip: !isLinuxOnX64() }, async t => {
  const { capabilities } = await boot(t, { threads: 2, arch: 'auto' })

  // It is what most tests are there for: where koffi or membarrier() fails, they adapt, and pass.
  deepEqual(capabilities, { asymmetricFence: true, kernelThreadIds: true, reason: undefined })
})

test('koffi is loaded by the service thread only', { skip: !isLinuxOnX64() }, async t => {
  const locks = await boot(t, { threads: 3, arch: 'auto' })

  locks.guard.synchronize()
  await locks.guard.synchronizeAsync()
  const worker = new TestThread(BODIES, 'synchronizeOnce', { handle: locks.handle })

  deepEqual([koffiLoaded(), await worker.result], [[], []])
  const importer = new TestThread(BODIES, 'importKoffi', null)
  match(String(await importer.result), /koffi\.node/, 'it would have been seen')
})

function isLinuxOnX64(): boolean {
  return process.platform === 'linux' && process.arch === 'x64'
}

test('two machines in one process do not know each other', async t => {
  const one = await boot(t)
  const other = await Locks.boot({ threads: 2 })

  one.lockDeviceHotplug()
  other.lockDeviceHotplug()
  other.unlockDeviceHotplug()
  await other.shutdown()
  if (one.capabilities.asymmetricFence) barrierAll()

  equal(one.deviceHotplugLock.isHeld(), true)
  one.unlockDeviceHotplug()
})

test('bad options are refused', async () => {
  for (const threads of [0, -1, 1.5, 1023, Number.NaN]) {
    await rejects(Locks.boot({ threads }), { code: 'EINVAL' })
  }
  await rejects(Locks.boot({ thread: 1 } as object), {
    code: 'EINVAL',
    message: 'boot: there is no option thread, but threads, arch, lockdep (EINVAL)',
  })
  await rejects(Locks.boot({ arch: 'fast' as 'auto' }), {
    code: 'EINVAL',
    message: 'boot: arch is fast, not auto or portable (EINVAL)',
  })
})

test('what is no handle is refused, and takes no slot', async t => {
  const locks = await boot(t, { threads: 2 })
  const { control, ...rest } = locks.handle
  const unshared = { ...control, slots: new Int32Array(control.slots) }
  const { capabilities: _, ...half } = locks.handle
  const wrong = [undefined, null, {}, 'x', rest, half, { ...rest, control: unshared }]

  for (const handle of wrong as LocksHandle[]) {
    throws(() => Locks.attach(handle), { code: 'EINVAL', message: /^attach: this is no `handle`/ })
  }

  Locks.attach(locks.handle).detach()
})

test('only the main thread boots', async () => {
  equal(await new TestThread(BODIES, 'bootHere', null).result, 'EPERM')
})

async function refusesAll(locks: Locks, code: string): Promise<void> {
  throws(() => locks.detach(), { code })
  for (const call of CALLS) throws(() => locks[call](), { code })
  throws(() => locks.tryMemHotplugBegin(), { code })
  throws(() => locks.guard.enter(), { code })
  await rejects(locks.memHotplugBeginAsync(), { code })
}

test('a detached thread is refused', async t => {
  const locks = Locks.attach((await boot(t)).handle)

  locks.detach()

  await refusesAll(locks, 'EINVAL')
})

test('a machine is shut down once, and its locks say so', async () => {
  const locks = await Locks.boot({ threads: 2 })
  const other = Locks.attach(locks.handle)
  other.detach()

  await locks.shutdown()
  await locks.shutdown()

  await refusesAll(locks, 'ENODEV')
  await refusesAll(other, 'ENODEV')
})

test('a hint that names no thread is refused, and nothing has changed', async t => {
  const locks = await boot(t)

  for (const token of [0, -1, 0.5, Number.NaN, 999]) {
    throws(() => locks.closed(token), { code: 'EINVAL' })
  }

  equal(locks.lockDeviceHotplug(), false)
  locks.unlockDeviceHotplug()
})

test('a thread that asks for a barrier when the machine is shut down is told', async () => {
  const locks = await Locks.boot({ threads: 2 })
  const thread = Locks.attach(locks.handle)
  await locks.shutdown()

  if (locks.capabilities.asymmetricFence) throws(() => barrierAll(), { code: 'ENODEV' })
  thread.detach()
})

test('a reference that another thread has put does not keep a detached slot', async t => {
  const locks = await boot(t, { threads: 2 })
  const words = sharedWords(PercpuRef.words(3))

  for (let i = 0; i < 4; i++) {
    const thread = Locks.attach(locks.handle)
    new PercpuRef(thread.slot, words, 0).tryGet()
    new PercpuRef(locks.slot, words, 0).put(thread.slot.token)
    thread.detach()
  }

  Locks.attach(locks.handle).detach()
})
