import { deepEqual, equal, match, ok, throws } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import { testOracle } from '../../test/bodies/locks.ts'
import { canDeadlock, mixesOf, type Order } from '../../test/orders.ts'
import { sharedWords } from '../../test/thread.ts'
import { HotplugError } from '../lib/errors.ts'
import { Lockdep, LockdepMap, wantsLockdep } from './lockdep.ts'
import { LockdepGraph, Mode } from './lockdep-graph.ts'
import { placeOf, type Taking, type Tracked } from './lockdep-held.ts'
import { Slots } from './slots.ts'

const NR_CLASSES = 8

const MODES: Readonly<Record<string, Mode>> = {
  W: Mode.Exclusive,
  R: Mode.Shared,
  r: Mode.Recursive,
}

/** Takes and releases locks without any lock being there: only lockdep sees it. */
class Bench {
  readonly lockdep: Lockdep
  private readonly locks = new Map<string, Tracked>()

  constructor(nrClasses = NR_CLASSES, nrTextWords = 1 << 16) {
    const slot = new Slots(sharedWords(Slots.words(1))).attach(testOracle(1))
    const words = sharedWords(LockdepGraph.words(nrClasses, nrTextWords))
    this.lockdep = new Lockdep(slot, words, nrClasses)
  }

  /** @param className Else the name is the class. */
  lock(name: string, className = name): Tracked {
    const known = this.locks.get(name)
    if (known !== undefined) return known
    const lock = this.lockdep.track({ className, memory: {}, byteOffset: 0 })
    this.locks.set(name, lock)
    return lock
  }

  take(name: string, mode: Mode, operation: object | null = null): Taking {
    const taking = { lock: this.lock(name), mode, place: placeOf(Bench.prototype.take) }
    this.lockdep.willWait(taking, operation)
    return this.lockdep.acquired(taking, operation)
  }

  /** Takes without waiting. */
  tryTake(name: string, mode: Mode): Taking {
    const taking = { lock: this.lock(name), mode, place: placeOf(Bench.prototype.tryTake) }
    return this.lockdep.acquired(taking, null)
  }

  /** Goes through one task's order; lets go of what it still holds at its end. */
  run(order: Order): void {
    const held: Taking[] = []
    try {
      for (const step of order.split(' ')) {
        const name = step.slice(1)
        if (step[0] !== 'u') held.push(this.take(name, MODES[step[0]!]!))
        else {
          const ends = held.findLast(taking => taking.lock === this.lock(name))
          const exclusive = ends === undefined || ends.mode === Mode.Exclusive
          this.lockdep.released(this.lockdep.willRelease(this.lock(name), exclusive, this.run))
        }
      }
    } finally {
      for (const taking of held) this.lockdep.released(taking)
    }
  }

  complaint(orders: readonly Order[]): HotplugError | null {
    try {
      for (const order of orders) this.run(order)
    } catch (error) {
      if (!(error instanceof HotplugError)) throw error
      return error
    }
    return null
  }
}

// The orders of the kernel's locking-selftest. In its names X is a lock taken to write or a mutex.
const MUST_COMPLAIN: Readonly<Record<string, readonly Order[]>> = {
  AA: ['WA WA'],
  ABBA: ['WA WB', 'WB WA'],
  ABBCCA: ['WA WB', 'WB WC', 'WC WA'],
  ABCABC: ['WA WB', 'WC WA', 'WB WC'],
  ABBCCDDA: ['WA WB', 'WB WC', 'WC WD', 'WD WA'],
  ABCDBDDA: ['WA WB', 'WC WD', 'WB WD', 'WD WA'],
  ABCDBCDA: ['WA WB', 'WC WD', 'WB WC', 'WD WA'],
  'double unlock': ['WA uA uA'],
  'unlock of what was never taken': ['WA uB'],
  'rwsem: read in read': ['RA RA'],
  'rwsem: read then write': ['RA WA'],
  'rwsem: write then read': ['WA RA'],
  'rwsem: write then write': ['WA WA'],
  'rwsem: ABBA of readers': ['RA RB', 'RB RA'],
  'rwsem: ABBCCA of readers': ['RA RB', 'RB RC', 'RC RA'],
  'rwsem: ABBA, one writes': ['RA RB', 'RB WA'],
  'recursive: read then write': ['rA WA'],
  'recursive: write then read': ['WA rA'],
  'recursive reader and mutex, then mutex and writer': ['rA WB', 'WB WA'],
  'the same, when reading under the mutex was seen first': ['rA WB', 'WB rA', 'WB WA'],
  'recursive: W1R2 W2R3 W3R1': ['WA rB', 'WB rC', 'WC rA'],
  'recursive: W1W2 R2R3 W3R1': ['WA WB', 'rB rC', 'WC rA'],
  'mixed: EN SR ER': ['WA WB', 'RB rC', 'WC rA'],
  'an order within a longer one': ['WA WB WC', 'WC WA'],
  'released out of order': ['WA WB uA WC', 'WC WB'],
}

const MUST_NOT_COMPLAIN: Readonly<Record<string, readonly Order[]>> = {
  'one order by all': ['WA WB WC', 'WA WC', 'WB WC', 'WA WB'],
  'one after the other': ['WA uA WB', 'WB uB WA'],
  'again after release': ['WA uA WA uA RA uA RA'],
  'recursive: read in read': ['rA rA uA uA'],
  'recursive: read in read, another between': ['rA rB rA'],
  'recursive: ABBA of readers': ['rA rB', 'rB rA'],
  'recursive: ABBCCA of readers': ['rA rB', 'rB rC', 'rC rA'],
  'recursive: ABBCCDDA of readers': ['rA rB', 'rB rC', 'rC rD', 'rD rA'],
  'recursive: ABCABC of readers': ['rA rB', 'rC rA', 'rB rC'],
  'recursive: ABCDBDDA of readers': ['rA rB', 'rC rD', 'rB rD', 'rD rA'],
  'recursive: ABCDBCDA of readers': ['rA rB', 'rC rD', 'rB rC', 'rD rA'],
  'recursive reader and mutex, both ways': ['rA WB', 'WB rA'],
  'recursive: W1R2 R2R3 W3W1': ['WA rB', 'rB rC', 'WC WA'],
  'recursive: W1W2 R2R3 R3W1': ['WA WB', 'rB rC', 'rC WA'],
  'mixed: EN SR SN': ['WA WB', 'RB rC', 'rC WA'],
  'mixed: ER SR EN': ['WA rB', 'rB rC', 'WC WA'],
}

for (const [name, orders] of Object.entries(MUST_COMPLAIN)) {
  test(`lockdep complains about ${name}`, () => {
    const complaint = new Bench().complaint(orders)

    match(complaint?.code ?? 'nothing', /^(EDEADLK|EPERM)$/)
  })
}

for (const [name, orders] of Object.entries(MUST_NOT_COMPLAIN)) {
  test(`lockdep does not complain about ${name}`, () => {
    equal(new Bench().complaint(orders), null)
  })
}

test('lockdep complains in every mix of ABBA and ABBCCA that can deadlock, and in no other', () => {
  const mixes = [...mixesOf(['AB', 'BA']), ...mixesOf(['AB', 'BC', 'CA'])]

  const complaints = mixes.filter(orders => new Bench(3, 1 << 12).complaint(orders) !== null)

  deepEqual(complaints, mixes.filter(canDeadlock))
  equal(mixes.length, 81 + 729)
})

test('lockdep misses no deadlock in random orders', () => {
  // It may complain where another lock, taken first by all, keeps the two orders apart.
  const property = fc.property(ordersOf('ABC', 3), orders => {
    ok(new Bench(3, 1 << 12).complaint(orders) !== null || !canDeadlock(orders), orders.join(', '))
  })
  fc.assert(property, { numRuns: 150 })
})

test('lockdep complains in random orders of two locks exactly if they can deadlock', () => {
  const property = fc.property(ordersOf('ABCD', 2), orders => {
    equal(new Bench(4, 1 << 12).complaint(orders) !== null, canDeadlock(orders), orders.join(', '))
  })
  fc.assert(property, { numRuns: 150 })
})

function ordersOf(locks: string, maxLength: number): fc.Arbitrary<Order[]> {
  const mode = fc.constantFrom('W', 'R', 'r')
  const order = fc
    .tuple(fc.shuffledSubarray([...locks], { minLength: 1, maxLength }), fc.tuple(mode, mode, mode))
    .map(([names, modes]) => names.map((name, i) => modes[i]! + name).join(' '))
  return fc.array(order, { minLength: 2, maxLength: 4 })
}

test('a report has the cycle, and both stacks of each order with the slots of who did it', () => {
  const bench = new Bench()
  const writesPage = (): void => bench.run('Wzone Wpage')
  const readsZone = (): void => bench.run('Wpage Wzone')
  writesPage()

  throws(readsZone, (error: HotplugError) => {
    equal(error.code, 'EDEADLK')
    const blocks = error.message.split('\n  ').filter(line => !line.startsWith('  '))
    deepEqual(blocks, [
      'take zone: it would close the cycle zone -> page -> zone, ' +
        'in which each can wait for the next for ever',
      'before: slot 0 took zone',
      'then asks for page',
      'now: slot 0 took page',
      'then asks for zone',
      'take them in one order, or only try and start over (EDEADLK)',
    ])
    equal(error.message.match(/at .*writesPage .*lockdep\.test/g)?.length, 2)
    equal(error.message.match(/at .*readsZone .*lockdep\.test/g)?.length, 2)
    return true
  })
})

test('a forbidden order is reported each time, and the order that was there stays allowed', () => {
  const bench = new Bench()
  bench.run('WA WB')

  for (let i = 0; i < 3; i++) {
    equal(bench.complaint(['WB WA'])?.code, 'EDEADLK')
    equal(bench.complaint(['WA WB', 'WA WC', 'WC WB']), null)
  }
  equal(bench.lockdep.isOff(), false)
})

test('two locks of one class have no order, unless one has a subclass', () => {
  const bench = new Bench()
  bench.lock('parent', 'device.lock')
  bench.lock('child', 'device.lock')
  const take = (lock: Tracked): Taking => {
    const taking = { lock, mode: Mode.Exclusive, place: placeOf(take) }
    bench.lockdep.willWait(taking, null)
    return bench.lockdep.acquired(taking, null)
  }
  const nested = bench.lockdep.subclass(bench.lock('child'), 1)

  throws(() => bench.run('Wparent Wchild'), /device\.lock is the name of one already held/)
  const parent = take(bench.lock('parent'))
  bench.lockdep.released(take(nested))
  bench.lockdep.released(parent)
  const child = take(nested)

  throws(() => take(bench.lock('parent')), /device\.lock -> device\.lock\/1 -> device\.lock/)
  throws(() => take(bench.lock('child')), /it has it already/)
  bench.lockdep.released(child)
})

test('recursive readers of two locks of one class need no order', () => {
  const bench = new Bench()
  bench.lock('one', 'inode')
  bench.lock('other', 'inode')

  equal(bench.complaint(['rone rother', 'rother rone']), null)
  equal(bench.complaint(['Wone rother'])?.code, 'EDEADLK')
})

test('what is only tried cannot close a cycle, what was got by trying can', () => {
  const bench = new Bench()
  bench.run('WA WB')

  bench.run('WB')
  const held = bench.take('B', Mode.Exclusive)
  const tried = bench.tryTake('A', Mode.Exclusive)
  bench.lockdep.released(tried)
  bench.lockdep.released(held)
  equal(bench.complaint(['WA WB']), null)

  const first = bench.tryTake('B', Mode.Exclusive)
  throws(() => bench.take('A', Mode.Exclusive), { code: 'EDEADLK' })
  bench.lockdep.released(first)
})

test('operations of one event loop are not ordered by each other', () => {
  const bench = new Bench()
  const [one, other] = [{}, {}]

  const a = bench.take('A', Mode.Exclusive, one)
  const b = bench.take('B', Mode.Exclusive, other)
  bench.lockdep.released(a)
  const again = bench.take('A', Mode.Exclusive, {})
  bench.lockdep.released(b)
  bench.lockdep.released(again)

  equal(bench.complaint(['WA WB']), null)
  equal(bench.complaint(['WB WA'])?.code, 'EDEADLK')
})

test('what one operation takes is ordered', () => {
  const bench = new Bench()
  const operation = {}
  bench.run('WA WB')

  const b = bench.take('B', Mode.Exclusive, operation)

  throws(() => bench.take('A', Mode.Exclusive, operation), { code: 'EDEADLK' })
  throws(() => bench.take('B', Mode.Exclusive, operation), /it has it already/)
  bench.lockdep.released(b)
})

test('a thread that blocks keeps what its operations hold', () => {
  const bench = new Bench()
  bench.run('WA WB')

  const b = bench.take('B', Mode.Exclusive, {})

  throws(() => bench.take('A', Mode.Exclusive), { code: 'EDEADLK' })
  bench.lockdep.released(b)
})

test('waiting for a region while holding what those inside need is reported', () => {
  const bench = new Bench()
  const map = new LockdepMap(bench.lockdep, 'flush')
  const work = map.enter()
  bench.run('WA')
  work.release()

  const held = bench.take('A', Mode.Exclusive)
  throws(() => map.willWait(), /flush -> A -> flush|A -> flush -> A/)
  bench.lockdep.released(held)

  map.willWait()
})

test('the same is reported when the wait was seen before the work', () => {
  const bench = new Bench()
  const map = new LockdepMap(bench.lockdep, 'flush')
  const held = bench.take('A', Mode.Shared)
  map.willWait()
  bench.lockdep.released(held)

  using _work = map.enter()

  throws(() => bench.run('RA'), { code: 'EDEADLK' })
})

test('waiting for a region from inside it is reported', () => {
  const map = new LockdepMap(new Bench().lockdep, 'flush')

  using _work = map.enter()

  throws(() => map.willWait(), /it waits for what it must do itself/)
})

test('a map without lockdep does nothing', () => {
  const map = new LockdepMap(null, 'flush')

  using work = map.enter()
  map.willWait()

  equal(work.ownerDied, false)
})

test('when there is no room for a class, lockdep warns once and is off', async () => {
  const bench = new Bench(2)
  const warned = once(process, 'warning')

  equal(bench.complaint(['WA WB', 'WC', 'WB WA', 'WD']), null)

  const [warning] = (await warned) as [Error & { code: string }]
  equal(warning.code, 'ENOSPC')
  match(warning.message, /^lockdep is off from now on: name class C: all 2 are taken \(ENOSPC\)$/)
  equal(bench.lockdep.isOff(), true)
  equal(bench.complaint(['WA uA uA']), null)
})

test('when there is no room for stacks, lockdep is off, and what it held is let go', async () => {
  const bench = new Bench(8, 40)
  const warned = once(process, 'warning')

  equal(bench.complaint(['WA WB', 'WB WA']), null)

  await warned
  equal(bench.lockdep.isOff(), true)
})

test('lockdep is wanted by the option, else by the environment', () => {
  const before = process.env.HOTPLUG_LOCKDEP
  try {
    process.env.HOTPLUG_LOCKDEP = '1'
    deepEqual([wantsLockdep(), wantsLockdep(false), wantsLockdep(true)], [true, false, true])
    delete process.env.HOTPLUG_LOCKDEP
    deepEqual([wantsLockdep(), wantsLockdep(false), wantsLockdep(true)], [false, false, true])
  } finally {
    if (before !== undefined) process.env.HOTPLUG_LOCKDEP = before
  }
})
