import { equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { BarrierRequests } from '../../src/arch/barrier.ts'
import { Completion } from '../../src/locking/completion.ts'
import { Guard, type GuardForm } from '../../src/locking/guard.ts'
import { HotplugLocks } from '../../src/locking/hotplug-locks.ts'
import { Lockdep } from '../../src/locking/lockdep.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { Slots } from '../../src/locking/slots.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'
import { testOracle } from '../bodies/locks.ts'
import { killAtEach, type Progress } from '../kill.ts'
import { sharedWords, until } from '../thread.ts'
import { type CallVictim, enterAndWait, GHOST_TID, takeInOrder } from './calls.ts'
import { VICTIM_TID } from './victim.ts'

const CALLS = new URL('./calls.js', import.meta.url)
const NR_SLOTS = 5
const UNDER_LOCKDEP = ['underLockdep', 'lockdepMap']

/** Shared memory, as this thread plays two others over it. */
class Others {
  readonly data: CallVictim
  readonly table: Slots
  readonly slots = sharedWords(Slots.words(NR_SLOTS))
  readonly words = sharedWords(HotplugLocks.words(NR_SLOTS))
  readonly first
  readonly second

  constructor(call: string, machine: LocksHandle | null) {
    const lockdep = sharedWords(UNDER_LOCKDEP.includes(call) ? Lockdep.WORDS : 1)
    const { slots, words } = this
    this.data = { call, slots, words, lockdep, turns: sharedWords(2), machine }
    this.table = new Slots(this.slots)
    this.first = this.table.attach(testOracle(1))
    this.second = this.table.attach(testOracle(2))
  }

  reap(): void {
    const oracle = testOracle(1, [VICTIM_TID, GHOST_TID])
    for (let i = 0; i < NR_SLOTS; i++) this.table.reap(i, oracle)
  }
}

interface CallSweep<S extends Others> {
  begin(others: Others): S
  /** When the victim is ready to make its call. */
  ready?(state: S): void
  stride?: number
  /** See `CallVictim`. */
  machine?: LocksHandle
  meanwhile?(state: S, victim: Progress): Promise<void>
  check(state: S, died: boolean): void | Promise<void>
}

async function sweep<S extends Others>(call: string, options: CallSweep<S>) {
  const { begin, ready, meanwhile, machine = null, ...rest } = options
  const nrKilled = await killAtEach<S, CallVictim>({
    module: CALLS,
    name: 'makesCall',
    begin: () => begin(new Others(call, machine)),
    meanwhile: async (state, victim) => {
      const { turns } = state.data
      await until('the victim is ready', () => Atomics.load(turns, 0) === 1)
      ready?.(state)
      Atomics.store(turns, 1, 1)
      Atomics.notify(turns, 1)
      await meanwhile?.(state, victim)
    },
    ...rest,
  })
  ok(nrKilled > 0, `${call} has no operations`)
  return nrKilled
}

type WithCompletion = Others & { mine: Completion; theirs: Completion; passes: Promise<unknown> }

function withWaiter(others: Others): WithCompletion {
  const mine = new Completion(others.first, others.words, 0)
  const theirs = new Completion(others.second, others.words, 0)
  others.table.register(mine)
  const passes = theirs.waitAsync().catch((error: unknown) => error)
  return Object.assign(others, { mine, theirs, passes })
}

for (const call of ['complete', 'completeAll']) {
  test(`completion: ${call} is killed at every operation, and a waiter still passes`, async () => {
    await sweep(call, {
      begin: withWaiter,
      check: async state => {
        state.reap()
        state.mine[call as 'complete']()
        equal(await state.passes, undefined)
      },
    })
  })
}

for (const call of ['expect', 'completeAsExpected']) {
  test(`completion: in ${call} a completer is killed, and its waiter passes or is told`, async () => {
    await sweep(call, {
      begin: withWaiter,
      check: async state => {
        state.reap()
        if (call === 'expect') state.mine.complete()
        const outcome = await state.passes
        if (outcome === undefined) return
        equal((outcome as { code: string }).code, 'EOWNERDEAD')
        state.mine.complete()
        state.theirs.wait()
      },
    })
  })
}

/** How many are let through while the victim makes its call. */
const COMPLETED = { wait: 2, waitAsync: 2, reinit: 2, tryWait: 1, isDone: 1, waitInVain: 0 }
for (const [call, nrCompleted] of Object.entries(COMPLETED)) {
  test(`completion: ${call} is killed at every operation, and others go on`, async () => {
    await sweep(call, {
      begin: withWaiter,
      meanwhile: async (state, victim) => {
        await untilItSleeps(victim)
        for (let i = 0; i < nrCompleted; i++) state.mine.complete()
      },
      check: async state => {
        state.reap()
        state.mine.complete() // one at most has gone with the dead
        if (call === 'reinit') state.mine.complete()
        equal(await state.passes, undefined)
        state.mine.reinit()
        equal(state.theirs.tryWait(), false)
        state.mine.completeAll()
        state.theirs.wait()
      },
    })
  })
}

type WithRef = Others & { mine: PercpuRef; theirs: PercpuRef }

function withRef(others: Others): WithRef {
  const mine = new PercpuRef(others.first, others.words, 0)
  const theirs = new PercpuRef(others.second, others.words, 0)
  others.table.register(mine)
  return Object.assign(others, { mine, theirs })
}

async function refWorks({ mine, theirs }: WithRef): Promise<void> {
  mine.kill()
  await mine.drainAsync({ timeoutMs: 5000 })
  equal(theirs.tryGet(), false)
  theirs.drain()
  mine.revive()
  for (const one of [mine, theirs]) {
    ok(one.tryGet())
    one.put()
  }
  mine.kill()
  ok(theirs.tryDrain())
}

for (const call of ['tryGet', 'put', 'putAnothers', 'kill', 'revive']) {
  for (const isKilled of [false, true]) {
    const when = isKilled ? 'while another drains' : 'alone'
    test(`percpu-ref: ${call} is killed at every operation, ${when}`, async () => {
      await sweep(call, {
        begin: withRef,
        ready: ({ mine }) => {
          if (call === 'putAnothers') mine.tryGet()
          if (isKilled) mine.kill()
        },
        check: async state => {
          const drained = isKilled ? state.mine.drainAsync({ timeoutMs: 5000 }) : null
          state.reap()
          if (state.mine.isHeld()) state.mine.put()
          await drained?.catch((error: { code: string }) => {
            ok(call === 'revive', `${call}: ${error}`)
          })
          await refWorks(state)
        },
      })
    })
  }
}

for (const call of ['drain', 'drainAsync', 'drainInVain', 'tryDrain']) {
  test(`percpu-ref: ${call} is killed at every operation, and others drain`, async () => {
    await sweep(call, {
      begin: others => {
        const state = withRef(others)
        state.theirs.tryGet()
        state.mine.kill()
        return state
      },
      meanwhile: async (state, victim) => {
        await untilItSleeps(victim)
        if (call !== 'drainInVain') state.theirs.put()
      },
      check: async state => {
        state.reap()
        if (state.theirs.isHeld()) state.theirs.put()
        await refWorks(state)
      },
    })
  })
}

for (const call of ['attach', 'detach', 'reap']) {
  test(`slots: ${call} is killed at every operation, and no slot is lost`, async () => {
    await sweep(call, {
      begin: others => {
        if (call === 'reap') others.table.attach(testOracle(GHOST_TID))
        return others
      },
      check: state => {
        state.reap()
        for (let i = 2; i < NR_SLOTS; i++) state.table.attach(testOracle(10 + i))
        ok(state.table.isAlive(state.first.token) && state.table.isAlive(state.second.token))
      },
    })
  })
}

const GUARD_CALLS = [
  'enter',
  'leave',
  'synchronize',
  'synchronizeAsync',
  'synchronizeInVain',
  'trySynchronize',
]
for (const form of await formsHere()) {
  for (const call of GUARD_CALLS) {
    test(`guard, ${form}: ${call} is killed at every operation, and grace periods end`, async () => {
      await using locks = await Locks.boot()
      await sweep(call, {
        ...(form === 'asymmetric' && { machine: locks.handle }),
        begin: others => {
          const { first, second, words } = others
          Guard.choose(words, 0, form)
          const mine = new Guard(first, words, 0)
          equal(mine.form, form)
          return Object.assign(others, { mine, theirs: new Guard(second, words, 0) })
        },
        ready: ({ mine }) => mine.enter(),
        meanwhile: async ({ mine }, victim) => {
          await untilItSleeps(victim)
          if (call !== 'synchronizeInVain') mine.leave()
        },
        check: async state => {
          state.reap()
          if (state.mine.isInside()) state.mine.leave()
          await state.mine.synchronizeAsync({ timeoutMs: 5000 })
          state.mine.enter()
          await rejects(state.theirs.synchronizeAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
          state.mine.leave()
          state.theirs.synchronize()
        },
      })
    })
  }
}

/** Victims of the asymmetric form have their barriers from a machine, which must have some. */
async function formsHere(): Promise<GuardForm[]> {
  await using locks = await Locks.boot({ threads: 1 })
  return locks.capabilities.asymmetricFence ? ['asymmetric', 'portable'] : ['portable']
}

test('barrier: who asks is killed at every operation, and others are served', async () => {
  await sweep('barrier', {
    begin: others => Object.assign(others, { requests: new BarrierRequests(others.words, 0) }),
    meanwhile: async (state, victim) => {
      await untilItSleeps(victim)
      state.requests.serve(() => {})
    },
    check: ({ requests, words }) => {
      requests.serve(() => {})
      equal(words[0], words[1])
      requests.request({ ring: () => requests.serve(() => {}) }, () => {})
    },
  })
})

/** At which of so many operations each is killed. */
const LOCKS_CALLS = {
  memHotplugBegin: 1,
  memHotplugBoth: 1,
  memHotplugAsync: 1,
  tryMemHotplug: 1,
  wholeOrder: 1,
  wholeOrderAsync: 5,
  tryWholeOrder: 5,
  underLockdep: 61,
  lockdepMap: 61,
}
for (const [call, stride] of Object.entries(LOCKS_CALLS)) {
  const where = stride === 1 ? 'every operation' : `one of ${stride} operations`
  test(`hotplug locks: ${call} is killed at ${where}, and all goes on`, async () => {
    await sweep(call, { stride, begin: withLocks, check: locksWork })
  })
}

for (const call of ['memHotplugInVain', 'tryMemHotplug']) {
  test(`hotplug locks: ${call} beside a reader is killed at every operation`, async () => {
    await sweep(call, {
      begin: withLocks,
      ready: ({ mine }) => void mine.getOnlineMems(),
      check: async state => {
        state.reap()
        state.mine.putOnlineMems()
        await locksWork(state)
      },
    })
  })
}

type WithLocks = Others & { mine: HotplugLocks; theirs: HotplugLocks }

function withLocks(others: Others): WithLocks {
  const { first, second, words, data } = others
  const lockdep = UNDER_LOCKDEP.includes(data.call) ? data.lockdep : null
  const mine = new HotplugLocks(first, words, lockdep)
  const theirs = new HotplugLocks(second, words, lockdep)
  return Object.assign(others, { mine, theirs })
}

async function locksWork(state: WithLocks): Promise<void> {
  state.reap()
  for (const locks of [state.mine, state.theirs]) takeInOrder(locks)
  state.mine.memHotplugBegin()
  equal(state.theirs.tryGetOnlineMems(), null)
  equal(state.theirs.tryCpuHotplugBegin(), null)
  await rejects(state.theirs.getOnlineMemsAsync({ timeoutMs: 1 }), { code: 'ETIMEDOUT' })
  state.mine.memHotplugDone()
  takeInOrder(state.theirs)
  enterAndWait(state.mine)
}

function untilItSleeps(victim: Progress): Promise<void> {
  return until('the victim sleeps', () => victim.isOver() || victim.isAsleep())
}
