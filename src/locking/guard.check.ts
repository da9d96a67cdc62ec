/*
 * The access guard: what a reader looked up is not reused before it has left.
 *
 * A reader follows POINTER to OLD or NEW and must never read POISON; a waiter points away from OLD,
 * waits for a grace period and poisons it. Plain stores wait in buffers, plain loads may return
 * what they returned before, and under `arm` a plain store may overtake plain loads. Waiters look
 * again by time (`timeouts`), for readers wake nobody.
 */
import { loadPlain, store, type Words } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Guard, type GuardForm } from './guard.ts'
import { Slots } from './slots.ts'

const POINTER = 0
const OLD = 1
const NEW = 2
const POISON = 9

interface Setting {
  readonly form: GuardForm
  readonly memory: 'tso' | 'arm'
  readonly readers: number
  readonly waiters: number
  /** How often a reader enters. */
  readonly rounds?: number
  readonly deaths?: number
  readonly Form?: typeof Guard
}

/** Does not make the readers' E1 visible before it looks. */
class LooksAtOnce extends Guard {
  override barrier(step: 'S1' | 'S3'): void {
    if (step !== 'S1') super.barrier(step)
  }
}

/** Does not wait for what the readers that left have still to read. */
class ReusesAtOnce extends Guard {
  override barrier(step: 'S1' | 'S3'): void {
    if (step !== 'S3') super.barrier(step)
  }
}

/** Makes all visible, and waits for nobody. */
class WaitsForNobody extends Guard {
  override synchronize(): void {
    this.barrier('S1')
    this.barrier('S3')
  }
}

/** Enters again before it has left. */
class LeavesNothing extends Guard {
  override enter(): void {}
  override leave(): void {}
}

function read(guard: Guard, d: Words): void {
  guard.enter()
  const place = loadPlain(d, POINTER)
  const value = loadPlain(d, place)
  guard.leave()
  assert(value !== POISON, 'what a reader had looked up was reused')
}

function graced(name: string, setting: Setting) {
  const { form, memory, readers, waiters, rounds = 1, deaths = 0, Form = Guard } = setting
  const nrSlots = readers + waiters + (deaths > 0 ? 1 : 0)
  return model({
    name: `guard, ${form} on ${memory === 'tso' ? 'x86-64' : 'arm64'}: ${name}`,
    shared: t => ({
      s: t.int32(Slots.words(nrSlots), { init: aliveThreads }),
      g: t.int32(Guard.words(nrSlots), { init: words => Guard.choose(words, 0, form) }),
      d: t.int32(
        { POINTER: 0, OLD: 1, NEW: 2 },
        { init: words => words.set([OLD, 5, 6], POINTER) },
      ),
    }),
    threads: [
      {
        name: 'reader',
        count: readers,
        body({ s, g, d, id }) {
          const guard = new Form(slotOf(s, id), g, 0)
          for (let round = 0; round < rounds; round++) read(guard, d)
        },
      },
      {
        name: 'waiter',
        count: waiters,
        body({ s, g, d, id }) {
          const guard = new Form(slotOf(s, id), g, 0)
          store(d, POINTER, NEW)
          guard.synchronize()
          store(d, OLD, POISON)
        },
      },
      ...(deaths > 0
        ? [
            {
              name: 'reaper',
              daemon: true,
              body({ s, awaitDeath }: { s: Words; awaitDeath(): number }) {
                const dead = awaitDeath()
                new Slots(s).close(dead, 0)
              },
            },
          ]
        : []),
    ],
    memory,
    deaths,
    timeouts: true,
  })
}

const TWO_AND_TWO = { readers: 2, waiters: 2 } as const
const ONE_AND_ONE = { readers: 1, waiters: 1 } as const
const REUSED = { kind: 'exception', message: /was reused/ } as const

/** A slot's next thread makes no guard: what the last one left in its place holds up nobody. */
const leftBehind = model({
  name: 'guard: what the dead left behind holds up nobody',
  shared: t => ({
    s: t.int32(Slots.words(2), { init: aliveThreads }),
    g: t.int32(Guard.words(2)),
  }),
  threads: [
    {
      name: 'waiter',
      body({ s, g, id }) {
        new Guard(slotOf(s, id), g, 0).synchronize()
      },
    },
    {
      name: 'inside',
      body({ s, g, id }) {
        new Guard(slotOf(s, id), g, 0).enter()
        const slots = new Slots(s)
        slots.close(id, 0)
        slots.free(id, 0)
        slots.attach({ tid: 9, start: 9, exists: () => true })
      },
    },
  ],
  timeouts: true,
  atEnd: s => s.s[2 * 16] === ((1 << 2) | 1),
})

export const models = [
  graced('two readers, two waiters', { form: 'asymmetric', memory: 'tso', ...TWO_AND_TWO }),
  graced('two readers, two waiters', { form: 'asymmetric', memory: 'arm', ...TWO_AND_TWO }),
  graced('two readers, two waiters', { form: 'portable', memory: 'tso', ...TWO_AND_TWO }),
  graced('two readers, two waiters', { form: 'portable', memory: 'arm', ...TWO_AND_TWO }),
  graced('in again', { form: 'asymmetric', memory: 'tso', ...ONE_AND_ONE, rounds: 2 }),
  graced('in again', { form: 'asymmetric', memory: 'arm', ...ONE_AND_ONE, rounds: 2 }),
  graced('one dies', { form: 'asymmetric', memory: 'tso', ...TWO_AND_TWO, deaths: 1 }),
  graced('one dies', { form: 'portable', memory: 'tso', ...TWO_AND_TWO, deaths: 1 }),
  leftBehind,
  mustFail(
    graced('no barrier before it looks', {
      form: 'asymmetric',
      memory: 'tso',
      ...ONE_AND_ONE,
      Form: LooksAtOnce,
    }),
    REUSED,
  ),
  mustFail(
    graced('no barrier after it looked', {
      form: 'asymmetric',
      memory: 'arm',
      ...ONE_AND_ONE,
      Form: ReusesAtOnce,
    }),
    REUSED,
  ),
  mustFail(
    graced('waits for nobody', {
      form: 'asymmetric',
      memory: 'tso',
      ...ONE_AND_ONE,
      Form: WaitsForNobody,
    }),
    REUSED,
  ),
  mustFail(
    graced('readers say nothing', {
      form: 'portable',
      memory: 'tso',
      ...ONE_AND_ONE,
      Form: LeavesNothing,
    }),
    REUSED,
  ),
]
