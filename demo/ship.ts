/*
 * Act two, the ship of Theseus: every block of a machine is replaced while threads read and update
 * what is on it. Three operators add, replace and resize without knowing of each other, a fourth
 * thread watches. It ends when no original block is left; then every record is compared.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Machine } from '../src/index.ts'
import { Latencies, type Percentiles } from './latency.ts'
import { mebibytes, residentBytes, tableText, type Voice, whole } from './say.ts'
import type { Compared, Operated, Role, Sailed, ShipData, Watched } from './ship-thread.ts'
import type { Verdict } from './verdict.ts'

/** How large a ship, and for how long at most. */
export interface ShipOptions {
  readonly totalBytes: number
  readonly valueBytes: number
  readonly blockBytes: number
  readonly nrSailors: number
  /** How often every block is to be replaced. */
  readonly voyages: number
  readonly seconds: number
  readonly seed: number
}

/** What became of it. */
export interface Ship {
  readonly seed: number
  readonly records: number
  readonly liveBytes: number
  readonly voyages: number
  readonly voyagesDone: number
  /** Whether time was over before all voyages were done. */
  readonly isTimeOver: boolean
  /** Blocks that were to be replaced, over all voyages begun; those of the last that were not. */
  readonly originalBlocks: number
  readonly originalsLeft: number
  readonly seconds: number
  readonly reads: Percentiles
  readonly writes: Percentiles
  readonly readWaits: number
  readonly writeWaits: number
  readonly pagesMoved: number
  readonly returnedBytes: number
  readonly operations: number
  readonly refused: number
  readonly longestBatchMs: number
  readonly walks: number
  readonly longestWalkMs: number
  readonly residentBytes: number
  readonly failed: number
  readonly wrong: number
  readonly lost: number
  /** What went wrong last, if anything did. */
  readonly lastError: string
}

const HEADROOM_BLOCKS = 6
/** Memory for each byte of live data: updates leave garbage until it is compacted. */
const SPACE = 1.2
const CHECK_MS = 50

/** What it is at when no thread has a reason to take long: each was told to stop. */
export const ENDING = 'all threads are to end'
/** What it is at last. */
export const COMPARING = 'comparing all records'

/** Most that a ship's machine can have. */
export const MEMORY_MAX = 4 * 2 ** 30

/** Whether nothing was lost, and nothing of the old ship is left after so many voyages. */
export function shipVerdict(ship: Ship): Verdict {
  if (ship.failed + ship.wrong + ship.lost + ship.readWaits > 0) return 'bad'
  if (ship.isTimeOver) return 'unfinished'
  const isDone = ship.voyagesDone === ship.voyages && ship.originalsLeft === 0
  return isDone && ship.reads.count > 0 && ship.writes.count > 0 ? 'good' : 'bad'
}

/** Bytes of the blocks of a ship. */
export function memoryOf({ totalBytes, blockBytes }: ShipOptions): number {
  return (Math.ceil((totalBytes * SPACE) / blockBytes) + 1) * blockBytes
}

/** Runs it. */
export async function sail(voice: Voice, options: ShipOptions): Promise<Ship> {
  const { totalBytes, blockBytes } = options
  const memory = memoryOf(options)
  const [live, block] = [mebibytes(totalBytes), mebibytes(blockBytes)]
  voice.say(`Act two: ${live} live in ${memory / blockBytes} blocks of ${block},`)
  voice.say('each of which is replaced while threads read and update (the ship of Theseus).')
  const maxMemory = Math.min(MEMORY_MAX, 3 * memory)
  await using machine = await Machine.boot({ memory, maxMemory, blockSize: blockBytes })
  return await new Crew(machine, voice, options).run()
}

/** The threads of one ship. */
class Crew {
  private readonly machine: Machine
  private readonly voice: Voice
  private readonly options: ShipOptions
  private readonly stop = new Int32Array(new SharedArrayBuffer(16))
  private readonly updates: Int32Array
  private readonly originals: Int32Array
  private nrOriginals = 0
  private voyagesDone = 0
  private isTimeOver = false
  private readonly nrRecords: number
  private readonly nrBlocks: number

  constructor(machine: Machine, voice: Voice, options: ShipOptions) {
    this.machine = machine
    this.voice = voice
    this.options = options
    this.nrRecords = Math.ceil(options.totalBytes / (options.valueBytes + 8))
    this.updates = new Int32Array(new SharedArrayBuffer(4 * this.nrRecords))
    const { maxBytes, blockSize } = machine.memory
    this.originals = new Int32Array(new SharedArrayBuffer((4 * maxBytes) / blockSize))
    this.nrBlocks = machine.memory.blocks().length
    this.layKeel()
  }

  async run(): Promise<Ship> {
    await this.load()
    const liveBytes = this.machine.memory.usedBytes
    const { nrSailors } = this.options
    const sailing = this.all<Sailed>('sail', nrSailors)
    while (Atomics.load(this.stop, 2) < nrSailors) await pause()
    const startedAt = performance.now()
    const operating = (['add', 'replace', 'resize'] as const).map(role => this.one<Operated>(role))
    const watching = this.one<Watched>('watch')
    const ending = Promise.all([sailing, Promise.all(operating), watching])
    await Promise.race([this.untilReplaced(startedAt), ending])
    const seconds = (performance.now() - startedAt) / 1000
    Atomics.store(this.stop, 0, 1)
    Atomics.notify(this.stop, 0)
    this.voice.progress(ENDING, 1)
    const [sailed, operated, watched] = await ending
    const resident = residentBytes()
    this.voice.progress(COMPARING, 1)
    const compared = await this.all<Compared>('compare', nrSailors)
    const ship = this.sumUp(
      { liveBytes, seconds, resident },
      { sailed, operated, watched, compared },
    )
    this.voice.say(shipText(ship))
    return ship
  }

  private async load(): Promise<void> {
    const loading = this.all('load', this.options.nrSailors)
    let isLoaded = false
    void loading.then(
      () => (isLoaded = true),
      () => (isLoaded = true),
    )
    while (!isLoaded) {
      this.voice.progress('loading', Atomics.load(this.stop, 1) / this.nrRecords)
      await pause()
    }
    await loading
  }

  /** From now on, what is there is old. */
  private layKeel(): void {
    const blocks = this.machine.memory.blocks()
    for (const { block, epoch } of blocks) Atomics.store(this.originals, block, epoch)
    this.nrOriginals += blocks.length
  }

  /** Or until time is over, or something is wrong. */
  private async untilReplaced(startedAt: number): Promise<void> {
    const { seconds, voyages } = this.options
    while (performance.now() - startedAt < seconds * 1000) {
      if (Atomics.load(this.stop, 3) > 0) return
      const left = this.originalsLeft()
      if (left === 0 && ++this.voyagesDone === voyages) return
      if (left === 0) this.layKeel()
      else {
        const done = this.nrOriginals - left
        this.voice.progress(`${left} blocks are old`, done / (this.nrBlocks * voyages))
        await pause()
      }
    }
    this.isTimeOver = true
  }

  private originalsLeft(): number {
    const blocks = this.machine.memory.blocks()
    return blocks.filter(({ block, epoch }) => this.originals[block] === epoch).length
  }

  private all<T>(role: Role, of: number): Promise<T[]> {
    return Promise.all(Array.from({ length: of }, (_, nth) => this.start<T>(role, nth, of)))
  }

  private one<T>(role: Role): Promise<T> {
    return this.start<T>(role, 0, 1)
  }

  private async start<T>(role: Role, nth: number, of: number): Promise<T> {
    const { handle } = this.machine
    const { totalBytes, valueBytes, seed } = this.options
    const { stop, updates, originals } = this
    const blocks = [this.nrBlocks, this.nrBlocks + HEADROOM_BLOCKS] as const
    const data: ShipData = {
      ...{ role, handle, seed, totalBytes, valueBytes, nth, of, stop, updates, originals, blocks },
    }
    const thread = new Worker(new URL('./ship-thread.js', import.meta.url), { workerData: data })
    const exit = once(thread, 'exit').then(() => {
      throw new Error(`a thread that was to ${role} ended early`)
    })
    exit.catch(() => {})
    const [said] = (await Promise.race([once(thread, 'message'), exit])) as [T]
    return said
  }

  private sumUp(
    { liveBytes, seconds, resident }: { liveBytes: number; seconds: number; resident: number },
    done: { sailed: Sailed[]; operated: Operated[]; watched: Watched; compared: Compared[] },
  ): Ship {
    const { sailed, operated, watched, compared } = done
    const [reads, writes] = [new Latencies(), new Latencies()]
    for (const one of sailed) {
      reads.merge(one.reads.counts, one.reads.longestNs)
      writes.merge(one.writes.counts, one.writes.longestNs)
    }
    const sum = <T>(from: readonly T[], what: (one: T) => number): number =>
      from.reduce((total, one) => total + what(one), 0)
    return {
      seed: this.options.seed,
      records: this.nrRecords,
      liveBytes,
      voyages: this.options.voyages,
      voyagesDone: this.voyagesDone,
      isTimeOver: this.isTimeOver,
      originalBlocks: this.nrOriginals,
      originalsLeft: this.originalsLeft(),
      seconds,
      reads: reads.percentiles(),
      writes: writes.percentiles(),
      readWaits: sum(sailed, one => one.readWaits),
      writeWaits: sum(sailed, one => one.writeWaits),
      pagesMoved: sum(operated, one => one.pagesMoved),
      returnedBytes: sum(operated, one => one.returnedBytes),
      operations: sum(operated, one => one.done),
      refused: sum(operated, one => one.refused),
      longestBatchMs: Math.max(...operated.map(one => one.longestBatchMs)),
      walks: watched.walks,
      longestWalkMs: watched.longestMs,
      residentBytes: resident,
      failed: sum(sailed, one => one.failed),
      wrong: sum(sailed, one => one.wrong) + sum(compared, one => one.wrong),
      lost: sum(compared, one => one.lost),
      lastError: sailed.find(one => one.lastError !== '')?.lastError ?? '',
    }
  }
}

async function pause(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, CHECK_MS))
}

function shipText(ship: Ship): string {
  const us = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 1 })
  const row = (what: string, { count, p50, p99, p9999, longest }: Percentiles): string[] => {
    return [what, whole(count / ship.seconds), ...[p50, p99, p9999, longest].map(us)]
  }
  const heads = ['', 'a second', 'p50 us', 'p99', 'p99.99', 'longest']
  const { originalBlocks, originalsLeft, walks, refused, operations } = ship
  return [
    tableText([heads, row('reads', ship.reads), row('updates', ship.writes)]),
    `  ${originalBlocks - originalsLeft} of ${originalBlocks} blocks replaced in ` +
      `${us(ship.seconds)} s; ${whole(ship.pagesMoved)} pages moved, ` +
      `${mebibytes(ship.returnedBytes)} returned;`,
    `  waits on pages that move: reads ${ship.readWaits}, updates ${whole(ship.writeWaits)}; ` +
      `longest batch ${us(ship.longestBatchMs)} ms`,
    `  ${whole(operations)} operations, ${whole(refused)} refused; ` +
      `${whole(walks)} walks of the blocks, longest ${us(ship.longestWalkMs)} ms`,
    `  in use ${mebibytes(ship.liveBytes)}, resident ${mebibytes(ship.residentBytes)}`,
    `  ${whole(ship.records)} records compared: failed ${ship.failed}, wrong ${ship.wrong}, ` +
      `lost ${ship.lost}${ship.lastError === '' ? '' : ` (${ship.lastError})`}`,
    ship.isTimeOver ? `${undoneText(ship)}\n` : '',
  ].join('\n')
}

/** What was to be done, and was not. */
function undoneText({ voyages, voyagesDone, originalsLeft }: Ship): string {
  const blocks = originalsLeft === 1 ? '1 block was' : `${originalsLeft} blocks were`
  return (
    `  Time was over: ${voyagesDone} of ${voyages} voyages were done; ` +
    `on the next, ${blocks} still to be replaced.`
  )
}
