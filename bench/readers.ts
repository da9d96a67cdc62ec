/*
 * Whether two threads that read one map disturb each other: reads a second of one, and of two at
 * once, which take turns so that a disturbance of the machine hits both alike.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Machine } from '../src/index.ts'
import type { MemoryFigure } from './figure.ts'
import { median } from './median.ts'
import type { ReaderData } from './reader-thread.ts'

const KEYS = 200_000
const VALUE_BYTES = 100
const LAP_MS = 500
const WARM_UP_LAPS = 2

/** @param nrRounds Of which the median is taken. */
export async function measureReaders(nrRounds: number): Promise<MemoryFigure[]> {
  await using machine = await Machine.boot({ memory: 256 * 2 ** 20 })
  const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
  for (let i = 0; i < KEYS; i++) map.set(`key${i}`, Buffer.alloc(VALUE_BYTES, 7))
  const workerData: ReaderData = {
    handle: machine.handle,
    nrKeys: KEYS,
    valueBytes: VALUE_BYTES,
  }
  const url = new URL('./reader-thread.js', import.meta.url)
  const [first, second] = [new Worker(url, { workerData }), new Worker(url, { workerData })]
  await Promise.all([once(first, 'message'), once(second, 'message')])
  const alone: number[] = []
  const both: number[] = []
  for (let i = -WARM_UP_LAPS; i < nrRounds; i++) {
    const one = await readsOf(first)
    const two = await Promise.all([readsOf(first), readsOf(second)])
    if (i < 0) continue
    alone.push(one)
    both.push(two[0] + two[1])
  }
  await Promise.all([first.terminate(), second.terminate()])
  const ratio = median(both) / median(alone)
  return [
    { what: 'one reader, reads a second', value: median(alone).toFixed(0), aim: '' },
    { what: 'two readers, reads a second', value: median(both).toFixed(0), aim: '' },
    { what: 'two readers, x one', value: ratio.toFixed(2), aim: '>= 1.8' },
  ]
}

async function readsOf(worker: Worker): Promise<number> {
  worker.postMessage(LAP_MS)
  const [reads] = (await once(worker, 'message')) as [number]
  return reads
}
