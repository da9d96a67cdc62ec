/*
 * Deadlocks that Linux's hotplug locks had on their way, each as its threads took the locks: the
 * numbers are those of docs/the-thread.md. Real threads, real locks.
 */
import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { ROLE_WORDS, type RoleData } from '../bodies/roles.ts'
import { sharedWords, TestThread } from '../thread.ts'

const BODIES = new URL('../bodies/roles.js', import.meta.url)

type Memory = Pick<RoleData, 'slots' | 'locks' | 'lockdep'>

function memory(): Memory {
  const { slots, locks, lockdep } = ROLE_WORDS
  return { slots: sharedWords(slots), locks: sharedWords(locks), lockdep: sharedWords(lockdep) }
}

function start(memory: Memory, tid: number, script: string): Promise<unknown> {
  return new TestThread(BODIES, 'play', { ...memory, tid, script }).result
}

/** Each script in a thread of its own, one after the other: nothing can hang. */
async function inTurn(...scripts: string[]): Promise<string[]> {
  const shared = memory()
  const complaints: string[] = []
  for (const [i, script] of scripts.entries()) {
    complaints.push(String(await start(shared, i + 1, script)))
  }
  return complaints
}

/** All at once: without lockdep they could wait for each other for ever. */
async function atOnce(...scripts: string[]): Promise<string[]> {
  const shared = memory()
  const complaints = await Promise.all(scripts.map((script, i) => start(shared, i + 1, script)))
  return complaints.map(String)
}

function isCycle(complaint: string | undefined, cycle: string): void {
  match(String(complaint).split('\n')[0]!, new RegExp(`it would close the cycle ${cycle},`))
}

test('T6: adding takes memory, then the new device; onlining it takes the device, then memory', async () => {
  const [add, online] = await inTurn('write mems, lock deviceLock', 'lock deviceLock, write mems')

  equal(add, '')
  isCycle(online, 'mems -> deviceLock -> mems')
})

test('T6, cured: one order by both', async () => {
  const script = 'lock deviceHotplugLock, lock deviceLock, write mems'

  deepEqual(await inTurn(script, script), ['', ''])
})

test('T8: a writer of memory that wants CPUs, and a reader of CPUs that wants memory', async () => {
  const [slab, memory] = await inTurn('read cpus, read mems', 'write mems, read cpus')

  equal(slab, '')
  isCycle(memory, 'cpus -> mems -> cpus')
})

test('T8, with the writer of CPUs that makes it hang: it does not, and one is told', async () => {
  const complaints = await atOnce(
    'read cpus, tell 0, hear 1, read mems',
    'hear 0, write cpus',
    'hear 0, write mems, tell 1, read cpus',
  )

  const told = complaints.filter(complaint => complaint !== '')
  ok(told.length > 0)
  for (const complaint of told) match(complaint, /close the cycle (cpus -> mems|mems -> cpus)/)
  equal(complaints[1], '')
})

test('T8, cured: CPUs first, by both', async () => {
  const [slab, memory] = await inTurn('read cpus, read mems', 'read cpus, write mems')

  deepEqual([slab, memory], ['', ''])
})

test('T9: a reader that reads again is told, with and without a writer that waits between', async () => {
  const [alone] = await inTurn('read cpus, read cpus')
  const [reader, writer] = await atOnce('read cpus, tell 0, read cpus', 'hear 0, write cpus')

  match(alone!, /^take cpus \(read\): it reads already; a writer that comes in between stops/)
  match(reader!, /^take cpus \(read\): it reads already/)
  equal(writer, '')
})

test('T11: a callback under the write lock of CPUs waits for one who reads CPUs', async () => {
  const [callback, grace] = await inTurn('write cpus, drain grace', 'enter grace, read cpus')
  isCycle(grace, 'cpus -> grace -> cpus')
  equal(callback, '')

  const other = await inTurn('enter grace, read cpus', 'write cpus, drain grace')
  isCycle(other[1], 'grace -> cpus -> grace')
})

test('T12: a device is registered under CPUs, and its owner takes CPUs under the device', async () => {
  const [rescan, online] = await inTurn('read cpus, lock deviceLock', 'lock deviceLock, write cpus')

  equal(rescan, '')
  isCycle(online, 'cpus -> deviceLock -> cpus')
})

test('T12, cured: the rescan takes the device when it does not hold CPUs', async () => {
  const cured = await inTurn(
    'lock deviceHotplugLock, lock deviceLock',
    'lock deviceHotplugLock, lock deviceLock, write cpus',
  )

  deepEqual(cured, ['', ''])
})

test('T13: a remover waits for the users of a file, one of whom wants the remover’s lock', async () => {
  const [user, remover] = await inTurn(
    'enter file, lock deviceHotplugLock',
    'lock deviceHotplugLock, drain file',
  )

  equal(user, '')
  isCycle(remover, 'file -> deviceHotplugLock -> file')
})

test('T13, both at once: it does not hang, and one is told', async () => {
  const complaints = await atOnce(
    'lock deviceHotplugLock, tell 0, hear 1, drain file',
    'hear 0, enter file, tell 1, lock deviceHotplugLock',
  )

  ok(complaints.some(complaint => complaint.includes('close the cycle')))
})

test('T13, cured: the user of the file tries, and when it is busy leaves the file', async () => {
  const complaints = await atOnce(
    'lock deviceHotplugLock, tell 0, hear 1, drain file',
    'hear 0, enter file, tell 1, try deviceHotplugLock',
  )

  deepEqual(complaints, ['', 'busy'])
})

test('T14: files are removed under the memory lock, and their users take it', async () => {
  const remove = 'read cpus, write mems, drain file'

  isCycle((await inTurn(remove, 'enter file, read mems'))[1], 'mems -> file -> mems')
  isCycle((await inTurn(remove, 'enter file, read cpus'))[1], 'cpus -> file -> cpus')
  isCycle((await inTurn('enter file, read cpus', remove))[1], 'file -> cpus -> file')
})

test('T14, cured: files are removed when the memory lock is not held', async () => {
  deepEqual(await inTurn('read cpus, write mems', 'drain file', 'enter file, read mems'), [
    '',
    '',
    '',
  ])
})

test('without lockdep the same threads take the same locks, and nobody is told', async () => {
  const shared: Memory = { ...memory(), lockdep: null }

  equal(await start(shared, 1, 'write mems, lock deviceLock'), '')
  equal(await start(shared, 2, 'lock deviceLock, write mems'), '')
})
