/*
 * A thread that reads a map, or walks the blocks, all the time, and says how long each took; or one
 * that copies memory of its own, as migration copies pages.
 */
import { execFileSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { Latencies } from '../demo/latency.ts'
import { Machine, type MachineHandle } from '../src/index.ts'

const BATCH = 2000
const NS_PER_MS = 1e6
const WALK_PAUSE_MS = 0.2
const COPY_BYTES = 8 * 2 ** 20

/** What it is told. */
export interface ReadingData {
  readonly role: 'read' | 'walk' | 'copy'
  readonly handle: MachineHandle
  readonly nrKeys: number
  /** Whether it has the first core to itself. */
  readonly hasCore: boolean
}

/** What it measured since the last lap. */
export interface Reading {
  readonly counts: Float64Array
  readonly longestNs: number
  readonly waits: number
}

const { role, handle, nrKeys, hasCore } = workerData as ReadingData
const machine = Machine.attach(handle)
const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
const buffer = Buffer.alloc(4096)
/** Made before, so that what is measured makes no garbage. */
const keys = Array.from({ length: role === 'read' ? nrKeys : 0 }, (_, i) => `key${i}`)
const source = new Uint8Array(role === 'copy' ? COPY_BYTES : 0).fill(1)
const target = new Uint8Array(source.length)
let last = 1
const never = new Int32Array(new SharedArrayBuffer(4))
let latencies = new Latencies()
let waitsBefore = 0

parentPort?.on('message', () => {
  const { counts, longestNs } = latencies
  const reading: Reading = { counts, longestNs, waits: map.readWaits - waitsBefore }
  waitsBefore = map.readWaits
  latencies = new Latencies()
  parentPort?.postMessage(reading)
})
if (hasCore) {
  const tid = readlinkSync('/proc/thread-self').split('/').at(-1)!
  execFileSync('taskset', ['-pc', '0', tid], { stdio: 'pipe' })
}
parentPort?.postMessage('ready')
run()

function run(): void {
  if (role === 'read') for (let i = 0; i < BATCH; i++) read(i)
  else if (role === 'walk') walk()
  else target.set(source)
  setImmediate(run)
}

function read(i: number): void {
  last = (Math.imul(last, 1103515245) + 12345 + i) & 0x7fffffff
  const key = keys[last % nrKeys]!
  const startedAt = performance.now()
  map.getInto(key, buffer)
  latencies.record((performance.now() - startedAt) * NS_PER_MS)
}

function walk(): void {
  const startedAt = performance.now()
  machine.memory.walkBlocks()
  latencies.record((performance.now() - startedAt) * NS_PER_MS)
  Atomics.wait(never, 0, 0, WALK_PAUSE_MS)
}
