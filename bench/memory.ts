/*
 * What memory that comes and goes costs: blocks in use are taken offline and removed while another
 * thread reads, beside a plain copy of so many bytes; blocks arrive; records take space.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Latencies } from '../demo/latency.ts'
import { Machine } from '../src/index.ts'
import { median } from './median.ts'
import type { Reading, ReadingData } from './memory-thread.ts'

const MiB = 2 ** 20
const BLOCK = 64 * MiB
const LIVE_BYTES = 512 * MiB
const VALUE_BYTES = 2000
const RECORDS = 200_000
const CHURN_ROUNDS = 10
const CONTROL_MS = 2000

/** A figure: what was measured, beside what was aimed at. */
export interface MemoryFigure {
  readonly what: string
  readonly value: string
  readonly aim: string
}

/** Offline and remove under load. */
export async function measureMoves(): Promise<MemoryFigure[]> {
  const nrBlocks = Math.ceil((2.4 * LIVE_BYTES) / BLOCK)
  await using machine = await Machine.boot({ memory: nrBlocks * BLOCK, maxMemory: 4096 * MiB })
  const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
  const nrKeys = Math.ceil(LIVE_BYTES / (VALUE_BYTES + 16))
  const value = Buffer.alloc(VALUE_BYTES, 7)
  for (let i = 0; i < nrKeys; i++) map.set(`key${i}`, value)
  const copyMs = plainCopyMs()
  const used = machine.memory.blocks().filter(({ usedBytes }) => usedBytes > BLOCK / 2)

  const [reader, walker] = [new Thread(machine, 'read', nrKeys), new Thread(machine, 'walk', 0)]
  await Promise.all([reader.started, walker.started])
  await pause(CONTROL_MS)
  const control = await reader.lap()
  const copier = new Thread(machine, 'copy', 0)
  await copier.started
  await reader.lap()
  await pause(CONTROL_MS)
  const busy = await reader.lap()
  await copier.end()
  await walker.lap()
  const startedAt = performance.now()
  let [movedBytes, returnedBytes] = [0, 0]
  for (const { block } of used) {
    movedBytes += (await machine.memory.offline(block)).bytesMoved
    returnedBytes += (await machine.memory.remove(block)).returnedBytes
  }
  const ms = performance.now() - startedAt
  const moving = await reader.lap()
  const walks = await walker.lap()
  await Promise.all([reader.end(), walker.end()])
  const blocksBytes = used.length * BLOCK
  const ratio = ((copyMs / LIVE_BYTES) * movedBytes) / ms
  const tail = moving.percentiles.p9999
  return [
    figure(`offline and remove ${blocksBytes / MiB} MiB in use, ms`, ms, ''),
    figure('as a part of the speed of a plain copy', ratio, '>= 0.25'),
    figure('part of the bytes gone', returnedBytes / blocksBytes, '>= 0.95'),
    figure('reads that waited for migration', moving.waits, '0'),
    figure('p99.99 of reads, us', tail, ''),
    figure('x without migration', tail / control.percentiles.p9999, '<= 2'),
    figure('x beside a thread that only copies', tail / busy.percentiles.p9999, ''),
    figure('longest walk of the blocks meanwhile, ms', walks.percentiles.longest / 1000, '<= 1'),
    figure('p99 of such walks, ms', walks.percentiles.p99 / 1000, ''),
  ]
}

/** How fast blocks arrive. */
export async function measureArrivals(): Promise<MemoryFigure[]> {
  await using machine = await Machine.boot({ memory: BLOCK, maxMemory: 2048 * MiB })
  const samples: number[] = []
  for (let i = 0; i < 24; i++) {
    const startedAt = performance.now()
    await machine.memory.add(BLOCK)
    samples.push(performance.now() - startedAt)
  }
  return [figure('add and online a block, ms (median)', median(samples), '<= 1')]
}

/** What records take, and what leaves after churn. */
export async function measureSpace(): Promise<MemoryFigure[]> {
  await using machine = await Machine.boot({ memory: 512 * MiB, blockSize: 4 * MiB })
  const map = machine.map<string>('bench', { codec: 'utf8' })
  const value = 'x'.repeat(100)
  const before = machine.memory.usedBytes
  let payload = 0
  for (let i = 0; i < RECORDS; i++) {
    map.set(`key${i}`, value)
    payload += `key${i}`.length + value.length
  }
  const bytes = machine.memory.usedBytes - before
  for (let round = 0; round < CHURN_ROUNDS; round++) {
    for (let i = round % 2; i < RECORDS; i += 2) map.set(`key${i}`, value)
    for (let i = round % 3; i < RECORDS; i += 3) map.delete(`key${i}`)
    for (let i = round % 3; i < RECORDS; i += 3) map.set(`key${i}`, value)
  }
  for (let i = 0; i < RECORDS; i++) if (i % 10 !== 0) map.delete(`key${i}`)
  const live = (payload / 10) * 1.3
  const free = machine.memory.onlineBytes - live
  const { returnedBytes: _, afterBytes, beforeBytes } = await machine.memory.resize(4 * MiB)
  return [
    figure('bytes of a 100-byte record, x key and value', bytes / payload, '<= 1.3'),
    figure('the same in a Map, x', mapBytes(value) / payload, ''),
    figure('the same in lmdb, x', (await lmdbBytes(value)) / payload, ''),
    figure(
      'part of the free bytes that left after churn',
      (beforeBytes - afterBytes) / free,
      '>= 0.9',
    ),
  ]
}

function plainCopyMs(): number {
  const source = new Uint8Array(LIVE_BYTES).fill(1)
  const samples = Array.from({ length: 3 }, () => {
    const target = new Uint8Array(LIVE_BYTES)
    const startedAt = performance.now()
    target.set(source)
    return performance.now() - startedAt
  })
  return median(samples)
}

function mapBytes(value: string): number {
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  const map = new Map<string, string>()
  for (let i = 0; i < RECORDS; i++) map.set(`key${i}`, Buffer.from(value).toString('latin1'))
  globalThis.gc?.()
  const bytes = process.memoryUsage().heapUsed - before
  return map.size === RECORDS ? bytes : Number.NaN
}

async function lmdbBytes(value: string): Promise<number> {
  const { open } = await import('lmdb')
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-bench-'))
  const path = join(folder, 'db')
  const db = open<string, string>({ path, encoding: 'string', noSync: true })
  for (let i = 0; i < RECORDS; i++) void db.put(`key${i}`, value)
  await db.flushed
  await db.close()
  const bytes = statSync(join(path, 'data.mdb')).size
  rmSync(folder, { recursive: true })
  return bytes
}

/** A thread that reads or walks until it is told to end. */
class Thread {
  readonly started: Promise<unknown>
  private readonly worker: Worker

  constructor(machine: Machine, role: ReadingData['role'], nrKeys: number) {
    const workerData: ReadingData = { role, handle: machine.handle, nrKeys }
    this.worker = new Worker(new URL('./memory-thread.js', import.meta.url), { workerData })
    this.started = once(this.worker, 'message')
  }

  /** What it has measured since the last lap. */
  async lap(): Promise<{ percentiles: ReturnType<Latencies['percentiles']>; waits: number }> {
    this.worker.postMessage('lap')
    const [{ counts, longestNs, waits }] = (await once(this.worker, 'message')) as [Reading]
    const latencies = new Latencies()
    latencies.merge(counts, longestNs)
    return { percentiles: latencies.percentiles(), waits }
  }

  async end(): Promise<void> {
    await this.worker.terminate()
  }
}

function figure(what: string, value: number, aim: string): MemoryFigure {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 3
  return { what, value: Number.isInteger(value) ? String(value) : value.toFixed(digits), aim }
}

async function pause(ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms))
}
