/*
 * A thread that reads a map, or walks the blocks, all the time, and says how long each took.
 */
import { execFileSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { Latencies } from '../demo/latency.ts'
import { Machine, type MachineHandle } from '../src/index.ts'

const BATCH = 2000
const NS_PER_MS = 1e6
const WALK_PAUSE_MS = 0.2

/** What it is told. */
export interface ReadingData {
  readonly role: 'read' | 'walk'
  readonly handle: MachineHandle
  readonly nrKeys: number
  /** Where it is to run; anywhere if left out. */
  readonly core: number | undefined
}

/** What it measured since the last lap. */
export interface Reading {
  readonly counts: Float64Array
  readonly longestNs: number
  readonly waits: number
}

const { role, handle, nrKeys, core } = workerData as ReadingData
const machine = Machine.attach(handle)
const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
const buffer = Buffer.alloc(4096)
/** Made before, so that what is measured makes no garbage. */
const keys = Array.from({ length: role === 'read' ? nrKeys : 0 }, (_, i) => `key${i}`)
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
if (core !== undefined) {
  const tid = readlinkSync('/proc/thread-self').split('/').at(-1)!
  execFileSync('taskset', ['-pc', String(core), tid], { stdio: 'pipe' })
}
parentPort?.postMessage('ready')
run()

function run(): void {
  if (role === 'read') for (let i = 0; i < BATCH; i++) read(i)
  else walk()
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
