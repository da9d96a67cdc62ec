/*
 * Memory in use that leaves: blocks are taken offline and removed while one thread reads and
 * another walks the blocks, beside a plain copy of so many bytes.
 *
 * On a machine of two cores these threads, main, the service thread and the engine's helpers also
 * wait for cores. So it is measured twice more: with a core that the reader, and then the walker,
 * has to itself, which tells waiting for hotplug from waiting for a core.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { Latencies, type Percentiles } from '../demo/latency.ts'
import { type BlockInfo, Machine } from '../src/index.ts'
import { median } from './median.ts'
import { figure, type MemoryFigure } from './memory.ts'
import type { Reading, ReadingData } from './memory-thread.ts'

const MiB = 2 ** 20
const BLOCK = 64 * MiB
const LIVE_BYTES = 512 * MiB
const VALUE_BYTES = 2000
const NR_KEYS = Math.ceil(LIVE_BYTES / (VALUE_BYTES + 16))
const CONTROL_MS = 2000
/** Blocks that leave and come before, while the engine compiles what it takes. */
const WARM_UP_ROUNDS = 4
/** All of them, before threads are kept from one. */
const LAST_CORE = availableParallelism() - 1

/** What one round measured; times in milliseconds, tails of reads in microseconds. */
interface Round {
  readonly ms: number
  readonly speed: number
  readonly gone: number
  readonly waits: number
  readonly tail: number
  readonly quietTail: number
  readonly copyingTail: number
  readonly longestWalk: number
  readonly p99Walk: number
}

/** Offline and remove under load, medians of so many rounds. */
export async function measureMoves(nrRounds: number): Promise<MemoryFigure[]> {
  const all = await rounds(nrRounds, null)
  const figures = [
    figure(`offline and remove ${LIVE_BYTES / MiB} MiB in use, ms`, all('ms'), ''),
    figure('as a part of the speed of a plain copy', all('speed'), '>= 0.25'),
    figure('part of the bytes gone', all('gone'), '>= 0.95'),
    figure('reads that waited for migration', all('waits'), '0'),
    figure('p99.99 of reads, us', all('tail'), ''),
    figure('x without migration', all('tail') / all('quietTail'), '<= 2'),
    figure('x beside a thread that only copies', all('tail') / all('copyingTail'), ''),
    figure('longest walk of the blocks meanwhile, ms', all('longestWalk'), '<= 1'),
    figure('p99 of such walks, ms', all('p99Walk'), ''),
  ]
  if (process.platform !== 'linux' || LAST_CORE === 0) return figures
  const reader = await rounds(nrRounds, 'read')
  const walker = await rounds(nrRounds, 'walk')
  return [
    ...figures,
    figure('the reader has a core: p99.99, us', reader('tail'), ''),
    figure('x without migration', reader('tail') / reader('quietTail'), '<= 2'),
    figure('the others share one: speed of a plain copy, x', reader('speed'), '>= 0.25'),
    figure('the walker has a core: longest walk, ms', walker('longestWalk'), '<= 1'),
  ]
}

/** @param apart Who has a core to itself. @returns The median of one thing that was measured. */
async function rounds(
  nrRounds: number,
  apart: ReadingData['role'] | null,
): Promise<(what: keyof Round) => number> {
  const found: Round[] = []
  if (apart !== null) runOn(`1-${LAST_CORE}`)
  for (let i = 0; i < nrRounds; i++) found.push(await round(apart))
  if (apart !== null) runOn(`0-${LAST_CORE}`)
  return what => median(found.map(one => one[what]))
}

/** Where all threads that there are, and those that they start, may run. */
function runOn(cores: string): void {
  execFileSync('taskset', ['-apc', cores, String(process.pid)], { stdio: 'pipe' })
}

async function round(apart: ReadingData['role'] | null): Promise<Round> {
  const nrBlocks = Math.ceil((2.4 * LIVE_BYTES) / BLOCK)
  await using machine = await Machine.boot({ memory: nrBlocks * BLOCK, maxMemory: 4096 * MiB })
  const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
  const value = Buffer.alloc(VALUE_BYTES, 7)
  for (let i = 0; i < NR_KEYS; i++) map.set(`key${i}`, value)
  const copyMs = plainCopyMs()
  await warmUp(machine)
  const reader = apart === 'walk' ? null : new Thread(machine, 'read', apart !== null)
  const walker = apart === 'read' ? null : new Thread(machine, 'walk', apart !== null)
  await Promise.all([reader?.started, walker?.started])
  const quiet = await tailOf(reader)
  const copier = new Thread(machine, 'copy', false)
  await copier.started
  const copying = await tailOf(reader)
  await copier.end()
  await Promise.all([reader?.lap(), walker?.lap()])
  const { ms, movedBytes, gone } = await leave(machine)
  const reads = await reader?.lap()
  const walks = await walker?.lap()
  await Promise.all([reader?.end(), walker?.end()])
  return {
    ms,
    speed: ((copyMs / LIVE_BYTES) * movedBytes) / ms,
    gone,
    waits: reads?.waits ?? 0,
    tail: reads?.percentiles.p9999 ?? 0,
    quietTail: quiet,
    copyingTail: copying,
    longestWalk: (walks?.percentiles.longest ?? 0) / 1000,
    p99Walk: (walks?.percentiles.p99 ?? 0) / 1000,
  }
}

async function warmUp(machine: Machine): Promise<void> {
  for (let i = 0; i < WARM_UP_ROUNDS; i++) {
    const { block } = inUse(machine)[i]!
    await machine.memory.offline(block)
    await machine.memory.remove(block)
    await machine.memory.add(BLOCK)
  }
}

/** p99.99 of its reads from now on, as things are. */
async function tailOf(reader: Thread | null): Promise<number> {
  await reader?.lap()
  await new Promise(resolve => setTimeout(resolve, CONTROL_MS))
  return (await reader?.lap())?.percentiles.p9999 ?? 0
}

async function leave(machine: Machine): Promise<{ ms: number; movedBytes: number; gone: number }> {
  const blocks = inUse(machine)
  const startedAt = performance.now()
  let [movedBytes, returnedBytes] = [0, 0]
  for (const { block } of blocks) {
    movedBytes += (await machine.memory.offline(block)).bytesMoved
    returnedBytes += (await machine.memory.remove(block)).returnedBytes
  }
  const ms = performance.now() - startedAt
  return { ms, movedBytes, gone: returnedBytes / (blocks.length * BLOCK) }
}

function inUse(machine: Machine): BlockInfo[] {
  return machine.memory.blocks().filter(({ usedBytes }) => usedBytes > BLOCK / 2)
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

/** A thread that reads, walks or copies until it is told to end. */
class Thread {
  readonly started: Promise<unknown>
  private readonly worker: Worker

  constructor({ handle }: Machine, role: ReadingData['role'], hasCore: boolean) {
    const workerData: ReadingData = { role, handle, nrKeys: NR_KEYS, hasCore }
    this.worker = new Worker(new URL('./memory-thread.js', import.meta.url), { workerData })
    this.started = once(this.worker, 'message')
  }

  /** What it has measured since the last lap. */
  async lap(): Promise<{ percentiles: Percentiles; waits: number }> {
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
