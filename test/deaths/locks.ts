/*
 * Sweeps of deaths over a lock: a real thread is killed at each operation of each way in and out,
 * alone and beside others, and then everything goes on.
 */
import { equal, ok } from 'node:assert/strict'
import { Slots } from '../../src/locking/slots.ts'
import { testOracle } from '../bodies/locks.ts'
import { killAtEach, type Progress } from '../kill.ts'
import { sharedWords, until } from '../thread.ts'
import { Waiter } from './crew.ts'
import { type LockVictim, VICTIM_TID } from './victim.ts'
import { KINDS, type Opened, type Way, wayOf } from './ways.ts'

const VICTIM = new URL('./victim.js', import.meta.url)
const NR_SLOTS = 5
/** Thread ids of those who wait in line. */
const CREW_TIDS = [3, 4]

/**
 * Who else is there: nobody; an owner that leaves when the victim sleeps; waiters; a writer or a
 * reader that stays, for victims that give up; a writer that stays and waiters behind the victim.
 */
export type Company = 'alone' | 'owner' | 'waiters' | 'writer' | 'reader' | 'crowd'

/** By what victims give up, beside such company. */
const LIMITS: Partial<Record<Company, LockVictim['limit']>> = {
  writer: 'timeout',
  reader: 'timeout',
  crowd: 'signal',
}

/** One sweep. */
export interface LockSweep {
  readonly kind: string
  readonly way: string
  readonly half: 'begin' | 'end'
  readonly company: Company
}

/** All sweeps of a kind of lock. */
export function sweepsOf(kind: string): LockSweep[] {
  const { ways } = openOthers(kind).first
  const hasReaders = ways.some(({ isShared }) => isShared)
  return ways.flatMap(({ name, tries, blocks, isShared }) => {
    const beginners: Company[] = ['alone']
    if (!tries) beginners.push('owner')
    if (!tries && !blocks) beginners.push('writer', 'crowd')
    if (!tries && !blocks && hasReaders && !isShared) beginners.push('reader')
    return [
      ...beginners.map(company => ({ kind, way: name, half: 'begin', company }) as const),
      { kind, way: name, half: 'end', company: 'alone' },
      { kind, way: name, half: 'end', company: 'waiters' },
    ]
  })
}

interface State {
  readonly data: LockVictim
  readonly table: Slots
  readonly first: Opened
  readonly second: Opened
  /** Those in line; each resolves with whether it was told of a death inside. */
  readonly waiting: Promise<boolean>[]
  readonly crew: readonly Waiter[]
  /** What this thread still holds. */
  leave: () => void
}

/**
 * Runs a sweep, one victim at a time.
 *
 * @returns How many threads were killed.
 */
export async function runSweep(sweep: LockSweep): Promise<number> {
  const { kind, way, half, company } = sweep
  const hasCrew = company === 'waiters' || company === 'crowd'
  const crew = hasCrew ? CREW_TIDS.map(tid => new Waiter(tid)) : []
  try {
    return await killAtEach<State, LockVictim>({
      module: VICTIM,
      name: 'goes',
      atOnce: hasCrew ? 1 : 2,
      begin: () => {
        const others = openOthers(kind)
        const { slots, words } = others
        const limit = LIMITS[company] ?? null
        const data = { slots, words, turns: sharedWords(3), kind, way, half, limit }
        return { ...others, data, waiting: [], crew, leave: () => {} }
      },
      meanwhile: (state, victim) => keepCompany(state, company, victim),
      check: async (state, died, n) => {
        const told = await goesOn(state)
        if (died && half === 'end' && n === 1) {
          equal(told, !wayOf(state.first, way).isShared, 'somebody is told')
        }
        if (half === 'begin' && n === 1) equal(told, false, 'nobody is told')
      },
    })
  } finally {
    await Promise.all(crew.map(waiter => waiter.end()))
  }
}

/** Two threads that stay, as this one plays them. */
function openOthers(kind: string) {
  const slots = sharedWords(Slots.words(NR_SLOTS))
  const { nrWords, open } = KINDS[kind]!
  const words = sharedWords(nrWords(NR_SLOTS))
  const table = new Slots(slots)
  const first = open(table.attach(testOracle(1)), words)
  const second = open(table.attach(testOracle(2)), words)
  table.register(first.recoverable)
  return { slots, words, table, first, second }
}

/** A thread that stopped may hold what is held for a few steps only: it is not waited for here. */
async function keepCompany(state: State, company: Company, victim: Progress): Promise<void> {
  const { turns, limit } = state.data
  await until('the victim is ready', () => Atomics.load(turns, 0) === 1)
  const owner = ownerOf(state.first, company)
  const held = await owner?.begin()
  if (company === 'waiters') await lineUp(state)
  setTurn(turns, 1)
  if (owner === null) return
  state.leave = () => owner.end(held)
  await until('the victim sleeps', () => victim.isOver() || victim.isAsleep())
  if (company === 'crowd') await lineUp(state)
  setTurn(turns, 2)
  if (limit !== null || victim.isOver()) return
  state.leave()
  state.leave = () => {}
}

function setTurn(turns: Int32Array, turn: number): void {
  Atomics.store(turns, turn, 1)
  Atomics.notify(turns, turn)
}

async function lineUp({ first, crew, data, waiting }: State): Promise<void> {
  const blocking = first.ways.filter(({ blocks }) => blocks)
  for (const [i, waiter] of crew.entries()) {
    const { name } = blocking[i % blocking.length]!
    const { through } = await waiter.begin({ ...data, way: name })
    waiting.push(through)
  }
}

function ownerOf({ ways }: Opened, company: Company): Way | null {
  if (company === 'alone' || company === 'waiters') return null
  const isShared = company === 'reader'
  return ways.find(way => way.isShared === isShared && !way.tries) ?? null
}

async function goThrough(way: Way): Promise<boolean> {
  const held = await way.begin()
  ok(held !== null, `${way.name} is refused`)
  way.end(held)
  return way.wasTold(held)
}

/**
 * The victim is gone from the machine; then whoever waits gets in, and every way works, for both of
 * the others. Resolves with whether one of them was told of a death inside.
 */
async function goesOn({ data, table, first, second, waiting, leave }: State): Promise<boolean> {
  for (let i = 0; i < NR_SLOTS; i++) table.reap(i, testOracle(1, [VICTIM_TID]))
  leave()
  let nrWaiting = waiting.length
  for (const one of waiting) void one.then(() => nrWaiting--)
  await until(`all who wait are in; words ${data.words}`, () => nrWaiting === 0)
  const told = await Promise.all(waiting)
  for (const { ways } of [first, second]) {
    for (const way of ways) told.push(await goThrough(way))
  }
  for (const way of first.ways) await excludes(way, second)
  for (const way of second.ways) equal(await goThrough(way), false, `${way.name}: told for ever`)
  return told.includes(true)
}

async function excludes(way: Way, other: Opened): Promise<void> {
  const held = await way.begin()
  for (const { name, isShared, tries, ...rest } of other.ways) {
    if (!tries) continue
    const got = await rest.begin()
    rest.end(got)
    equal(got !== null, way.isShared && isShared, `${name} beside ${way.name}`)
  }
  way.end(held)
}
