/*
 * What calls and operations cost on reservations from 64 MiB to 1 TiB, with the same data in each.
 *
 * All machines are there at once, and their rounds alternate, so that a disturbance hits all alike.
 * The smallest has blocks of 4 MiB, the others of 64 MiB, whose page records take longer to make.
 */
import { Machine, type SharedMap } from '../src/index.ts'
import { median } from './median.ts'

const MiB = 2 ** 20
const KEYS = 50_000
const CALLS = 20_000
const WARM_UP_ROUNDS = 3
const VALUE = 'x'.repeat(100)

/** One call or operation, on each reservation. */
export interface ScaleFigure {
  readonly what: string
  /** Medians in microseconds, smallest reservation first. */
  readonly us: readonly number[]
}

/** What runs on one reservation. */
interface Subject {
  readonly machine: Machine
  readonly map: SharedMap<string>
  readonly blockSize: number
}

const MEASURES: readonly [string, (subject: Subject) => number | Promise<number>][] = [
  ['`get`', ({ map }) => callUs(i => map.get(`key${i % KEYS}`))],
  ['`set`', ({ map }) => callUs(i => map.set(`key${i % KEYS}`, VALUE))],
  ['`update`', ({ map }) => callUs(i => map.update(`key${i % KEYS}`, old => old))],
  ['`delete` and `set`', ({ map }) => callUs(i => again(map, `key${i % KEYS}`))],
  ['walk the blocks', ({ machine }) => timeUs(() => machine.memory.walkBlocks())],
]

/** Operations on one block after another: it arrives and leaves. */
const OPERATIONS = ['add', 'online', 'offline', 'remove'] as const

/** @param sizes Bytes that are reserved, smallest first. */
export async function measureScale(
  sizes: readonly number[],
  nrRounds: number,
): Promise<ScaleFigure[]> {
  const subjects = await Promise.all(sizes.map(subjectOf))
  const names = [...MEASURES.map(([name]) => name), ...OPERATIONS]
  const samples = names.map(() => sizes.map((): number[] => []))
  for (let round = -WARM_UP_ROUNDS; round < nrRounds; round++) {
    for (const [s, subject] of subjects.entries()) {
      const measured: number[] = []
      for (const [, measure] of MEASURES) measured.push(await measure(subject))
      measured.push(...(await comeAndGo(subject)))
      if (round >= 0) for (const [i, us] of measured.entries()) samples[i]![s]!.push(us)
    }
  }
  for (const { machine } of subjects) await machine.shutdown()
  return names.map((what, i) => ({ what, us: samples[i]!.map(median) }))
}

async function subjectOf(maxMemory: number): Promise<Subject> {
  const blockSize = (maxMemory > 64 * MiB ? 64 : 4) * MiB
  const memory = (maxMemory > 64 * MiB ? 256 : 48) * MiB
  const machine = await Machine.boot({ memory, maxMemory, blockSize, autoOnline: 'offline' })
  for (const { block, state } of machine.memory.blocks()) {
    if (state === 'offline') await machine.memory.online(block)
  }
  const map = machine.map<string>('bench', { codec: 'utf8' })
  for (let i = 0; i < KEYS; i++) map.set(`key${i}`, VALUE)
  return { machine, map, blockSize }
}

function again(map: SharedMap<string>, key: string): void {
  map.delete(key)
  map.set(key, VALUE)
}

async function comeAndGo({ machine: { memory }, blockSize }: Subject): Promise<number[]> {
  let block = 0
  return [
    await timeUs(async () => {
      const [added] = await memory.add(blockSize)
      block = added!.block
    }),
    await timeUs(() => memory.online(block)),
    await timeUs(() => memory.offline(block)),
    await timeUs(() => memory.remove(block)),
  ]
}

function callUs(call: (i: number) => unknown): number {
  const startedAt = process.hrtime.bigint()
  for (let i = 0; i < CALLS; i++) call(i)
  return Number(process.hrtime.bigint() - startedAt) / CALLS / 1000
}

async function timeUs(run: () => unknown): Promise<number> {
  const startedAt = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - startedAt) / 1000
}
