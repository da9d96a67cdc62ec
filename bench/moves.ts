/*
 * Memory in use that leaves: blocks are taken offline and removed while one thread reads and
 * another walks the blocks, beside a plain copy of so many bytes.
 *
 * On a machine of two cores these threads, main, the service thread and the engine's helpers also
 * wait for cores. So it is measured twice more: with a reader and no walker, then with a walker and
 * no reader, which has a core to itself: that tells waiting for hotplug from waiting for a core.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { Latencies, type Percentiles } from '../demo/latency.ts'
import { pause } from '../src/arch/clock.ts'
import { type BlockInfo, Machine } from '../src/index.ts'
import { figure, type MemoryFigure } from './figure.ts'
import { median } from './median.ts'
import type { Reading, ReadingData } from './memory-thread.ts'

const MiB = 2 ** 20
const BLOCK = 64 * MiB
const LIVE_BYTES = 512 * MiB
const VALUE_BYTES = 2000
const NR_KEYS = Math.ceil(LIVE_BYTES / (VALUE_BYTES + 16))
const CONTROL_MS = 2000
/** Blocks that leave and come before, while the engine compiles what it takes. */
const WARM_UP_ROUNDS = 4

/** What one round measured; times in milliseconds, tails of reads in microseconds. */
interface Round {
  readonly bytes: number
  readonly ms: number
  readonly speed: number
  readonly gone: number
  readonly waits: number
  readonly tail: number
  readonly quietTail: number
  readonly longestWalk: number
  readonly p99Walk: number
}

/** Offline and remove under load, medians of so many rounds. */
export async function measureMoves(nrRounds: number): Promise<MemoryFigure[]> {
  const all = await rounds(nrRounds, null)
  const figures = [
    figure(`offline and remove ${all('bytes') / MiB} MiB in use, ms`, all('ms'), ''),
    figure('as a part of the speed of a plain copy', all('speed'), '>= 0.25'),
    figure('part of the bytes gone', all('gone'), '>= 0.95'),
    figure('reads that waited for migration', all('waits'), '0'),
    figure('p99.99 of reads, us', all('tail'), ''),
    figure('x without migration', all('tail') / all('quietTail'), '<= 2'),
    figure('longest walk of the blocks meanwhile, ms', all('longestWalk'), '<= 1'),
    figure('p99 of such walks, ms', all('p99Walk'), ''),
  ]
  const cores = coresOf(process.pid)
  if (cores.length < 2) return figures
  const reader = await rounds(nrRounds, 'read', cores)
  const walker = await rounds(nrRounds, 'walk', cores)
  return [
    ...figures,
    figure('the reader has a core: p99.99, us', reader('tail'), ''),
    figure('x without migration', reader('tail') / reader('quietTail'), '<= 2'),
    figure('the others share one: speed of a plain copy, x', reader('speed'), '>= 0.25'),
    figure('the walker has a core: longest walk, ms', walker('longestWalk'), '<= 1'),
  ]
}

/**
 * @param pinned Who has the first core to itself.
 * @returns The median of one thing that was measured; of what must not be, the worst.
 */
async function rounds(
  nrRounds: number,
  pinned: ReadingData['role'] | null,
  cores: readonly number[] = [],
): Promise<(what: keyof Round) => number> {
  const [first, ...rest] = cores
  const found: Round[] = []
  if (pinned !== null) runOn(rest)
  for (let i = 0; i < nrRounds; i++) found.push(await round(pinned, first))
  if (pinned !== null) runOn(cores)
  return what => {
    const values = found.map(one => one[what])
    if (what === 'waits') return Math.max(...values)
    return what === 'gone' ? Math.min(...values) : median(values)
  }
}

/** Where it may run; none if nobody can say, or change it. */
function coresOf(pid: number): number[] {
  if (process.platform !== 'linux') return []
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? ''
  const cores = list.split(',').flatMap(range => {
    const [from, to = from] = range.split('-').map(Number)
    return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i)
  })
  try {
    runOn(cores)
    return cores
  } catch {
    return []
  }
}

/** Where all threads that there are, and those that they start, may run. */
function runOn(cores: readonly number[]): void {
  execFileSync('taskset', ['-apc', cores.join(','), String(process.pid)], { stdio: 'pipe' })
}

async function round(pinned: ReadingData['role'] | null, core?: number): Promise<Round> {
  const nrBlocks = Math.ceil((2.4 * LIVE_BYTES) / BLOCK)
  await using machine = await Machine.boot({ memory: nrBlocks * BLOCK, maxMemory: 4096 * MiB })
  const map = machine.map<Uint8Array>('bench', { codec: 'bytes' })
  const value = Buffer.alloc(VALUE_BYTES, 7)
  for (let i = 0; i < NR_KEYS; i++) map.set(`key${i}`, value)
  const copyMs = plainCopyMs()
  await warmUp(machine)
  const reader = pinned === 'walk' ? null : new Thread(machine, 'read', core)
  const walker = pinned === 'read' ? null : new Thread(machine, 'walk', core)
  await Promise.all([reader?.started, walker?.started])
  await pause(CONTROL_MS) // while the engine compiles what they do
  await Promise.all([reader?.lap(), walker?.lap()])
  await pause(CONTROL_MS)
  const quiet = await reader?.lap()
  await walker?.lap()
  const { bytes, ms, movedBytes, returnedBytes } = await leave(machine)
  const reads = await reader?.lap()
  const walks = await walker?.lap()
  await Promise.all([reader?.end(), walker?.end()])
  return {
    bytes,
    ms,
    speed: ((copyMs / LIVE_BYTES) * movedBytes) / ms,
    gone: returnedBytes / bytes,
    waits: reads?.waits ?? 0,
    tail: reads?.percentiles.p9999 ?? 0,
    quietTail: quiet?.percentiles.p9999 ?? 0,
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

async function leave(
  machine: Machine,
): Promise<{ bytes: number; ms: number; movedBytes: number; returnedBytes: number }> {
  const blocks = inUse(machine)
  const startedAt = performance.now()
  let [movedBytes, returnedBytes] = [0, 0]
  for (const { block } of blocks) {
    movedBytes += (await machine.memory.offline(block)).bytesMoved
    returnedBytes += (await machine.memory.remove(block)).returnedBytes
  }
  const ms = performance.now() - startedAt
  return { bytes: blocks.length * BLOCK, ms, movedBytes, returnedBytes }
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

/** A thread that reads or walks until it is told to end. */
class Thread {
  readonly started: Promise<unknown>
  private readonly worker: Worker

  constructor({ handle }: Machine, role: ReadingData['role'], core: number | undefined) {
    const workerData: ReadingData = { role, handle, nrKeys: NR_KEYS, core }
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
