/*
 * A thread of the ship: one that reads and updates, one of three operators, or the one that
 * watches. None knows of the others.
 */
import { setTimeout } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import {
  HotplugError,
  Machine,
  type MachineHandle,
  type Memory,
  type SharedMap,
} from '../src/index.ts'
import { Random } from '../test/torture/random.ts'
import { Latencies } from './latency.ts'
import { ShipRecords } from './ship-records.ts'

/** What a thread of the ship is. */
export type Role = 'load' | 'sail' | 'add' | 'replace' | 'resize' | 'watch' | 'compare'

/** What it is told. */
export interface ShipData {
  readonly role: Role
  readonly handle: MachineHandle
  readonly seed: number
  readonly totalBytes: number
  readonly valueBytes: number
  /** Which of how many of its role. */
  readonly nth: number
  readonly of: number
  /** Stop, if not 0; records that are loaded; sailors that sail; whether something is wrong. */
  readonly stop: Int32Array
  /** How often each record was updated. */
  readonly updates: Int32Array
  /** By block: its epoch, if it is one that is to be replaced; else 0. */
  readonly originals: Int32Array
  /** How many blocks there are to be, at least and at most. */
  readonly blocks: readonly [number, number]
}

/** What a sailor did. */
export interface Sailed {
  readonly reads: { readonly counts: Float64Array; readonly longestNs: number }
  readonly writes: { readonly counts: Float64Array; readonly longestNs: number }
  readonly failed: number
  readonly wrong: number
  readonly readWaits: number
  readonly writeWaits: number
  readonly lastError: string
}

/** What an operator did. */
export interface Operated {
  readonly done: number
  readonly refused: number
  readonly pagesMoved: number
  readonly returnedBytes: number
  readonly longestBatchMs: number
}

/** What the watcher saw. */
export interface Watched {
  readonly walks: number
  readonly longestMs: number
}

/** What was found at the end. */
export interface Compared {
  readonly wrong: number
  readonly lost: number
}

const WRITE_ONE_IN = 4
const IDLE_MS = 20
/** Codes by which operators get in each other's way. */
const BUSY: readonly string[] = ['EBUSY', 'EINVAL', 'ENODEV', 'ENOMEM', 'EEXIST', 'ETIMEDOUT']

const data = workerData as ShipData
const machine = Machine.attach(data.handle)
async function run(): Promise<unknown> {
  switch (data.role) {
    case 'load':
      return load()
    case 'sail':
      return sail()
    case 'compare':
      return compare()
    case 'watch':
      return watch()
    default:
      return await operate(data.role)
  }
}

function open(): { records: ShipRecords; map: SharedMap<Uint8Array> } {
  const records = new ShipRecords(data.totalBytes, data.valueBytes)
  return { records, map: machine.map<Uint8Array>('ship', { codec: 'bytes' }) }
}

function isStopped(): boolean {
  return Atomics.load(data.stop, 0) !== 0
}

function load(): number {
  const { records, map } = open()
  const value = Buffer.alloc(records.valueBytes)
  for (let i = data.nth; i < records.count; i += data.of) {
    records.write(i, 0, value)
    map.set(records.key(i), value)
    Atomics.add(data.stop, 1, 1)
  }
  return records.count
}

function sail(): Sailed {
  const { records, map } = open()
  const random = new Random(data.seed + data.nth)
  const [reads, writes] = [new Latencies(), new Latencies()]
  const [buffer, next] = [Buffer.alloc(records.valueBytes), Buffer.alloc(records.valueBytes)]
  let [failed, wrong, lastError] = [0, 0, '']
  Atomics.add(data.stop, 2, 1)
  while (!isStopped()) {
    const i = random.below(records.count)
    const key = records.key(i)
    const isWrite = random.oneIn(WRITE_ONE_IN)
    const startedAt = process.hrtime.bigint()
    try {
      if (isWrite) {
        map.update(key, old => {
          if (old === undefined) throw new Error(`${key} is gone`)
          records.write(i, records.version(old as Buffer) + 1, next)
          return next
        })
        writes.record(Number(process.hrtime.bigint() - startedAt))
        Atomics.add(data.updates, i, 1)
      } else {
        const length = map.getInto(key, buffer)
        reads.record(Number(process.hrtime.bigint() - startedAt))
        if (length !== records.valueBytes || !records.isRight(i, buffer)) wrong++
      }
    } catch (error) {
      failed++
      lastError = String(error)
    }
    if (failed + wrong > 0) Atomics.store(data.stop, 3, 1)
  }
  const { readWaits, waits: writeWaits } = map
  const of = ({ counts, longestNs }: Latencies) => ({ counts, longestNs })
  return { reads: of(reads), writes: of(writes), failed, wrong, readWaits, writeWaits, lastError }
}

function compare(): Compared {
  const { records, map } = open()
  const buffer = Buffer.alloc(records.valueBytes)
  let [wrong, lost] = [0, 0]
  for (let i = data.nth; i < records.count; i += data.of) {
    const length = map.getInto(records.key(i), buffer)
    if (length === -1) lost++
    else if (length !== records.valueBytes || !records.isRight(i, buffer)) wrong++
    else if (records.version(buffer) !== data.updates[i]) lost++
  }
  return { wrong, lost }
}

function watch(): Watched {
  let [walks, longestMs] = [0, 0]
  while (!isStopped()) {
    const startedAt = performance.now()
    machine.memory.walkBlocks()
    longestMs = Math.max(longestMs, performance.now() - startedAt)
    walks++
    Atomics.wait(data.stop, 0, 0, 1)
  }
  return { walks, longestMs }
}

async function operate(role: 'add' | 'replace' | 'resize'): Promise<Operated> {
  const operator = new Operator(machine.memory)
  while (!isStopped()) {
    const isIdle = await operator[role]()
    if (isIdle) await setTimeout(IDLE_MS)
  }
  return operator.done()
}

/** What operators do, one step at a time; each says whether there was nothing to do. */
class Operator {
  private readonly memory: Memory
  private nrDone = 0
  private nrRefused = 0
  private pagesMoved = 0
  private returnedBytes = 0
  private longestBatchMs = 0
  private isUp = false

  constructor(memory: Memory) {
    this.memory = memory
  }

  /** Adds a block, and brings it online, if there is room for one. */
  async add(): Promise<boolean> {
    const isEnough = this.memory.blocks().length >= data.blocks[1]
    return isEnough || !(await this.attempt(async () => void (await this.memory.add(this.block))))
  }

  /** Takes an original block offline, and removes it. */
  async replace(): Promise<boolean> {
    const first = this.memory.blocks().find(({ block, epoch }) => data.originals[block] === epoch)
    if (first === undefined) return true
    return !(await this.attempt(async () => {
      if (first.state === 'online') {
        const report = await this.memory.offline(first.block)
        this.pagesMoved += report.pagesMoved
        this.longestBatchMs = Math.max(this.longestBatchMs, report.longestBatchMs)
      }
      this.returnedBytes += (await this.memory.remove(first.block)).returnedBytes
    }))
  }

  /** Asks for more, then for less. */
  async resize(): Promise<boolean> {
    this.isUp = !this.isUp
    const nrBlocks = data.blocks[this.isUp ? 1 : 0]
    await this.attempt(async () => {
      const report = await this.memory.resize(nrBlocks * this.block)
      this.returnedBytes += report.returnedBytes
    })
    return true
  }

  done(): Operated {
    const { nrDone: done, nrRefused: refused, pagesMoved, returnedBytes, longestBatchMs } = this
    return { done, refused, pagesMoved, returnedBytes, longestBatchMs }
  }

  private get block(): number {
    return this.memory.blockSize
  }

  private async attempt(body: () => Promise<void>): Promise<boolean> {
    try {
      await body()
      this.nrDone++
      return true
    } catch (error) {
      if (!(error instanceof HotplugError) || !BUSY.includes(error.code)) throw error
      this.nrRefused++
      return false
    }
  }
}

parentPort?.postMessage(await run())
machine.locks.detach()
