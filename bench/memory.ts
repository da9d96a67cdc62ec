/* How fast blocks arrive, what records take, and what a machine takes that does nothing. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pause } from '../src/arch/clock.ts'
import { Machine } from '../src/index.ts'
import { figure, type MemoryFigure } from './figure.ts'
import { median } from './median.ts'

const MiB = 2 ** 20
const BLOCK = 64 * MiB
const RECORDS = 200_000
const CHURN_ROUNDS = 10
const IDLE_RECORDS = 250_000
const IDLE_MS = 4000

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

/** What a process takes whose machine does nothing. */
export async function measureIdle(): Promise<MemoryFigure[]> {
  await using machine = await Machine.boot({ memory: 1024 * MiB })
  const empty = await partOfCore()
  const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
  const value = Buffer.alloc(2000, 7)
  for (let i = 0; i < IDLE_RECORDS; i++) map.set(`key${i}`, value)
  const full = await partOfCore()
  return [
    figure('an idle machine, part of a core', empty, ''),
    figure('one with 500 MB in use, part of a core', full, ''),
  ]
}

async function partOfCore(): Promise<number> {
  await pause(IDLE_MS / 2)
  const before = process.cpuUsage()
  await pause(IDLE_MS)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / IDLE_MS
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
