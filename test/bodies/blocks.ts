/*
 * Threads of tests of a machine's memory, pages of theirs that can move, and what must always be
 * true of the blocks.
 */
import { equal, ok } from 'node:assert/strict'
import { load, loadPlain, storePlain, wait } from '#atomics'
import {
  type BlockInfo,
  type BootOptions,
  Machine,
  type MachineHandle,
  type MemoryNotifier,
  type NotifyOptions,
} from '../../src/index.ts'
import {
  PageState,
  VirtualKind,
  WRITE_PROTECT_EVENT,
  WRITE_PROTECTED,
} from '../../src/mm/geometry.ts'
import type { Hotplug } from '../../src/mm/hotplug.ts'
import { isFreeWord, loadPageWord, stateOfWord } from '../../src/mm/memmap.ts'
import { Notifiers } from '../../src/mm/notifiers.ts'
import type { PageAllocator } from '../../src/mm/page-allocator.ts'
import { pfnOf, pteAt } from '../../src/mm/page-table.ts'
import { VirtualPages } from '../../src/mm/virtual-pages.ts'
import { until } from '../thread.ts'
import { assertExact } from './pages.ts'

const MiB = 2 ** 20
/** The smallest blocks, of few pages. */
export const SMALL = {
  blockSize: 4 * MiB,
  pageSize: 65536,
  memory: 8 * MiB,
  maxMemory: 32 * MiB,
  threads: 8,
} as const
/** A map that no test has: nobody looks at its pages. */
const NO_MAP = 200
const WAIT_MS = 100

/** A machine's parts that are not public. */
export interface Insides {
  readonly hotplug: Hotplug
  readonly allocator: PageAllocator
}

/** Boxes of notifiers that a victim knows of: those that are in use are the first. */
const NR_BOXES = 4

/** For threads that are to make few operations: they look at a few boxes of notifiers only. */
export function withFewNotifiers(handle: MachineHandle): MachineHandle {
  const notifiers = handle.memory.notifiers.subarray(0, Notifiers.words(NR_BOXES))
  return { ...handle, memory: { ...handle.memory, notifiers } }
}

/** Looks inside. */
export function insides(machine: Machine): Insides {
  return machine as unknown as Insides
}

/** Virtual pages of one thread, each of which has words; they move when their block leaves. */
export class MovingPages {
  readonly vpns: number[] = []
  readonly machine: Machine
  private readonly pages: VirtualPages
  private readonly hotplug: Hotplug

  constructor(machine: Machine) {
    const { hotplug, allocator } = insides(machine)
    this.machine = machine
    this.hotplug = hotplug
    this.pages = new VirtualPages(
      machine.locks.slot,
      hotplug.blocks.control,
      hotplug.space,
      allocator,
    )
  }

  /** Opens pages until there are `count`, or no room is left. @returns How many there are. */
  open(count: number): number {
    while (this.vpns.length < count) {
      const vpn = this.pages.open(NO_MAP, VirtualKind.Chunk)
      if (vpn === -1) break
      this.vpns.push(vpn)
    }
    return this.vpns.length
  }

  /** The block that a page is in now. */
  blockOf(i: number): number {
    const pte = load(this.hotplug.blocks.control.pageTable, pteAt(this.vpns[i]!))
    return pfnOf(pte) >>> this.hotplug.geometry.pagesPerBlockShift
  }

  /** Pages that are in a block now. */
  nrIn(block: number): number {
    return this.vpns.filter((_vpn, i) => this.blockOf(i) === block).length
  }

  /** Writes a word, as all who write to pages that move: see mm/migration.ts. */
  write(i: number, word: number, value: number): void {
    const { control } = this.hotplug.blocks
    const { guard } = this.machine.locks
    for (;;) {
      guard.enter()
      const event = load(control.events, WRITE_PROTECT_EVENT) // U1
      const pte = load(control.pageTable, pteAt(this.vpns[i]!)) // U2
      const isProtected = (pte & WRITE_PROTECTED) !== 0
      if (!isProtected) this.store(pte, word, value) // U3
      guard.leave()
      if (!isProtected) return
      wait(control.events, WRITE_PROTECT_EVENT, event, WAIT_MS)
    }
  }

  /** Reads a word. */
  read(i: number, word: number): number {
    const { guard } = this.machine.locks
    guard.enter()
    const pte = load(this.hotplug.blocks.control.pageTable, pteAt(this.vpns[i]!))
    const { words, at } = this.place(pte)
    const value = loadPlain(words, at + word)
    guard.leave()
    return value
  }

  /** The pages go, after a grace period. */
  retire(): void {
    for (const vpn of this.vpns.splice(0)) {
      this.pages.seal(vpn)
      this.pages.retire(vpn)
    }
  }

  private store(pte: number, word: number, value: number): void {
    const { words, at } = this.place(pte)
    storePlain(words, at + word, value)
  }

  private place(pte: number): { words: Int32Array; at: number } {
    const { geometry, space } = this.hotplug
    const pfn = pfnOf(pte)
    const page = pfn & (geometry.pagesPerBlock - 1)
    return {
      words: space.block(pfn >>> geometry.pagesPerBlockShift),
      at: page * geometry.pageWords,
    }
  }
}

/** What operations leave as it was when they are refused: all but whose the pages are. */
export interface Snapshot {
  readonly blocks: readonly BlockInfo[]
  readonly onlineBytes: number
  readonly usedBytes: number
  readonly freePages: number
}

/** What there is now. */
export function snapshot(machine: Machine): Snapshot {
  const { onlineBytes, usedBytes } = machine.memory
  const freePages = insides(machine).hotplug.zones.reduce((sum, zone) => sum + zone.nrFree(), 0)
  return { blocks: machine.memory.blocks(), onlineBytes, usedBytes, freePages }
}

/** Lists, counters and states belong together. Call when nobody is in the middle of anything. */
export function assertWhole(machine: Machine): void {
  const { memory, locks } = machine.handle
  const { control } = memory
  const words = { control, slots: locks.control.slots, guard: locks.control.locks }
  assertExact({ ...words, space: memory.space })
  const infos = machine.memory.walkBlocks()
  for (const { state, name } of infos) ok(state === 'online' || state === 'offline', name)
  const online = infos.filter(({ state }) => state === 'online')
  equal(machine.memory.onlineBytes, online.length * machine.memory.blockSize)
  const used = online.reduce((sum, info) => sum + info.usedBytes, 0)
  const { nrFree, nrPages } = freeAndAll(machine)
  equal(used, (nrPages - nrFree) * machine.memory.pageSize)
}

/** As `assertWhole`, once the service thread has repaired what a dead thread was changing. */
export async function untilWhole(machine: Machine): Promise<void> {
  let wrong: unknown
  const isWhole = (): boolean => {
    try {
      assertWhole(machine)
      return true
    } catch (error) {
      wrong = error
      return false
    }
  }
  await until('lists, counters and states belong together', isWhole).catch(() => {
    throw wrong
  })
}

function freeAndAll(machine: Machine): { nrFree: number; nrPages: number } {
  const { hotplug } = insides(machine)
  const nrFree = hotplug.zones.reduce((sum, zone) => sum + zone.nrFree(), 0)
  return { nrFree, nrPages: hotplug.blocks.onlinePages() }
}

/** Pages that somebody has, but those on lists of free pages of threads. */
export function nrHeld(machine: Machine): number {
  const { geometry, space, blocks } = insides(machine).hotplug
  let nrHeld = 0
  for (const { block } of machine.memory.blocks()) {
    if (!blocks.hasPages(block)) continue
    const first = block * geometry.pagesPerBlock
    for (let page = geometry.memmapPages; page < geometry.pagesPerBlock; page++) {
      const word = loadPageWord(geometry, space, first + page)
      const isListed = stateOfWord(word) === PageState.Percpu
      if (!isFreeWord(word) && !isListed) nrHeld++
    }
  }
  return nrHeld
}

/** Waits until nobody has a page. */
export async function untilAllFree(machine: Machine): Promise<void> {
  await until('all pages are free', () => nrHeld(machine) === 0)
}

/** What a thread is given. */
export interface BlocksData {
  readonly handle: MachineHandle
  /** [0] is raised when the thread is where the test wants it, [1] ends it. */
  readonly words: Int32Array
  readonly block?: number
  readonly rounds?: number
}

/** The code of what a promise rejects with; null if it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string | null> {
  try {
    await promise
    return null
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === undefined) throw error
    return code
  }
}

/** Attaches, adds, uses, and takes away a block; returns what it saw. */
export async function useAll({ handle }: BlocksData): Promise<unknown> {
  const machine = Machine.attach(handle)
  const [added] = await machine.memory.add(machine.memory.blockSize)
  const pages = new MovingPages(machine)
  pages.open(3)
  for (let i = 0; i < 3; i++) pages.write(i, 7, i)
  const read = [0, 1, 2].map(i => pages.read(i, 7))
  pages.retire()
  const raw = machine.buffer(100, { owner: 'all' })
  const zeroes = raw.bytes.every(byte => byte === 0)
  raw.release()
  const { pagesMoved } = await machine.memory.offline(added!.block)
  await machine.memory.remove(added!.block)
  await machine.shutdown()
  return { state: added!.state, read, zeroes, hasMoved: pagesMoved >= 0 }
}

/** Attaches, takes pages of all kinds, and leaves without giving them back. */
export async function takeAndLeave(data: BlocksData & { how: 'detach' | 'end' | 'stay' }) {
  const machine = Machine.attach(data.handle)
  const pages = new MovingPages(machine)
  pages.open(5)
  machine.buffer('64KiB', { owner: 'whoever' })
  insides(machine).allocator.allocPage('movable')
  Atomics.add(data.words, 0, 1)
  if (data.how === 'detach') await machine.shutdown()
  if (data.how === 'stay') Atomics.wait(data.words, 1, 0)
}

/** Takes a block off and on as often as asked; returns how often each answer came. */
export async function flip({ handle, words, block = 1, rounds = 1 }: BlocksData) {
  const machine = Machine.attach(handle)
  const answers: Record<string, number> = {}
  Atomics.add(words, 0, 1)
  for (let i = 0; i < rounds; i++) {
    const calls = [
      () => machine.memory.offline(block),
      () => machine.memory.remove(block),
      () => machine.memory.add(machine.memory.blockSize, { block, autoOnline: 'offline' }),
      () => machine.memory.online(block, 'online_movable'),
    ]
    for (const call of calls) {
      const code = (await codeOf(call())) ?? 'done'
      answers[code] = (answers[code] ?? 0) + 1
    }
  }
  await machine.shutdown()
  return answers
}

/** Tries every call once it is told to; returns the codes. */
export async function callAll({ handle, words }: BlocksData): Promise<(string | null)[]> {
  const machine = Machine.attach(handle)
  Atomics.add(words, 0, 1)
  Atomics.wait(words, 1, 0)
  const { memory } = machine
  const calls = [
    () => memory.add(memory.blockSize),
    () => memory.online(1),
    () => memory.offline(1),
    () => memory.remove(1),
    () => memory.resize(memory.blockSize),
    async () => machine.buffer(1, { owner: 'x' }),
  ]
  const codes: (string | null)[] = []
  for (const call of calls) codes.push(await codeOf(call()))
  return codes
}

/** Counts up in every word of its pages until told to stop; returns how many words were wrong. */
export async function writePages(data: BlocksData & { nrPages: number }): Promise<number> {
  const machine = Machine.attach(data.handle)
  const pages = new MovingPages(machine)
  const nrPages = pages.open(data.nrPages)
  if (nrPages < data.nrPages) return -1
  for (let i = 0; i < nrPages; i++) for (let w = 0; w < 4; w++) pages.write(i, w * 997, 0)
  Atomics.store(data.words, 0, 1)
  let wrong = 0
  for (let round = 1; Atomics.load(data.words, 1) === 0; round++) {
    for (let i = 0; i < nrPages; i++) {
      for (let w = 0; w < 4; w++) {
        if (pages.read(i, w * 997) !== round - 1) wrong++
        pages.write(i, w * 997, round)
      }
    }
    Atomics.add(data.words, 2, 1)
  }
  pages.retire()
  await machine.shutdown()
  return wrong
}

/** Answers what is GOING once [2] is not 0; counts in [3], and returns, what it heard. */
export async function answersLate({ handle, words }: BlocksData): Promise<string[]> {
  const machine = Machine.attach(handle)
  const told: string[] = []
  using _registration = machine.memory.notify(async ({ action, block }) => {
    told.push(`${action} ${block}`)
    Atomics.add(words, 3, 1)
    if (action.startsWith('GOING_'))
      await until('it may answer', () => Atomics.load(words, 2) !== 0)
  })
  Atomics.add(words, 0, 1)
  await until('the end', () => Atomics.load(words, 1) !== 0)
  return told
}

/** As pools run it: takes raw memory; returns what is online. */
export async function look(handle: MachineHandle): Promise<number> {
  const machine = Machine.attach(handle)
  machine.buffer('4KiB', { owner: 'pool' }).release()
  const { onlineBytes } = machine.memory
  await machine.shutdown()
  return onlineBytes
}

/** Tries to boot a machine of its own; returns the error's code. */
export function bootHere(options: BootOptions): Promise<string | null> {
  return codeOf(Machine.boot(options))
}

/** A small machine for a test, which ends with it. */
export async function bootSmall(
  t: { after(end: () => Promise<void>): void },
  options: BootOptions = {},
): Promise<Machine> {
  const machine = await Machine.boot({ ...SMALL, ...options })
  t.after(() => machine.shutdown())
  return machine
}

/** Notes what a notifier is told, as `GOING_ONLINE 1 Movable`; `behave` is its answer. */
export function listenTo(
  machine: Machine,
  behave: MemoryNotifier = () => {},
  options: NotifyOptions = {},
): string[] {
  const told: string[] = []
  machine.memory.notify(event => {
    told.push(`${event.action} ${event.block} ${event.zone}`)
    return behave(event)
  }, options)
  return told
}

/** Makes notifiers of this thread's operations answer sooner, or not at all. */
export function hurryNotifiers(machine: Machine, answerWithinMs: number): void {
  Object.assign(insides(machine).hotplug.notifiers, { answerWithinMs })
}
