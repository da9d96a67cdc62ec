/*
 * What the thread of March 2017 argued about, decided (docs/the-thread.md).
 *
 * A package leaves in two stages under `device_hotplug_lock`; an operator onlines memory under the
 * same lock; pmem goes by `mem_hotplug_begin` alone, once its pins are gone. REGION says what is
 * there: whoever uses or removes it asserts what it sees; an assertion that fails is a schedule.
 */
import { add, compareExchange, exchange, load, store, sub, type Words } from '#atomics'
import { model, mustFail } from '../../src/check/model.ts'
import { assert } from '../../src/lib/assert.ts'
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { HotplugLocks } from '../../src/locking/hotplug-locks.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import { type Slot, Slots } from '../../src/locking/slots.ts'
import { aliveThreads, slotOf } from './threads.ts'

const ONLINE = 0
const OFFLINE = 1
const REMOVED = 2

const REGION = 1
const USERS = 3

interface Face {
  readonly s: Words
  readonly m: Words
  readonly d: Words
  readonly id: number
}

type Change = readonly [from: number, to: number]

function memHotplug(slot: Slot, m: Words, privateMutex: boolean): CounterRwsem {
  return new CounterRwsem(slot, m, 0, { privateMutex })
}

/** Two writers of one lock; the second may or may not take the device lock around it. */
function someCallSites(name: string, bothLock: boolean) {
  return model({
    name,
    shared: t => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      m: t.int32(CounterRwsem.words(3)),
      d: t.int32({ DEVICE_HOTPLUG_LOCK: 0 }),
    }),
    threads: [
      {
        name: 'reader',
        body({ s, m, id }) {
          const mems = memHotplug(slotOf(s, id), m, false)
          mems.downRead()
          mems.upRead()
        },
      },
      {
        name: 'writer',
        count: 2,
        body({ s, m, d, id, cs }) {
          const slot = slotOf(s, id)
          const mems = memHotplug(slot, m, false)
          const device = new Mutex(slot, d, 0)
          const locks = bothLock || id === 1
          if (locks) device.lock()
          mems.downWrite()
          cs('W')
          cs('')
          mems.upWrite()
          if (locks) device.unlock()
        },
      },
    ],
    never: s => s.in('W') > 1,
  })
}

/** A package leaves in two stages while an operator brings back whatever is offline. */
function twoStages(name: string, operatorLocks: boolean) {
  return model({
    name,
    shared: t => ({
      s: t.int32(Slots.words(2), { init: aliveThreads }),
      m: t.int32(CounterRwsem.words(2)),
      d: t.int32({ DEVICE_HOTPLUG_LOCK: 0, REGION: 1 }),
    }),
    threads: [
      {
        name: 'eject',
        body({ s, m, d, id }) {
          const slot = slotOf(s, id)
          const mems = memHotplug(slot, m, true)
          const device = new Mutex(slot, d, 0)
          device.lock()
          mems.downWrite()
          store(d, 1, OFFLINE)
          mems.upWrite()
          mems.downWrite()
          const region = load(d, 1)
          assert(region === OFFLINE, 'stage 2 removes memory that is online')
          store(d, 1, REMOVED)
          mems.upWrite()
          device.unlock()
        },
      },
      {
        name: 'operator',
        body({ s, m, d, id }) {
          const slot = slotOf(s, id)
          const mems = memHotplug(slot, m, true)
          const device = new Mutex(slot, d, 0)
          if (operatorLocks) device.lock()
          mems.downWrite()
          const region = load(d, 1)
          if (region === OFFLINE) store(d, 1, ONLINE)
          mems.upWrite()
          if (operatorLocks) device.unlock()
        },
      },
    ],
    atEnd: s => s.d.REGION === REMOVED,
  })
}

/** How `stageOneMayFail` is broken. */
interface Setting {
  readonly operatorLocks?: boolean
  readonly undoes?: boolean
  /** Somebody uses the second region for ever. */
  readonly isBusy?: boolean
}

/**
 * A package of two regions, all or nothing: while somebody uses the second, stage 1 fails there,
 * and brings the first back. An operator brings back whatever is offline.
 */
function stageOneMayFail(name: string, setting: Setting = {}) {
  const { operatorLocks = true, undoes = true, isBusy = false } = setting
  return model({
    name,
    shared: t => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      m: t.int32(CounterRwsem.words(3)),
      d: t.int32(
        { DEVICE_HOTPLUG_LOCK: 0, REGION: [1, 3], USERS: 3 },
        { init: words => words.fill(isBusy ? 1 : 0, USERS) },
      ),
    }),
    threads: [
      { name: 'eject', body: face => eject(face, undoes) },
      {
        name: 'user',
        body({ s, m, d, id }) {
          const mems = memHotplug(slotOf(s, id), m, true)
          mems.downRead()
          const isThere = load(d, REGION + 1) === ONLINE
          if (isThere) add(d, USERS, 1)
          mems.upRead()
          if (isThere) sub(d, USERS, 1)
        },
      },
      {
        name: 'operator',
        body({ s, m, d, id }) {
          const slot = slotOf(s, id)
          const device = new Mutex(slot, d, 0)
          if (operatorLocks) device.lock()
          change(memHotplug(slot, m, true), d, REGION, [OFFLINE, ONLINE])
          if (operatorLocks) device.unlock()
        },
      },
    ],
    atEnd: s => s.d.REGION.every(region => region === s.d.REGION[0] && region !== OFFLINE),
  })
}

/** Both stages, or the first and back, under the device lock. */
function eject({ s, m, d, id }: Face, undoes: boolean): void {
  const slot = slotOf(s, id)
  const mems = memHotplug(slot, m, true)
  const device = new Mutex(slot, d, 0)
  device.lock()
  change(mems, d, REGION, [ONLINE, OFFLINE])
  if (change(mems, d, REGION + 1, [ONLINE, OFFLINE])) {
    for (let i = 0; i < 2; i++) {
      const isThere = change(mems, d, REGION + i, [OFFLINE, REMOVED])
      assert(isThere, 'stage 2 removes memory that is online')
    }
  } else if (undoes) {
    const isThere = change(mems, d, REGION, [OFFLINE, ONLINE])
    assert(isThere, 'it came back before stage 1 was undone')
  }
  device.unlock()
}

/** Changes a region that is `from` and that nobody uses, as a writer; says whether it did. */
function change(mems: CounterRwsem, d: Words, region: number, [from, to]: Change): boolean {
  mems.downWrite()
  const isBusy = region === REGION + 1 && load(d, USERS) > 0
  const isChanged = !isBusy && compareExchange(d, region, from, to) === from
  mems.upWrite()
  return isChanged
}

/** Stage 2 with pmem in the package: it takes no device lock of its own, and waits for pins. */
function pmemInPackage(name: string, drainUnderLock: boolean) {
  return model({
    name,
    shared: t => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      m: t.int32(CounterRwsem.words(3)),
      r: t.int32(PercpuRef.words(3)),
      d: t.int32({ DEVICE_HOTPLUG_LOCK: 0, REGION: 1 }),
    }),
    threads: [
      {
        name: 'eject',
        body({ s, m, r, d, id }) {
          const slot = slotOf(s, id)
          const mems = memHotplug(slot, m, true)
          const pins = new PercpuRef(slot, r, 0)
          const device = new Mutex(slot, d, 0)
          device.lock()
          pins.kill()
          if (!drainUnderLock) pins.drain()
          mems.downWrite()
          if (drainUnderLock) pins.drain()
          store(d, 1, REMOVED)
          mems.upWrite()
          device.unlock()
        },
      },
      {
        name: 'dma',
        body({ s, m, r, d, id }) {
          const slot = slotOf(s, id)
          const mems = memHotplug(slot, m, true)
          const pins = new PercpuRef(slot, r, 0)
          if (!pins.tryGet()) return
          mems.downRead()
          const region = load(d, 1)
          assert(region === ONLINE, 'a pinned page was removed')
          mems.upRead()
          pins.put()
        },
      },
      {
        name: 'operator',
        body({ s, m, d, id }) {
          const slot = slotOf(s, id)
          const device = new Mutex(slot, d, 0)
          device.lock()
          const mems = memHotplug(slot, m, true)
          mems.downWrite()
          mems.upWrite()
          device.unlock()
        },
      },
    ],
    atEnd: s => s.d.REGION === REMOVED,
  })
}

/** Takes its two locks in the order that the kernel had for some weeks. */
class MemoryFirst extends HotplugLocks {
  override memHotplugBegin(): boolean {
    const memsDied = this.memHotplugLock.downWrite()
    return this.cpuHotplugLock.downRead() || memsDied
  }

  override memHotplugDone(): void {
    this.cpuHotplugLock.upRead()
    this.memHotplugLock.upWrite()
  }
}

/** Every thread has made its locks once before. */
function openEarly(words: Words): void {
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(3)))
  aliveThreads(s)
  for (let id = 0; id < 3; id++) new HotplugLocks(slotOf(s, id), words, null)
}

/** T8: slab reads both locks, CPU hotplug writes its own, memory hotplug takes both. */
function threeDeep(name: string, Form: typeof HotplugLocks) {
  const locksOf = (s: Words, h: Words, id: number): HotplugLocks => new Form(slotOf(s, id), h, null)
  return model({
    name,
    shared: t => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      h: t.int32(HotplugLocks.words(3), { init: openEarly }),
    }),
    threads: [
      {
        name: 'slab',
        body({ s, h, id }) {
          const locks = locksOf(s, h, id)
          locks.getOnlineCpus()
          locks.getOnlineMems()
          locks.putOnlineMems()
          locks.putOnlineCpus()
        },
      },
      {
        name: 'cpu hotplug',
        body({ s, h, id }) {
          const locks = locksOf(s, h, id)
          locks.cpuHotplugBegin()
          locks.cpuHotplugDone()
        },
      },
      {
        name: 'memory hotplug',
        body({ s, h, id }) {
          const locks = locksOf(s, h, id)
          locks.memHotplugBegin()
          locks.memHotplugDone()
        },
      },
    ],
  })
}

/** T9: a read section inside a read section, and a writer. */
const readInRead = model({
  name: 'T9: a fair lock read inside a read, beside a writer',
  shared: t => ({
    s: t.int32(Slots.words(2), { init: aliveThreads }),
    c: t.int32(PercpuRwsem.words(2)),
  }),
  threads: [
    {
      name: 'reader',
      body({ s, c, id }) {
        const cpus = new PercpuRwsem(slotOf(s, id), c, 0)
        cpus.downRead()
        cpus.downRead()
        cpus.upRead()
        cpus.upRead()
      },
    },
    {
      name: 'writer',
      body({ s, c, id }) {
        const cpus = new PercpuRwsem(slotOf(s, id), c, 0)
        cpus.downWrite()
        cpus.upWrite()
      },
    },
  ],
})

const REFCOUNT = 1
const LOCK = 2

/** T10: a last reader that does not get LOCK by try leaves a note and goes. */
class LeavesNotes extends CounterRwsem {
  private readonly notes: Words
  private readonly mutex: Mutex

  constructor(slot: Slot, m: Words, notes: Words) {
    super(slot, m, 0, { privateMutex: false })
    this.notes = notes
    this.mutex = new Mutex(slot, m, LOCK)
  }

  override upRead(): void {
    const held = this.mutex.tryLock()
    if (held === null) {
      add(this.notes, 0, 1)
      return
    }
    held.release()
    super.upRead()
  }

  override hasNoReaders(): boolean {
    const left = exchange(this.notes, 0, 0)
    if (left !== 0) sub(this.words, REFCOUNT, left)
    return super.hasNoReaders()
  }
}

const noteForASleeper = model({
  name: 'T10: a note left for a sleeper',
  shared: t => ({
    s: t.int32(Slots.words(2), { init: aliveThreads }),
    m: t.int32(CounterRwsem.words(2)),
    n: t.int32({ NOTES: 0 }),
  }),
  threads: [
    {
      name: 'reader',
      body({ s, m, n, id }) {
        const cpus = new LeavesNotes(slotOf(s, id), m, n)
        cpus.downRead()
        cpus.upRead()
      },
    },
    {
      name: 'writer',
      body({ s, m, n, id }) {
        const cpus = new LeavesNotes(slotOf(s, id), m, n)
        cpus.downWrite()
        cpus.upWrite()
      },
    },
  ],
})

export const models = [
  mustFail(someCallSites('the device lock at some call sites only', false), { kind: 'deadlock' }),
  someCallSites('the device lock at every call site', true),
  twoStages('nothing comes back between stage 1 and stage 2', true),
  mustFail(twoStages('an operator without the device lock', false), {
    kind: 'exception',
    message: /removes memory that is online/,
  }),
  stageOneMayFail('stage 1 may fail, and then all comes back'),
  mustFail(
    stageOneMayFail('stage 1 fails beside an operator without the device lock', {
      operatorLocks: false,
      isBusy: true,
    }),
    { kind: 'exception', message: /came back before stage 1 was undone/ },
  ),
  mustFail(stageOneMayFail('stage 1 fails, and is not undone', { undoes: false }), {
    kind: 'atEnd',
  }),
  pmemInPackage('pmem leaves once its pins are gone', false),
  mustFail(pmemInPackage('pins waited for under the memory lock', true), { kind: 'deadlock' }),
  threeDeep('T8: begin takes the CPU lock first', HotplugLocks),
  mustFail(threeDeep('T8: begin takes the memory lock first', MemoryFirst), {
    kind: 'deadlock',
    message: /slab, cpu hotplug, memory hotplug sleep for ever/,
  }),
  mustFail(readInRead, { kind: 'exception', message: /EDEADLK/ }),
  mustFail(noteForASleeper, { kind: 'deadlock' }),
]
