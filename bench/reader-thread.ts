/* A thread that reads a map in random order as long as it is told, and says how often it did. */
import { parentPort, workerData } from 'node:worker_threads'
import { Machine, type MachineHandle } from '../src/index.ts'

const BATCH = 1000

/** What it is told once. */
export interface ReaderData {
  readonly handle: MachineHandle
  /** Keys are `key0`, `key1`, ... */
  readonly nrKeys: number
  /** Longest value, in bytes. */
  readonly valueBytes: number
}

const { handle, nrKeys, valueBytes } = workerData as ReaderData
const map = Machine.attach(handle).map<Uint8Array>('bench', { codec: 'bytes' })
const into = Buffer.alloc(valueBytes)
const keys = Array.from({ length: nrKeys }, (_, i) => `key${i}`)
const order = keys.map(() => keys[Math.floor(Math.random() * nrKeys)]!)
let next = 0

/** @returns Reads a second. */
function readFor(ms: number): number {
  const startedAt = performance.now()
  let nr = 0
  while (performance.now() - startedAt < ms) {
    for (let i = 0; i < BATCH; i++) {
      map.getInto(order[next]!, into)
      next = next + 1 === nrKeys ? 0 : next + 1
    }
    nr += BATCH
  }
  return (nr / (performance.now() - startedAt)) * 1000
}

parentPort?.on('message', (ms: number) => parentPort?.postMessage(readFor(ms)))
parentPort?.postMessage('ready')
