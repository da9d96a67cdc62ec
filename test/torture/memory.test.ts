import { deepEqual, equal, match, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { Machine } from '../../src/index.ts'
import { recordOfPage } from '../../src/mm/memmap.ts'
import { insides } from '../bodies/blocks.ts'
import { dumpText, whatIsWrong } from './audit.ts'
import { bytesOf, isThere, keyName, Ledger, stateOf, versionIn, versionOf } from './ledger.ts'
import { memoryTortureText, nrKilledInside, tortureMemory } from './memory.ts'
import { settleKey } from './memory-thread.ts'

const SHAPE = { nrThreads: 1, nrKeys: 2 }
const NR_KILLS = 200

test('200 threads are killed inside operations: nothing is wrong, nothing is lost', async () => {
  const result = await tortureMemory({
    seed: 2017,
    seconds: 0,
    nrKilledInside: NR_KILLS,
    nrWriters: 2,
    nrReaders: 2,
    nrOperators: 3,
    kills: true,
  })

  deepEqual(result.wrong, [], memoryTortureText(result))
  ok(nrKilledInside(result) >= NR_KILLS)
  const { writer, reader, operator } = result.operations
  ok(writer > 0 && reader > 0 && operator > 0)
})

test('a page that is lost, and one that is of the dead, are found', async t => {
  const machine = await Machine.boot({ blockSize: '4MiB', memory: '8MiB', maxMemory: '16MiB' })
  t.after(() => machine.shutdown())
  const { allocator } = insides(machine)
  equal(whatIsWrong(machine), '')

  const pfn = allocator.allocPage('movable')
  const { geometry } = machine.handle.memory.control
  const memmap = insides(machine).hotplug.space.block(pfn >>> geometry.pagesPerBlockShift)
  const at = recordOfPage(pfn & (geometry.pagesPerBlock - 1))
  const mine = memmap[at]!
  equal(whatIsWrong(machine), '')
  memmap[at] = (7 << 3) | 4
  match(whatIsWrong(machine), /mapped by 7, or by nobody/)
  memmap[at] = (mine & 7) | (((mine >>> 3) + 1024) << 3)
  match(whatIsWrong(machine), /is of the dead/)
  memmap[at] = mine
  allocator.freePage(pfn)

  match(dumpText(machine), /memAddRemoveLock: free\n.*slot 1: token/s)
})

test('what nobody wrote, or wrote long ago, is found', async t => {
  const machine = await Machine.boot({ blockSize: '4MiB', memory: '8MiB', maxMemory: '16MiB' })
  t.after(() => machine.shutdown())
  const map = machine.map<Uint8Array>('map', { codec: 'bytes' })
  const words = new Int32Array(new SharedArrayBuffer(4 * Ledger.words(SHAPE)))
  const ledger = new Ledger(words, SHAPE)
  const write = (version: number): void => void map.set(keyName(1), bytesOf(1, version))
  ledger.setDone(1, stateOf(4, true))

  for (const version of [4, 5]) {
    ledger.setNext(1, stateOf(5, true))
    write(version)
    settleKey(ledger, map, 1)
    equal(versionOf(ledger.done(1)), version)
    ok(isThere(ledger.next(1)))
  }
  write(3)
  const settle = (): void => settleKey(ledger, map, 1)
  throws(settle, /has version 3: neither version 5 nor version 5/)
  map.delete(keyName(1))
  throws(settle, /has version -1/)
  const torn = bytesOf(1, 6)
  torn[torn.length - 1]!++
  throws(() => versionIn(1, torn), /bytes that nobody wrote/)
})
