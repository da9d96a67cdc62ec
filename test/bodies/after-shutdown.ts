/* What a machine's calls come to once it is shut down, in main and in threads attached still. */
import {
  type HotplugError,
  Machine,
  type MachineHandle,
  type RawMemory,
  type SharedMap,
} from '../../src/index.ts'

const SMALL = 'small'
const LARGE = 'large'.repeat(50_000)
const NR_KEYS = 100
const WRITES_MAX = 100_000
const BYTES = new Uint8Array(64)

/** What a thread has of a machine when that is shut down. */
export interface Hand {
  readonly machine: Machine
  readonly map: SharedMap<string>
  /** A walk that has begun. */
  readonly walk: Iterator<string>
  readonly raw: RawMemory
}

/** Everything public that is a call or changes, by its class and name, and how it is used. */
export const CALLS: Readonly<Record<string, (hand: Hand) => unknown>> = {
  'Machine.attach': ({ machine }) => Machine.attach(machine.handle),
  'Machine.map': ({ machine }) => machine.map('another', { codec: 'utf8' }),
  'Machine.map, known': ({ machine }) => machine.map('m', { codec: 'utf8' }),
  'Machine.buffer': ({ machine }) => machine.buffer(1, { owner: 'x' }),
  'Machine.pins': ({ machine }) => machine.pins(),
  'Memory.requestedBytes': ({ machine }) => machine.memory.requestedBytes,
  'Memory.onlineBytes': ({ machine }) => machine.memory.onlineBytes,
  'Memory.usedBytes': ({ machine }) => machine.memory.usedBytes,
  'Memory.blocks': ({ machine }) => machine.memory.blocks(),
  'Memory.block': ({ machine }) => machine.memory.block(0),
  'Memory.walkBlocks': ({ machine }) => machine.memory.walkBlocks(),
  'Memory.add': ({ machine }) => machine.memory.add('4MiB'),
  'Memory.online': ({ machine }) => machine.memory.online(1),
  'Memory.offline': ({ machine }) => machine.memory.offline(1),
  'Memory.remove': ({ machine }) => machine.memory.remove(1),
  'Memory.resize': ({ machine }) => machine.memory.resize('4MiB'),
  'Memory.notify': ({ machine }) => machine.memory.notify(() => {}),
  'SharedMap.set, new': ({ map }) => map.set('new', SMALL),
  'SharedMap.set, large': ({ map }) => map.set('new', LARGE),
  'SharedMap.set': ({ map }) => map.set('key1', 'other'),
  'SharedMap.set, many': ({ map }) => {
    for (let i = 0; i < WRITES_MAX; i++) map.set(`many${i}`, SMALL)
  },
  'SharedMap.get': ({ map }) => map.get('key1'),
  'SharedMap.get, large': ({ map }) => map.get('large'),
  'SharedMap.get, absent': ({ map }) => map.get('absent'),
  'SharedMap.getInto': ({ map }) => map.getInto('key1', BYTES),
  'SharedMap.has': ({ map }) => map.has('key1'),
  'SharedMap.has, absent': ({ map }) => map.has('absent'),
  'SharedMap.delete': ({ map }) => map.delete('key1'),
  'SharedMap.delete, absent': ({ map }) => map.delete('absent'),
  'SharedMap.update': ({ map }) => map.update('key1', value => `${value}!`),
  'SharedMap.getOrSet': ({ map }) => map.getOrSet('absent', () => SMALL),
  'SharedMap.size': ({ map }) => map.size,
  'SharedMap.keys': ({ map }) => [...map.keys()],
  'SharedMap.keys, begun': ({ walk }) => {
    while (!walk.next().done) {} // what of a shard was read before is given still
  },
  'SharedMap.entries': ({ map }) => [...map.entries()],
  'SharedMap.values': ({ map }) => [...map.values()],
  'SharedMap.[Symbol.iterator]': ({ map }) => [...map],
  'SharedMap.forEach': ({ map }) => map.forEach(() => {}),
  'SharedMap.clear': ({ map }) => map.clear(),
  'SharedMap.close': ({ map }) => map.close(),
  'RawMemory.release': ({ raw }) => raw.release(),
}

/** Public, and as good as before: what says nothing of the machine's state, and what ends it. */
export const STAYS: readonly string[] = [
  'Machine.boot',
  'Machine.handle',
  'Machine.memory',
  'Machine.locks',
  'Machine.capabilities',
  'Machine.shutdown',
  'Machine.[Symbol.asyncDispose]',
  'Memory.blockSize',
  'Memory.pageSize',
  'Memory.maxBytes',
  'SharedMap.name',
  'SharedMap.readWaits',
  'SharedMap.waits',
  'RawMemory.bytes',
  'RawMemory.owner',
  'RawMemory.[Symbol.dispose]',
]

/** Takes all of it; open pages have room. */
export function take(machine: Machine): Hand {
  const map = machine.map<string>('m', { codec: 'utf8' })
  for (let i = 0; i < NR_KEYS; i++) map.set(`key${i}`, SMALL)
  map.set('large', LARGE)
  const walk = map.keys()
  walk.next()
  return { machine, map, walk, raw: machine.buffer(1, { owner: 'whoever' }) }
}

/** The codes of all calls, by name; `none` for what does not throw. */
export async function codesOf(hand: Hand): Promise<Record<string, string>> {
  const codes: Record<string, string> = {}
  for (const [name, call] of Object.entries(CALLS)) {
    codes[name] = await codeOf(async () => await call(hand))
  }
  return codes
}

/** What a thread is given: [0] is raised when it has all, [1] lets it go on. */
export interface AfterData {
  readonly handle: MachineHandle
  readonly turns: Int32Array
  readonly isDetached?: boolean
}

/** Takes all, waits for its turn, and makes every call. */
export async function callEverything(data: AfterData): Promise<Record<string, string>> {
  const hand = take(Machine.attach(data.handle))
  if (data.isDetached) await hand.machine.shutdown()
  Atomics.store(data.turns, 0, 1)
  Atomics.notify(data.turns, 0)
  Atomics.wait(data.turns, 1, 0)
  return await codesOf(hand)
}

/**
 * Reads all the time, until that throws, and once more when it may go on; returns how many values
 * were wrong, and the code.
 */
export async function readOn({ handle, turns }: AfterData): Promise<unknown> {
  const map = Machine.attach(handle).map<string>('m', { codec: 'utf8' })
  let nrWrong = 0
  Atomics.store(turns, 0, 1)
  Atomics.notify(turns, 0)
  const code = await codeOf(() => {
    for (let isLast = false; !isLast; ) {
      isLast = Atomics.load(turns, 1) !== 0
      for (let i = 0; i < NR_KEYS; i++) if (map.get(`key${i}`) !== SMALL) nrWrong++
      if (map.get('large') !== LARGE) nrWrong++
    }
  })
  return { nrWrong, code }
}

/** Writes all the time, until that throws; returns the code, also of a walk, and of `clear`. */
export async function writeOn({ handle, turns }: AfterData): Promise<unknown> {
  const map = Machine.attach(handle).map<string>('w', { codec: 'utf8' })
  Atomics.store(turns, 0, 1)
  Atomics.notify(turns, 0)
  const write = await codeOf(() => {
    for (let i = 0; ; i++) map.set(`key${i % 5000}`, i % 50 === 0 ? LARGE : SMALL)
  })
  return { write, walk: await codeOf(() => [...map]), clear: await codeOf(() => map.clear()) }
}

/** Stays inside the guard until it is let go. */
export function stayInside({ handle, turns }: AfterData): void {
  const { guard } = Machine.attach(handle).locks
  guard.enter()
  Atomics.store(turns, 0, 1)
  Atomics.notify(turns, 0)
  Atomics.wait(turns, 1, 0)
  guard.leave()
}

async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call()
    return 'none'
  } catch (error) {
    return (error as HotplugError).code ?? String((error as Error).stack)
  }
}
