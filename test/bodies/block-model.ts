/*
 * A machine's memory as a plain model: what each operation answers, and what there is afterwards.
 * One block is one unit; raw memory is of one page.
 */
import type { AutoOnline, Machine, OnlineType, RawMemory, ZoneName } from '../../src/index.ts'
import { codeOf, insides, SMALL } from './blocks.ts'

/** What is done to a machine, and to the model. */
export type Command =
  | { readonly call: 'add'; readonly count: number; at?: number | undefined; type: AutoOnline }
  | { readonly call: 'online'; readonly block: number; readonly type: OnlineType }
  | { readonly call: 'offline' | 'remove'; readonly block: number }
  | { readonly call: 'resize'; readonly count: number }
  | { readonly call: 'buffer' }
  | { readonly call: 'release'; readonly nth: number }

interface Block {
  zone: ZoneName | null
  raw: number
}

const { blockSize, pageSize, maxMemory } = SMALL
const NR_BLOCKS = maxMemory / blockSize
const MANAGED_PAGES = blockSize / pageSize - 1

/** The model. */
export class BlockModel {
  requested = SMALL.memory / blockSize
  private readonly blocks = new Map<number, Block>([
    [0, { zone: 'Normal', raw: 0 }],
    [1, { zone: 'Movable', raw: 0 }],
  ])
  /** Blocks that have raw memory, in the order in which it was taken. */
  private readonly raw: number[] = []

  /** @returns The code of the refusal; null: it is done. */
  run(command: Command): string | null {
    switch (command.call) {
      case 'add':
        return this.add(command)
      case 'online':
        return this.online(command.block, command.type)
      case 'offline':
        return this.offline(command.block)
      case 'remove':
        return this.remove(command.block)
      case 'resize':
        return this.resize(command.count)
      case 'buffer':
        return this.buffer()
      case 'release':
        return this.release(command.nth)
    }
  }

  /** What the machine must say. */
  seen(): object {
    const numbers = [...this.blocks.keys()].sort((a, b) => a - b)
    const blocks = numbers.map(block => {
      const { zone, raw } = this.blocks.get(block)!
      return { block, state: zone === null ? 'offline' : 'online', zone, usedBytes: raw * pageSize }
    })
    const online = this.inZones('Normal', 'Movable').length
    const free = (zone: ZoneName): number =>
      this.inZones(zone).reduce((sum, block) => sum + MANAGED_PAGES - this.rawIn(block), 0)
    return {
      blocks,
      onlineBytes: online * blockSize,
      usedBytes: (this.raw.length + online) * pageSize,
      requestedBytes: this.requested * blockSize,
      free: [free('Normal'), free('Movable')],
      pins: this.raw.length,
    }
  }

  private add({ count, at, type }: Command & { call: 'add' }): string | null {
    const absent = Array.from({ length: NR_BLOCKS }, (_, i) => i).filter(i => !this.blocks.has(i))
    if (count === 0) return 'EINVAL'
    if (at !== undefined && at + count > NR_BLOCKS) return 'EINVAL'
    if (at === undefined && absent.length < count) return 'ENOMEM'
    const first = at ?? 0
    const chosen =
      at === undefined ? absent.slice(0, count) : absent.filter(i => i >= at && i < first + count)
    if (chosen.length < count) return 'EEXIST'
    for (const block of chosen) this.blocks.set(block, { zone: null, raw: 0 })
    if (type !== 'offline') for (const block of chosen) this.online(block, type)
    return null
  }

  private online(block: number, type: OnlineType): string | null {
    const refusal = this.look(block)
    if (refusal !== null) return refusal
    const found = this.blocks.get(block)!
    if (found.zone !== null) return 'EINVAL'
    const isNormal =
      type === 'online_kernel' || (type === 'online' && this.inZones('Normal').length === 0)
    found.zone = isNormal ? 'Normal' : 'Movable'
    return null
  }

  private offline(block: number): string | null {
    const refusal = this.look(block)
    if (refusal !== null) return refusal
    const found = this.blocks.get(block)!
    if (found.zone === null) return 'EINVAL'
    if (found.raw > 0) return 'EBUSY'
    found.zone = null
    return null
  }

  private remove(block: number): string | null {
    const refusal = this.look(block)
    if (refusal !== null) return refusal
    if (this.blocks.get(block)!.zone !== null) return 'EBUSY'
    this.blocks.delete(block)
    return null
  }

  private resize(count: number): string | null {
    if (count > NR_BLOCKS) return 'EINVAL'
    this.requested = Math.max(1, count)
    const nrOnline = (): number => this.inZones('Normal', 'Movable').length
    while (nrOnline() < this.requested) {
      const offline = [...this.blocks.keys()].sort((a, b) => a - b).find(i => !this.zoneOf(i))
      if (offline === undefined) this.add({ call: 'add', count: 1, type: 'offline' })
      else this.online(offline, 'online_movable')
    }
    while (nrOnline() > this.requested) {
      const movable = this.inZones('Movable').at(-1)
      const normal = this.inZones('Normal').findLast(block => this.rawIn(block) === 0)
      const block = movable ?? normal
      if (block === undefined) return null // raw memory everywhere
      this.blocks.delete(block)
    }
    for (const block of this.blocks.keys()) if (!this.zoneOf(block)) this.blocks.delete(block)
    return null
  }

  private buffer(): string | null {
    const block = this.inZones('Normal').find(one => this.rawIn(one) < MANAGED_PAGES)
    if (block === undefined) return 'ENOMEM'
    this.blocks.get(block)!.raw++
    this.raw.push(block)
    return null
  }

  private release(nth: number): string | null {
    if (this.raw.length === 0) return null
    const [block] = this.raw.splice(nth % this.raw.length, 1)
    this.blocks.get(block!)!.raw--
    return null
  }

  private look(block: number): string | null {
    if (block < 0 || block >= NR_BLOCKS) return 'EINVAL'
    return this.blocks.has(block) ? null : 'ENODEV'
  }

  private zoneOf(block: number): ZoneName | null {
    return this.blocks.get(block)?.zone ?? null
  }

  private rawIn(block: number): number {
    return this.blocks.get(block)!.raw
  }

  private inZones(...zones: ZoneName[]): number[] {
    const found = [...this.blocks.keys()].filter(block => zones.includes(this.zoneOf(block)!))
    return found.sort((a, b) => a - b)
  }
}

/** A machine that is driven by the same commands. */
export class Driven {
  readonly machine: Machine
  private readonly raw: RawMemory[] = []

  constructor(machine: Machine) {
    this.machine = machine
  }

  /** As the model's. */
  async run(command: Command): Promise<string | null> {
    const { machine } = this
    const { memory } = machine
    switch (command.call) {
      case 'add': {
        const { count, at, type } = command
        return await codeOf(memory.add(count * blockSize, { block: at, autoOnline: type }))
      }
      case 'online':
        return await codeOf(memory.online(command.block, command.type))
      case 'offline':
        return await codeOf(memory.offline(command.block))
      case 'remove':
        return await codeOf(memory.remove(command.block))
      case 'resize':
        return await codeOf(memory.resize(command.count * blockSize))
      case 'buffer':
        return await codeOf((async () => this.raw.push(machine.buffer(1, { owner: 'model' })))())
      case 'release':
        if (this.raw.length > 0) this.raw.splice(command.nth % this.raw.length, 1)[0]!.release()
        return null
    }
  }

  /** As the model's. */
  seen(): object {
    const { memory } = this.machine
    return {
      blocks: memory.blocks().map(({ block, state, zone, usedBytes }) => {
        return { block, state, zone, usedBytes }
      }),
      onlineBytes: memory.onlineBytes,
      usedBytes: memory.usedBytes,
      requestedBytes: memory.requestedBytes,
      free: insides(this.machine).hotplug.zones.map(zone => zone.nrFree()),
      pins: this.machine.pins().length,
    }
  }
}
