/*
 * The locks that are tortured: how a thread makes each, and how it goes in as a writer or a reader.
 */
import type { AcquireOptions, Held } from '../../src/locking/acquire.ts'
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { Guard } from '../../src/locking/guard.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import type { Rwsem } from '../../src/locking/rwsem.ts'
import type { Recoverable, Slot } from '../../src/locking/slots.ts'
import { As } from './board.ts'
import type { Turn } from './turn.ts'

/** A lock as one thread has it. Turns that get nothing end without having been inside. */
export interface Opened {
  /** What a reaper tells of deaths. */
  readonly recoverables: readonly Recoverable[]
  /** Takes one turn, alone. */
  write(turn: Turn): void | Promise<void>
  /** Takes one turn beside other readers. */
  read?(turn: Turn): void | Promise<void>
}

/** A kind of lock. */
export interface Form {
  readonly hasReaders: boolean
  /** Words of shared memory that one takes. */
  nrWords(nrSlots: number): number
  /** Made once a thread, over the same words. */
  open(slot: Slot, words: Int32Array): Opened
  /** Said once before any thread opens it. */
  prepare?(words: Int32Array, hasBarrier: boolean): void
}

/** All forms that must pass, by name. */
export const FORMS: Readonly<Record<string, Form>> = {
  mutex: {
    hasReaders: false,
    nrWords: () => Mutex.WORDS,
    open: (slot, words) => {
      const mutex = new Mutex(slot, words, 0)
      const ways = mutexWays(mutex)
      return {
        recoverables: [mutex],
        write: turn => goIn(ways, turn, wasTold => turn.write(wasTold)),
      }
    },
  },
  'percpu-rwsem': {
    hasReaders: true,
    nrWords: nrSlots => PercpuRwsem.words(nrSlots),
    open: (slot, words) => openRwsem(new PercpuRwsem(slot, words, 0)),
  },
  'counter-rwsem': {
    hasReaders: true,
    nrWords: nrSlots => CounterRwsem.words(nrSlots),
    open: (slot, words) => openRwsem(new CounterRwsem(slot, words, 0, { privateMutex: true })),
  },
  'percpu-ref': {
    hasReaders: true,
    nrWords: nrSlots => BEHIND + PercpuRef.words(nrSlots),
    open: (slot, words) => openRef(new Mutex(slot, words, 0), new PercpuRef(slot, words, BEHIND)),
  },
  guard: {
    hasReaders: true,
    nrWords: nrSlots => BEHIND + Guard.words(nrSlots),
    prepare: (words, hasBarrier) =>
      Guard.choose(words, BEHIND, hasBarrier ? 'asymmetric' : 'portable'),
    open: (slot, words) => openGuard(new Mutex(slot, words, 0), new Guard(slot, words, BEHIND)),
  },
}

/** Where a thing begins that stands behind its writers' mutex. */
const BEHIND = 16
/** Index of the word that says which of two things the guard's readers find. */
const CURRENT = 1

/** No lock at all: what a run must find. */
const NOTHING: Form = {
  hasReaders: true,
  nrWords: () => 1,
  open: () => ({
    recoverables: [],
    write: turn => turn.write(false),
    read: turn => turn.read(),
  }),
}

const LONG_MS = 5

/** A mutex whose next owner does not hear that the last one died, long inside each time. */
const UNTOLD: Form = {
  hasReaders: false,
  nrWords: () => Mutex.WORDS,
  open: (slot, words) => {
    const mutex = new Mutex(slot, words, 0)
    const write = (turn: Turn): void => {
      mutex.lock()
      turn.board.change(false, () => turn.sleep(LONG_MS))
      turn.board.leave(turn.thread)
      mutex.unlock()
    }
    return { recoverables: [mutex], write }
  },
}

/** A form by name, broken ones included. */
export function formNamed(name: string): Form {
  const form = { ...FORMS, nothing: NOTHING, untold: UNTOLD }[name]
  if (form === undefined) throw new Error(`there is no form ${name}`)
  return form
}

/** The ways into a lock. */
interface Ways {
  block(): boolean
  unblock(): void
  try(): Held | null
  async(options: AcquireOptions): Promise<Held>
}

function mutexWays(mutex: Mutex): Ways {
  return {
    block: () => mutex.lock(),
    unblock: () => mutex.unlock(),
    try: () => mutex.tryLock(),
    async: options => mutex.lockAsync(options),
  }
}

function openRwsem(rwsem: Rwsem & Recoverable): Opened {
  const writing: Ways = {
    block: () => rwsem.downWrite(),
    unblock: () => rwsem.upWrite(),
    try: () => rwsem.tryDownWrite(),
    async: options => rwsem.downWriteAsync(options),
  }
  const reading: Ways = {
    block: () => rwsem.downRead(),
    unblock: () => rwsem.upRead(),
    try: () => rwsem.tryDownRead(),
    async: options => rwsem.downReadAsync(options),
  }
  return {
    recoverables: [rwsem],
    write: turn => goIn(writing, turn, wasTold => turn.write(wasTold)),
    read: turn => goIn(reading, turn, () => turn.read()),
  }
}

/** Whoever kills the reference and has seen it drained is alone. */
function openRef(mutex: Mutex, ref: PercpuRef): Opened {
  const killAndWrite = (turn: Turn, wasTold: boolean): void => {
    ref.kill()
    ref.drain()
    turn.write(wasTold)
    ref.revive()
  }
  return {
    recoverables: [mutex, ref],
    write: turn => goIn(mutexWays(mutex), turn, wasTold => killAndWrite(turn, wasTold)),
    read: turn => {
      if (!ref.tryGet()) return
      turn.read()
      ref.put()
    },
  }
}

/** Writers publish the one of two things and reuse the other; readers use what they find. */
function openGuard(mutex: Mutex, guard: Guard): Opened {
  const { words } = mutex
  const replace = (turn: Turn, wasTold: boolean): void => {
    const old = Atomics.load(words, CURRENT)
    Atomics.store(words, CURRENT, 1 - old)
    guard.synchronize()
    turn.reuse(old === 0 ? As.Reader : As.ReaderOfOther, wasTold)
  }
  return {
    recoverables: [mutex],
    write: turn => goIn(mutexWays(mutex), turn, wasTold => replace(turn, wasTold)),
    read: turn => {
      guard.enter()
      turn.use(words[CURRENT] === 0 ? As.Reader : As.ReaderOfOther)
      guard.leave()
    },
  }
}

/** Goes in by a random way, if it gets in. */
async function goIn(ways: Ways, turn: Turn, inside: (wasTold: boolean) => void): Promise<void> {
  switch (turn.way()) {
    case 'blocking':
      inside(ways.block())
      ways.unblock()
      return
    case 'try': {
      const held = ways.try()
      if (held !== null) leaveAfter(held, inside)
      return
    }
    case 'async':
      return leaveAfter(await ways.async({}), inside)
    case 'impatient': {
      const held = await ways.async({ timeoutMs: turn.patienceMs() }).catch(refuseButTimeout)
      if (held !== null) leaveAfter(held, inside)
    }
  }
}

function leaveAfter(held: Held, inside: (wasTold: boolean) => void): void {
  inside(held.ownerDied)
  held.release()
}

function refuseButTimeout(error: unknown): null {
  if ((error as { code?: string }).code === 'ETIMEDOUT') return null
  throw error
}
