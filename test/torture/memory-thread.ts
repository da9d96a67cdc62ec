/*
 * What each thread of a memory torture does, operation after operation, until the run stops or it
 * is killed: writers and readers on maps, operators on blocks. What it finds wrong it throws.
 */
import { Machine, type MachineHandle, type SharedMap } from '../../src/index.ts'
import {
  bytesOf,
  type Doing,
  isThere,
  keyName,
  Ledger,
  type LedgerShape,
  stateOf,
  versionIn,
  versionOf,
} from './ledger.ts'
import { Operator } from './operator.ts'
import { Random } from './random.ts'

/** The maps of a run: whose keys have one writer each, and one that everybody clears. */
export const MAPS = { kept: 'kept', cleared: 'cleared' } as const
/** The key that everybody counts in. */
export const COUNTER = 'counter'
const NR_CLEARED_KEYS = 50
const BUFFER_BYTES = 2 ** 20
/** One in so many operations leaves the processor to others. */
const NAP_ONE_IN = 8
const NAP_MS = 1

/** What a thread does. */
export type TortureRole = 'writer' | 'reader' | 'operator'

/** One thread of a run, in one of its lives. */
export interface MemoryTortureData {
  readonly role: TortureRole
  /** Its place among all threads. */
  readonly thread: number
  /** Its keys, if it writes: from here, so many. */
  readonly firstKey: number
  readonly nrKeys: number
  readonly seed: number
  readonly handle: MachineHandle
  readonly ledger: Int32Array
  readonly shape: LedgerShape
}

/** Runs one life. */
export async function torture(data: MemoryTortureData): Promise<void> {
  const { thread, role } = data
  const ledger = new Ledger(data.ledger, data.shape)
  const machine = ledger.during(thread, 'attach', () => Machine.attach(data.handle))
  ledger.setToken(thread, machine.locks.slot.token)
  const random = new Random(data.seed)
  if (role === 'operator') {
    await new Operator({ machine, ledger, thread, random }).run()
  } else {
    const user = new MapUser(data, { machine, ledger, random })
    user.run()
  }
  await ledger.duringAsync(thread, 'leave', () => machine.shutdown())
  ledger.setDoing(thread, 'ended')
}

interface Tools {
  readonly machine: Machine
  readonly ledger: Ledger
  readonly random: Random
}

/** Writes or reads. */
class MapUser {
  private readonly data: MemoryTortureData
  private readonly machine: Machine
  private readonly ledger: Ledger
  private readonly random: Random
  private readonly kept: SharedMap<Uint8Array>
  private readonly cleared: SharedMap<string>
  private readonly buffer = Buffer.alloc(BUFFER_BYTES)
  private readonly nap = new Int32Array(new SharedArrayBuffer(4))
  /** Of each key of mine, the last version that was ever to be. */
  private readonly last = new Map<number, number>()

  constructor(data: MemoryTortureData, { machine, ledger, random }: Tools) {
    this.data = data
    this.machine = machine
    this.ledger = ledger
    this.random = random
    this.kept = machine.map<Uint8Array>(MAPS.kept, { codec: 'bytes' })
    this.cleared = machine.map<string>(MAPS.cleared, { codec: 'json' })
  }

  run(): void {
    if (this.data.role === 'writer') this.takeOver()
    while (!this.ledger.isStopped()) {
      if (this.data.role === 'writer') this.write()
      else this.read()
      if (this.random.oneIn(NAP_ONE_IN)) Atomics.wait(this.nap, 0, 0, NAP_MS)
    }
    this.kept.close()
    this.cleared.close()
  }

  /** What did the last thread of this place leave? */
  private takeOver(): void {
    const { firstKey, nrKeys } = this.data
    for (let key = firstKey; key < firstKey + nrKeys; key++) {
      const { ledger } = this
      this.last.set(key, Math.max(versionOf(ledger.done(key)), versionOf(ledger.next(key))))
      settleKey(ledger, this.kept, key)
    }
  }

  private write(): void {
    const { firstKey, nrKeys } = this.data
    const key = firstKey + this.random.below(nrKeys)
    const dice = this.random.below(20)
    if (dice < 7) this.set(key)
    else if (dice < 9) this.remove(key)
    else if (dice < 13) this.update(key)
    else if (dice < 15) this.getOrSet(key)
    else if (dice < 17) this.count()
    else if (dice < 19) this.scribble()
    else this.read()
  }

  private read(): void {
    const { nrKeys } = this.data.shape
    const key = this.random.below(nrKeys)
    const dice = this.random.below(40)
    if (dice < 14) this.get(key)
    else if (dice < 26) this.getInto(key)
    else if (dice < 32) this.has(key)
    else if (dice < 36) this.lookAtCounter()
    else if (dice < 38) this.walk()
    else this.iterate()
  }

  private set(key: number): void {
    const version = this.nextVersion(key)
    const value = bytesOf(key, version)
    this.change(key, stateOf(version, true), 'set', () => void this.kept.set(keyName(key), value))
  }

  private remove(key: number): void {
    const wasThere = isThere(this.ledger.done(key))
    this.change(key, stateOf(this.nextVersion(key), false), 'delete', () => {
      const isDeleted = this.kept.delete(keyName(key))
      if (isDeleted !== wasThere) throw new Error(`delete ${keyName(key)} said ${isDeleted}`)
    })
  }

  private update(key: number): void {
    const version = this.nextVersion(key)
    const next = this.random.oneIn(5) ? undefined : bytesOf(key, version)
    const done = this.ledger.done(key)
    this.change(key, stateOf(version, next !== undefined), 'update', () => {
      this.kept.update(keyName(key), old => {
        requireState(key, old, done)
        return next
      })
    })
  }

  private getOrSet(key: number): void {
    const done = this.ledger.done(key)
    const version = isThere(done) ? versionOf(done) : this.nextVersion(key)
    this.change(key, stateOf(version, true), 'getOrSet', () => {
      const value = this.kept.getOrSet(keyName(key), () => bytesOf(key, version))
      requireState(key, value, stateOf(version, true))
    })
  }

  /** Makes a change, if there is room for it. */
  private change(key: number, next: number, doing: Doing, body: () => void): void {
    const { ledger } = this
    ledger.setNext(key, next)
    const hasRoom = this.ifRoom(doing, body)
    if (hasRoom) ledger.setDone(key, next)
    else ledger.setNext(key, ledger.done(key))
    if (!this.random.oneIn(4)) return
    requireState(key, this.kept.get(keyName(key)), ledger.done(key))
  }

  private count(): void {
    const { ledger } = this
    ledger.beginCount()
    const hasRoom = this.ifRoom('count', () => this.kept.update(COUNTER, raised))
    if (hasRoom) ledger.endCount()
    else ledger.cancelCount()
  }

  /** In the map that everybody clears. */
  private scribble(): void {
    const { random, cleared } = this
    if (random.oneIn(8)) this.ledger.during(this.data.thread, 'clear', () => cleared.clear())
    const key = `cleared ${random.below(NR_CLEARED_KEYS)}`
    this.ifRoom('set', () => void cleared.set(key, `${key}:${'y'.repeat(random.below(9000))}`))
    const value = cleared.get(key)
    if (value !== undefined && !value.startsWith(`${key}:`)) {
      throw new Error(`${key} is ${value.slice(0, 40)}`)
    }
  }

  private ifRoom(doing: Doing, body: () => void): boolean {
    const { ledger, data } = this
    try {
      ledger.during(data.thread, doing, body)
      return true
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOMEM') throw error
      ledger.end(data.thread)
      ledger.refuse()
      return false
    }
  }

  private get(key: number): void {
    this.look(key, () =>
      this.ledger.during(this.data.thread, 'get', () => this.kept.get(keyName(key))),
    )
  }

  private getInto(key: number): void {
    const { buffer, kept } = this
    this.look(key, () => {
      const name = keyName(key)
      const into = (): number => kept.getInto(name, buffer)
      const nrBytes = this.ledger.during(this.data.thread, 'getInto', into)
      return nrBytes === -1 ? undefined : buffer.subarray(0, nrBytes)
    })
  }

  private has(key: number): void {
    const before = this.ledger.done(key)
    const has = this.ledger.during(this.data.thread, 'has', () => this.kept.has(keyName(key)))
    const after = this.ledger.next(key)
    if (before === after && has !== isThere(before)) {
      throw new Error(`has ${keyName(key)} said ${has}`)
    }
  }

  /** What is read is neither older than what was there before, nor newer than what is to come. */
  private look(key: number, read: () => Uint8Array | undefined): void {
    const before = this.ledger.done(key)
    const value = read()
    const after = this.ledger.next(key)
    if (before === after) requireState(key, value, before)
    if (before === after || value === undefined) return
    const version = versionIn(key, value)
    if (version >= versionOf(before) && version <= versionOf(after)) return
    const range = `${versionOf(before)} to ${versionOf(after)}`
    throw new Error(`${keyName(key)} is of version ${version}, not ${range}`)
  }

  private lookAtCounter(): void {
    const { ledger } = this
    const least = ledger.countEnded()
    const read = (): Uint8Array | undefined => this.kept.get(COUNTER)
    const count = numberIn(ledger.during(this.data.thread, 'get', read))
    const most = ledger.countBegun()
    if (count < least || count > most) throw new Error(`counted ${count}, not ${least} to ${most}`)
  }

  private walk(): void {
    const blocks = this.ledger.during(this.data.thread, 'walk', () =>
      this.machine.memory.walkBlocks(),
    )
    for (const { name, usedBytes, bytes } of blocks) {
      if (usedBytes < 0 || usedBytes > bytes) throw new Error(`${name} has ${usedBytes} in use`)
    }
  }

  /** Keys that are there all the time come once; none comes twice. */
  private iterate(): void {
    const { ledger, data, kept } = this
    const { nrKeys } = data.shape
    const before = Array.from({ length: nrKeys }, (_, key) => ledger.done(key))
    const seen = new Set<string>()
    ledger.during(data.thread, 'iterate', () => {
      for (const name of kept.keys()) {
        if (seen.has(name)) throw new Error(`${name} came twice`)
        seen.add(name)
      }
    })
    for (let key = 0; key < nrKeys; key++) {
      const isSame = before[key] === ledger.next(key)
      if (isSame && isThere(before[key]!) !== seen.has(keyName(key))) {
        const state = `${before[key]} before, ${ledger.next(key)} after`
        throw new Error(`${keyName(key)} ${seen.has(keyName(key)) ? 'came' : 'missed'}: ${state}`)
      }
    }
  }

  private nextVersion(key: number): number {
    const version = this.last.get(key)! + 1
    this.last.set(key, version)
    return version
  }
}

/** Looks which of two values a key has whose writer is gone. */
export function settleKey(ledger: Ledger, kept: SharedMap<Uint8Array>, key: number): void {
  const [done, next] = [ledger.done(key), ledger.next(key)]
  const value = kept.get(keyName(key))
  const version = value === undefined ? -1 : versionIn(key, value)
  const fits = (state: number): boolean =>
    isThere(state) ? version === versionOf(state) : version === -1
  if (!fits(done) && !fits(next)) {
    const states = `${textOf(done)} nor ${textOf(next)}`
    throw new Error(`${keyName(key)} has version ${version}: neither ${states}`)
  }
  const now = fits(next) ? next : done
  ledger.setNext(key, now)
  ledger.setDone(key, now)
}

/** The number that a counter's bytes are. */
export function numberIn(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : Number(Buffer.from(bytes).toString())
}

function raised(bytes: Uint8Array | undefined): Uint8Array {
  return Buffer.from(String(numberIn(bytes) + 1))
}

function requireState(key: number, value: Uint8Array | undefined, state: number): void {
  const version = value === undefined ? -1 : versionIn(key, value)
  if (version === (isThere(state) ? versionOf(state) : -1)) return
  throw new Error(`${keyName(key)} has version ${version}, not ${textOf(state)}`)
}

function textOf(state: number): string {
  return isThere(state) ? `version ${versionOf(state)}` : `none (since ${versionOf(state)})`
}
