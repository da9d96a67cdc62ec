/*
 * An operator of a memory torture: adds, removes, moves blocks and holds raw memory at random,
 * without knowing of the others. Refusals are expected; what it holds must keep what it wrote.
 */
import type { BlockInfo, Machine, Memory, OperationOptions, RawMemory } from '../../src/index.ts'
import type { Doing, Ledger } from './ledger.ts'
import type { Random } from './random.ts'

/** What the others, or the limits that were set, can make of an operation. */
const REFUSALS = ['EINVAL', 'EEXIST', 'ENODEV', 'EBUSY', 'ENOMEM', 'ETIMEDOUT', 'ENOSPC', 'CHANGED']
const TYPES = ['online', 'online_kernel', 'online_movable'] as const
const NR_HELD_MAX = 3
const RAW_BYTES_MAX = 100_000
const NR_LISTENERS_MAX = 2
const VETO_ONE_IN = 20
/** Blocks that stay online: the maps' contents must have room. */
const NR_ONLINE_MIN = 3

interface Tools {
  readonly machine: Machine
  readonly ledger: Ledger
  readonly thread: number
  readonly random: Random
}

interface HeldRaw {
  readonly raw: RawMemory
  readonly fill: number
}

/** One operator. */
export class Operator {
  private readonly machine: Machine
  private readonly memory: Memory
  private readonly ledger: Ledger
  private readonly thread: number
  private readonly random: Random
  private readonly held: HeldRaw[] = []
  private readonly listeners: Disposable[] = []

  constructor({ machine, ledger, thread, random }: Tools) {
    this.machine = machine
    this.memory = machine.memory
    this.ledger = ledger
    this.thread = thread
    this.random = random
  }

  async run(): Promise<void> {
    while (!this.ledger.isStopped()) {
      await this.step()
      await new Promise(resolve => setImmediate(resolve)) // notifiers get their turn
    }
    while (this.held.length > 0) this.release()
    for (const listener of this.listeners) listener[Symbol.dispose]()
  }

  private async step(): Promise<void> {
    const { random, memory } = this
    const dice = random.below(16)
    if (dice < 2) return await this.add()
    if (dice < 4) return await this.online()
    if (dice < 7) return await this.offline()
    if (dice < 9) return await this.remove()
    if (dice < 11) return await this.resize()
    if (dice < 13 && this.held.length < NR_HELD_MAX) return this.take()
    if (dice < 15 && this.held.length > 0) return this.release()
    if (dice < 15) return void this.ledger.during(this.thread, 'walk', () => memory.walkBlocks())
    this.listen()
  }

  private async add(): Promise<void> {
    const { memory, random } = this
    const autoOnline = [...TYPES, 'offline' as const][random.below(4)]!
    await this.attempt('add', () => memory.add(memory.blockSize, { autoOnline, ...this.limits() }))
  }

  private async online(): Promise<void> {
    const block = this.any(({ state }) => state === 'offline')
    const type = TYPES[this.random.below(TYPES.length)]!
    await this.attempt('online', () => this.memory.online(block, type, this.limits()))
  }

  private async offline(): Promise<void> {
    if (this.nrOnline() <= NR_ONLINE_MIN) return await this.resize()
    const block = this.any(({ state }) => state === 'online')
    await this.attempt('offline', () => this.memory.offline(block, this.limits()))
  }

  private async remove(): Promise<void> {
    const block = this.any(({ state }) => state === 'offline')
    await this.attempt('remove', () => this.memory.remove(block, this.limits()))
  }

  private async resize(): Promise<void> {
    const { memory } = this
    const most = memory.maxBytes / memory.blockSize
    const nrBlocks = NR_ONLINE_MIN + this.random.below(most - NR_ONLINE_MIN + 1)
    const size = nrBlocks * memory.blockSize
    await this.attempt('resize', () => memory.resize(size, this.limits()))
  }

  private take(): void {
    const { random, thread } = this
    try {
      const size = 1 + random.below(RAW_BYTES_MAX)
      const owner = `operator ${thread}`
      const take = (): RawMemory => this.machine.buffer(size, { owner })
      const raw = this.ledger.during(thread, 'buffer', take)
      if (raw.bytes.some(byte => byte !== 0)) throw new Error('raw memory is not zeroed')
      const fill = 1 + random.below(255)
      raw.bytes.fill(fill)
      this.held.push({ raw, fill })
    } catch (error) {
      this.accept(error)
    }
  }

  private release(): void {
    const [one] = this.held.splice(this.random.below(this.held.length), 1)
    const { raw, fill } = one!
    if (raw.bytes.some(byte => byte !== fill)) throw new Error('raw memory has changed')
    this.ledger.during(this.thread, 'release', () => raw.release())
  }

  /** Is told from now on, and says no at times; or no more. */
  private listen(): void {
    const { listeners, random, memory } = this
    this.ledger.during(this.thread, 'notify', () => {
      if (listeners.length === NR_LISTENERS_MAX) listeners.shift()![Symbol.dispose]()
      const listener = memory.notify(
        ({ action }) => {
          if (!action.startsWith('GOING') || !random.oneIn(VETO_ONE_IN)) return
          throw Object.assign(new Error('not now'), { code: 'EBUSY' })
        },
        { priority: random.below(5) },
      )
      listeners.push(listener)
    })
  }

  /** Mostly none; else a deadline, or an end by signal, that may come in the middle. */
  private limits(): OperationOptions {
    const { random } = this
    if (random.oneIn(6)) return { deadlineMs: 1 + random.below(60) }
    if (!random.oneIn(6)) return {}
    const controller = new AbortController()
    const reason = Object.assign(new Error('changed its mind'), { code: 'CHANGED' })
    setTimeout(() => controller.abort(reason), random.below(40)).unref()
    return { signal: controller.signal }
  }

  /** A block of that sort; any number, if there is none. */
  private any(isWanted: (block: BlockInfo) => boolean): number {
    const { memory, random } = this
    const wanted = memory.blocks().filter(isWanted)
    if (wanted.length > 0) return wanted[random.below(wanted.length)]!.block
    return random.below(memory.maxBytes / memory.blockSize)
  }

  private nrOnline(): number {
    return this.memory.onlineBytes / this.memory.blockSize
  }

  private async attempt(doing: Doing, body: () => Promise<unknown>): Promise<void> {
    try {
      await this.ledger.duringAsync(this.thread, doing, body)
    } catch (error) {
      this.accept(error)
    }
  }

  private accept(error: unknown): void {
    const { code } = error as { code?: unknown }
    if (!REFUSALS.includes(code as string)) throw error
    this.ledger.end(this.thread)
  }
}
