/*
 * Protocols whose figures are known from other tools and an earlier engine: if the search loses
 * states or a thread is misunderstood, they change.
 */
import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { hotplugCheck } from './stranger.test.fixture.ts'

const FUTEX = `
/** 0 free, 1 locked, 2 locked and others may sleep. */
export class Futex {
  constructor(m, at) {
    this.m = m
    this.at = at
  }
  lock() {
    let seen = Atomics.compareExchange(this.m, this.at, 0, 1)
    while (seen !== 0) {
      if (seen === 2 || Atomics.compareExchange(this.m, this.at, 1, 2) !== 0) {
        Atomics.wait(this.m, this.at, 2)
      }
      seen = Atomics.compareExchange(this.m, this.at, 0, 2)
    }
  }
  unlock() {
    if (Atomics.sub(this.m, this.at, 1) === 1) return
    Atomics.store(this.m, this.at, 0)
    Atomics.notify(this.m, this.at, 1)
  }
}
`

const MEMORY_HOTPLUG = `
import { Futex } from './futex.js'

const LOCK = 0, REFCOUNT = 1, WRITER = 2, PRIVATE = 3, WAKE = 4

/** The memory hotplug lock of 2014; with a private mutex, of 2017. */
export class MemHotplug {
  constructor(m, me, fixed) {
    this.m = m
    this.me = me
    this.mutex = new Futex(m, LOCK)
    this.own = fixed ? new Futex(m, PRIVATE) : null
  }
  get() {
    if (Atomics.load(this.m, WRITER) === this.me) return
    this.mutex.lock()
    Atomics.add(this.m, REFCOUNT, 1)
    this.mutex.unlock()
  }
  put() {
    if (Atomics.load(this.m, WRITER) === this.me) return
    this.mutex.lock()
    if (Atomics.sub(this.m, REFCOUNT, 1) === 1) {
      const writer = Atomics.load(this.m, WRITER)
      if (writer !== 0) {
        Atomics.add(this.m, WAKE + writer, 1)
        Atomics.notify(this.m, WAKE + writer, 1)
      }
    }
    this.mutex.unlock()
  }
  begin() {
    if (this.own !== null) this.own.lock()
    Atomics.store(this.m, WRITER, this.me)
    for (;;) {
      this.mutex.lock()
      if (Atomics.load(this.m, REFCOUNT) === 0) return
      const wakes = Atomics.load(this.m, WAKE + this.me)
      this.mutex.unlock()
      Atomics.wait(this.m, WAKE + this.me, wakes)
    }
  }
  done() {
    Atomics.store(this.m, WRITER, 0)
    this.mutex.unlock()
    if (this.own !== null) this.own.unlock()
  }
}
`

const MODELS = `
import { model } from 'hotplug/check'
import { MemHotplug } from './memhp.js'

const DATA = 4

const memhp = (readers, writers, fixed) => model({
  name: \`\${readers}R\${writers}W \${fixed ? 'fixed' : 'pre-patch'}\`,
  shared: t => ({
    m: t.int32({ LOCK: 0, REFCOUNT: 1, WRITER: 2, PRIVATE: 3, DATA, WAKE: [5, 5 + readers + writers] }),
  }),
  threads: [
    {
      name: 'reader',
      count: readers,
      body({ m, id, cs }) {
        const lock = new MemHotplug(m, id + 1, fixed)
        lock.get()
        cs('R')
        Atomics.load(m, DATA)
        cs('')
        lock.put()
      },
    },
    {
      name: 'writer',
      count: writers,
      body({ m, id, cs }) {
        const lock = new MemHotplug(m, id + 1, fixed)
        lock.begin()
        cs('W')
        lock.get()
        Atomics.store(m, DATA, id + 1)
        lock.put()
        cs('')
        lock.done()
      },
    },
  ].filter(({ count }) => count > 0),
  never: s => s.in('W') > 1 || (s.in('W') > 0 && s.in('R') > 0),
})

export const models = [
  memhp(0, 2, false), memhp(2, 2, false), memhp(1, 1, false), memhp(1, 2, true), memhp(2, 2, true),
]
`

const FILES = { 'futex.js': FUTEX, 'memhp.js': MEMORY_HOTPLUG, 'memhp.check.js': MODELS }

/** The part of a result that tests look at. */
interface Result {
  readonly name: string
  readonly ok: boolean
  readonly states: number
  readonly transitions: number
  readonly failure: { readonly kind: string; readonly schedule: string } | null
}

const results: readonly Result[] = JSON.parse(hotplugCheck(FILES, '--json').stdout)
const named = (name: string): Result => results.find(result => result.name === name) as Result

test('two writers of the counter form before its patch: 10 steps to a deadlock, 16 with readers', () => {
  const writers = named('0R2W pre-patch').failure
  const readers = named('2R2W pre-patch').failure

  deepEqual([writers?.kind, writers?.schedule], ['deadlock', '0001000011'])
  deepEqual([readers?.kind, readers?.schedule.length], ['deadlock', 16])
})

test('one writer of the form before the patch is proved', () => {
  equal(named('1R1W pre-patch').ok, true)
})

test('the patched form is proved, by as many states as were known', () => {
  deepEqual([named('1R2W fixed').ok, named('1R2W fixed').states], [true, 6317])
  deepEqual([named('2R2W fixed').ok, named('2R2W fixed').states], [true, 247474])
})
