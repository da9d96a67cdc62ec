/*
 * The kernel's locking-selftest on real locks: each order is gone through by one thread, so nothing
 * can hang, and lockdep is asked whether it complained.
 */
import { deepEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { HotplugError } from '../../src/lib/errors.ts'
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { Lockdep } from '../../src/locking/lockdep.ts'
import { LockdepGraph } from '../../src/locking/lockdep-graph.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import { type Slot, Slots } from '../../src/locking/slots.ts'
import { withLockdep } from '../../src/locking/with-lockdep.ts'
import { testOracle } from '../bodies/locks.ts'
import { canDeadlock, type Order } from '../orders.ts'
import { sharedWords } from '../thread.ts'

const NR_CLASSES = 4

/** Kinds of locks by what an order calls taking them: a counter rwsem is read recursively. */
const KINDS = ['mutex', 'rwsem', 'counter'] as const
type Kind = (typeof KINDS)[number]
const WAYS: Readonly<Record<Kind, readonly string[]>> = {
  mutex: ['W'],
  rwsem: ['W', 'R'],
  counter: ['W', 'r'],
}

type Lock = Mutex | PercpuRwsem | CounterRwsem

/** One thread with one lock of each name. */
class Bench {
  private readonly locks: ReadonlyMap<string, Lock>
  private readonly slot: Slot
  private readonly lockdep: Lockdep

  constructor(kinds: Readonly<Record<string, Kind>>) {
    this.slot = new Slots(sharedWords(Slots.words(1))).attach(testOracle(1))
    const words = sharedWords(LockdepGraph.words(NR_CLASSES, 1 << 14))
    this.lockdep = new Lockdep(this.slot, words, NR_CLASSES)
    this.locks = new Map(
      Object.entries(kinds).map(([name, kind]) => [name, this.make(name, bare(this.slot, kind))]),
    )
  }

  /** Watches a lock; as another object, if it is watched already. */
  make(name: string, lock: Lock = this.locks.get(name)!): Lock {
    return withLockdep(lock, this.lockdep, name)
  }

  /** Takes and releases as the order says. What is held at its end is released in reverse. */
  run(order: Order): void {
    const held: Order[] = []
    try {
      for (const step of order.split(' ')) {
        if (step[0] !== 'u') this.take(step)
        else this.release(held.pop() ?? `W${step[1]}`)
        if (step[0] !== 'u') held.push(step)
      }
    } finally {
      while (held.length > 0) this.release(held.pop()!)
    }
  }

  take(step: Order): void {
    const lock = this.locks.get(step[1]!)!
    if (lock instanceof Mutex) lock.lock()
    else if (step[0] === 'W') lock.downWrite()
    else lock.downRead()
  }

  release(step: Order): void {
    const lock = this.locks.get(step[1]!)!
    if (lock instanceof Mutex) lock.unlock()
    else if (step[0] === 'W') lock.upWrite()
    else lock.upRead()
  }

  complains(orders: readonly Order[]): boolean {
    try {
      for (const order of orders) this.run(order)
      return false
    } catch (error) {
      if (!(error instanceof HotplugError)) throw error
      return true
    }
  }
}

function bare(slot: Slot, kind: Kind): Lock {
  const { nrSlots } = slot.slots
  if (kind === 'mutex') return new Mutex(slot, sharedWords(Mutex.WORDS), 0)
  if (kind === 'rwsem') return new PercpuRwsem(slot, sharedWords(PercpuRwsem.words(nrSlots)), 0)
  const words = sharedWords(CounterRwsem.words(nrSlots))
  return new CounterRwsem(slot, words, 0, { privateMutex: true })
}

/** Two letters a task: what it holds, and then asks for. */
const SHAPES = {
  ABBA: ['AB', 'BA'],
  ABBCCA: ['AB', 'BC', 'CA'],
  ABCABC: ['AB', 'CA', 'BC'],
  ABBCCDDA: ['AB', 'BC', 'CD', 'DA'],
  ABCDBDDA: ['AB', 'CD', 'BD', 'DA'],
  ABCDBCDA: ['AB', 'CD', 'BC', 'DA'],
} as const

test('every shape of the selftest is complained about, for every lock, unless all only read it recursively', () => {
  const complaints = KINDS.flatMap(kind =>
    WAYS[kind].map(way => {
      const found = Object.entries(SHAPES).filter(([, shape]) => {
        const orders = shape.map(task => [...task].map(name => way + name).join(' '))
        return new Bench({ A: kind, B: kind, C: kind, D: kind }).complains(orders)
      })
      return [`${kind} ${way}`, found.map(([name]) => name)] as const
    }),
  )

  const all = Object.keys(SHAPES)
  deepEqual(Object.fromEntries(complaints), {
    'mutex W': all,
    'rwsem W': all,
    'rwsem R': all,
    'counter W': all,
    'counter r': [],
  })
})

test('ABBA in every mix of locks and ways is complained about exactly where it can deadlock', () => {
  const wrong: string[] = []
  let nrMixes = 0
  for (const a of KINDS) {
    for (const b of KINDS) {
      for (const [a1, b1, b2, a2] of product([WAYS[a], WAYS[b], WAYS[b], WAYS[a]])) {
        const orders = [`${a1}A ${b1}B`, `${b2}B ${a2}A`]
        const isComplaint = new Bench({ A: a, B: b }).complains(orders)
        if (isComplaint !== canDeadlock(orders)) wrong.push(`${a}, ${b}: ${orders.join(', ')}`)
        nrMixes++
      }
    }
  }

  deepEqual(wrong, [])
  deepEqual(nrMixes, 81)
})

function product(sets: readonly (readonly string[])[]): string[][] {
  return sets.reduce<string[][]>(
    (lists, set) => lists.flatMap(list => set.map(item => [...list, item])),
    [[]],
  )
}

test('a lock that is held is taken again only where its kind lets it', () => {
  const allowed = KINDS.flatMap(kind =>
    product([WAYS[kind], WAYS[kind]])
      .map(([first, second]) => `${first}A ${second}A`)
      .filter(order => !new Bench({ A: kind }).complains([order]))
      .map(order => `${kind}: ${order}`),
  )

  deepEqual(allowed, ['counter: WA rA', 'counter: rA rA'])
})

test('a lock is neither released twice nor made anew while it is held', () => {
  for (const kind of KINDS) {
    for (const way of WAYS[kind]) {
      const bench = new Bench({ A: kind })
      bench.take(`${way}A`)
      throws(() => bench.make('A'), { code: 'EDEADLK' })
      bench.release(`${way}A`)
      throws(() => bench.release(`${way}A`), { code: 'EPERM' })
      bench.run(`${way}A uA`)
    }
  }
})
