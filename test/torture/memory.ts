/*
 * Memory torture: threads that read and write maps while others move the memory under them, all
 * killed at random and replaced, mostly in the middle of operations.
 *
 * A run passes if no thread found anything wrong, everybody ended when told to, each key has what
 * its last writer wrote (or was writing when it was killed), no page is lost, counters are exact,
 * and, when all is deleted, all can leave. `seed` decides what threads do and who is killed; the
 * machine decides the rest.
 */
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Machine, type SharedMap } from '../../src/index.ts'
import { sharedWords } from '../thread.ts'
import { dumpText, whatIsWrong } from './audit.ts'
import { bundleText } from './bundle.ts'
import { isThere, Ledger, type LedgerShape } from './ledger.ts'
import { COUNTER, MAPS, type MemoryTortureData, numberIn, settleKey } from './memory-thread.ts'
import { Random } from './random.ts'

const BODY = new URL('./memory-thread.js', import.meta.url)
const KEYS_PER_WRITER = 40
const MiB = 2 ** 20
const MEMORY = {
  blockSize: 4 * MiB,
  pageSize: 16 * 1024,
  memory: 24 * MiB,
  maxMemory: 48 * MiB,
} as const
/** Who does nothing for so long never will. */
const PATIENCE_MS = 30_000
const LOOK_EVERY_MS = 5
const PAUSE_MS_MAX = 10
/** Threads that die at a time. */
const LANES = 3
/** Most kills shall hit a thread that has begun to work. */
const KILL_STARTING_ONE_IN = 10

/** A run. It ends when both have come: the seconds, and so many that died in operations. */
export interface MemoryTortureOptions {
  readonly seed: number
  readonly seconds: number
  readonly nrKilledInside: number
  readonly nrWriters: number
  readonly nrReaders: number
  readonly nrOperators: number
  readonly kills: boolean
}

/** What came of it. */
export interface MemoryTortureResult {
  readonly form: 'memory'
  /** Operations of all threads, by role. */
  readonly operations: Readonly<Record<MemoryTortureData['role'], number>>
  readonly nrKilled: number
  /** Those that died in the middle of an operation, by which. */
  readonly killedIn: Readonly<Record<string, number>>
  /** Writes that found no room. */
  readonly nrRefused: number
  /** What was wrong; empty if nothing. */
  readonly wrong: readonly string[]
}

/** Those that died in the middle of an operation. */
export function nrKilledInside({ killedIn }: MemoryTortureResult): number {
  return Object.values(killedIn).reduce((sum, count) => sum + count, 0)
}

/** Tortures one machine. */
export async function tortureMemory(options: MemoryTortureOptions): Promise<MemoryTortureResult> {
  const nrThreads = options.nrWriters + options.nrReaders + options.nrOperators
  await using machine = await Machine.boot({ ...MEMORY, threads: 3 * nrThreads + 1 })
  return await new Run(options, machine, nrThreads).run()
}

/** One line on a run, and one for each thing that was wrong. */
export function memoryTortureText(result: MemoryTortureResult): string {
  const { operations, nrKilled, nrRefused, wrong } = result
  const whole = (value: number): string => value.toLocaleString('en')
  const parts = [
    'memory'.padEnd(22),
    ...Object.entries(operations).map(([role, count]) => `${role}s ${whole(count)}`),
    `${nrKilled} killed, ${nrKilledInside(result)} inside`,
    `${whole(nrRefused)} without room`,
    wrong.length === 0 ? 'ok' : `FAILED:\n${wrong.join('\n')}`,
  ]
  return parts.join('  ')
}

class Run {
  private readonly options: MemoryTortureOptions
  private readonly machine: Machine
  private readonly random: Random
  private readonly shape: LedgerShape
  private readonly ledger: Ledger
  private readonly threads: Worker[] = []
  private readonly expected = new Set<Worker>()
  private readonly killedIn: Record<string, number> = {}
  private nrKilled = 0
  private nrKilledInside = 0
  private readonly wrong: string[] = []
  private readonly script = bundleText(BODY, 'torture')

  constructor(options: MemoryTortureOptions, machine: Machine, nrThreads: number) {
    this.options = options
    this.machine = machine
    this.random = new Random(options.seed)
    this.shape = { nrThreads, nrKeys: options.nrWriters * KEYS_PER_WRITER }
    this.ledger = new Ledger(sharedWords(Ledger.words(this.shape)), this.shape)
  }

  async run(): Promise<MemoryTortureResult> {
    try {
      for (let thread = 0; thread < this.shape.nrThreads; thread++) this.start(thread)
      await this.disturb()
      this.ledger.stop()
      await this.untilEnded()
      if (this.wrong.length === 0) await this.audit()
    } finally {
      for (const thread of this.threads) this.expected.add(thread)
      await Promise.all(this.threads.map(thread => thread.terminate()))
    }
    return this.result()
  }

  private async disturb(): Promise<void> {
    const { seconds, nrKilledInside, kills } = this.options
    const endsAt = performance.now() + seconds * 1000
    const isOver = (): boolean =>
      performance.now() >= endsAt && (!kills || this.nrKilledInside >= nrKilledInside)
    const lane = async (nth: number): Promise<void> => {
      while (!isOver() && this.wrong.length === 0) {
        if (kills) await this.killOne(nth)
        await setTimeout(this.random.below(PAUSE_MS_MAX))
      }
    }
    await Promise.all(Array.from({ length: LANES }, (_, nth) => lane(nth)))
  }

  /** One of a lane's threads, in the middle of an operation, as far as can be seen. */
  private async killOne(lane: number): Promise<void> {
    const { ledger, random } = this
    const nrMine = Math.ceil((this.shape.nrThreads - lane) / LANES)
    const thread = lane + LANES * random.below(nrMine)
    const isEarly = random.oneIn(KILL_STARTING_ONE_IN)
    const count = ledger.countOf(thread)
    const isReady = (): boolean =>
      isEarly || (ledger.countOf(thread) > count && ledger.doing(thread) !== 'between operations')
    await this.until(`${this.nameOf(thread)} works`, isReady)
    if (this.wrong.length > 0) return
    const victim = this.threads[thread]!
    this.expected.add(victim)
    await victim.terminate()
    const doing = ledger.doing(thread)
    this.nrKilled++
    if (doing !== 'starting' && doing !== 'between operations' && doing !== 'ended') {
      this.killedIn[doing] = (this.killedIn[doing] ?? 0) + 1
      this.nrKilledInside++
    }
    this.start(thread)
  }

  private start(thread: number): void {
    const { ledger, shape } = this
    ledger.begin(thread)
    const data: MemoryTortureData = {
      role: this.roleOf(thread),
      thread,
      firstKey: thread * KEYS_PER_WRITER,
      nrKeys: KEYS_PER_WRITER,
      seed: this.random.below(2 ** 31),
      handle: this.machine.handle,
      ledger: ledger.words,
      shape,
    }
    const started = new Worker(this.script, { eval: true, workerData: data })
    this.threads[thread] = started
    started.on('error', (error: Error) => this.fail(`${this.nameOf(thread)}: ${error.stack}`))
    started.on('exit', () => {
      if (!this.expected.has(started) && ledger.doing(thread) !== 'ended') {
        this.fail(`${this.nameOf(thread)} ended in '${ledger.doing(thread)}'`)
      }
    })
  }

  private async untilEnded(): Promise<void> {
    const hasEnded = (thread: number): boolean => this.ledger.doing(thread) === 'ended'
    for (let thread = 0; thread < this.shape.nrThreads; thread++) {
      await this.until(`${this.nameOf(thread)} ends`, () => hasEnded(thread))
    }
  }

  /** When everybody has ended: contents, then pages; then all goes. */
  private async audit(): Promise<void> {
    const { machine, ledger } = this
    const kept = machine.map<Uint8Array>(MAPS.kept, { codec: 'bytes' })
    const cleared = machine.map<string>(MAPS.cleared, { codec: 'json' })
    this.attempt(() => this.compare(kept))
    this.attempt(() => requireSize(cleared))
    let wrong = ''
    const isRight = (): boolean => (wrong = whatIsWrong(machine)) === ''
    await this.until('what the dead left is undone', isRight, () => wrong)
    for (const map of [kept, cleared]) map.clear()
    for (const map of [kept, cleared]) map.close()
    if (kept.size + cleared.size > 0) this.fail('a map that was cleared is not empty')
    if (this.wrong.length > 0) return
    const report = await machine.memory.resize(1)
    if (report.blockedBy.length > 0) this.fail(`cannot shrink: ${JSON.stringify(report)}`)
    await this.until('all that is left is right', isRight, () => wrong)
    const { nrThreads } = this.shape
    const lives = Array.from({ length: nrThreads }, (_, thread) => ledger.livesOf(thread))
    const nrLives = lives.reduce((sum, count) => sum + count, 0)
    if (nrLives !== this.nrKilled + nrThreads) this.fail(`${nrLives} lives`)
  }

  private compare(kept: SharedMap<Uint8Array>): void {
    const { ledger, shape } = this
    let nrThere = 0
    for (let key = 0; key < shape.nrKeys; key++) {
      this.attempt(() => settleKey(ledger, kept, key))
      if (isThere(ledger.done(key))) nrThere++
    }
    const bytes = kept.get(COUNTER)
    const count = numberIn(bytes)
    const [least, most] = [ledger.countEnded(), ledger.countBegun()]
    if (count < least || count > most) this.fail(`counted ${count}, not ${least} to ${most}`)
    const wanted = nrThere + (bytes === undefined ? 0 : 1)
    if (kept.size !== wanted) this.fail(`the map has ${kept.size} keys, not ${wanted}`)
    requireSize(kept)
  }

  private attempt(body: () => void): void {
    try {
      body()
    } catch (error) {
      this.fail((error as Error).message)
    }
  }

  /** Waits, but not for ever: then says who does what. */
  private async until(
    what: string,
    isReached: () => boolean,
    why: () => string = () => '',
  ): Promise<void> {
    let seen = this.movement()
    let movedAt = performance.now()
    while (!isReached() && this.wrong.length === 0) {
      await setTimeout(LOOK_EVERY_MS)
      const now = this.movement()
      if (now !== seen) movedAt = performance.now()
      seen = now
      if (performance.now() - movedAt < PATIENCE_MS) continue
      this.fail(`never: ${what}. ${why()}\n${this.dump()}`)
    }
  }

  /** What changes while anybody gets anywhere. */
  private movement(): string {
    const { nrThreads } = this.shape
    return Array.from({ length: nrThreads }, (_, thread) => this.ledger.countOf(thread)).join()
  }

  private dump(): string {
    const lines = this.threads.map((_, thread) => {
      const { ledger } = this
      const said = `token ${ledger.tokenOf(thread)}, ${ledger.countOf(thread)} operations`
      return `${this.nameOf(thread)}: ${ledger.doing(thread)}, ${said}`
    })
    return [...lines, dumpText(this.machine)].join('\n')
  }

  private fail(what: string): void {
    this.wrong.push(what)
  }

  private roleOf(thread: number): MemoryTortureData['role'] {
    const { nrWriters, nrReaders } = this.options
    if (thread < nrWriters) return 'writer'
    return thread < nrWriters + nrReaders ? 'reader' : 'operator'
  }

  private nameOf(thread: number): string {
    return `${this.roleOf(thread)} ${thread}`
  }

  private result(): MemoryTortureResult {
    const operations = { writer: 0, reader: 0, operator: 0 }
    for (let thread = 0; thread < this.shape.nrThreads; thread++) {
      operations[this.roleOf(thread)] += this.ledger.countOf(thread)
    }
    const { nrKilled, killedIn, wrong } = this
    const { nrRefused } = this.ledger
    return { form: 'memory', operations, nrKilled, killedIn, nrRefused, wrong }
  }
}

/** The size is how many keys there are: nobody writes any more. */
function requireSize<V>(map: SharedMap<V>): void {
  const nrKeys = [...map.keys()].length
  if (map.size !== nrKeys) throw new Error(`${map.name} says ${map.size} keys, has ${nrKeys}`)
}
