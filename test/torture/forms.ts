/*
 * The locks that are tortured: how a thread makes each, and how it goes in as a writer or a reader.
 */
import { Mutex } from '../../src/locking/mutex.ts'
import type { Recoverable, Slot } from '../../src/locking/slots.ts'
import type { Turn } from './turn.ts'

/** A lock as one thread has it. */
export interface Opened {
  /** What a reaper tells of deaths. */
  readonly recoverables: readonly Recoverable[]
  /** Takes one turn, alone. */
  write(turn: Turn): void
  /** Takes one turn beside other readers. */
  read?(turn: Turn): void
}

/** A kind of lock. */
export interface Form {
  readonly hasReaders: boolean
  /** Words of shared memory that one takes. */
  nrWords(nrSlots: number): number
  /** Made once a thread, over the same words. */
  open(slot: Slot, words: Int32Array): Opened
}

/** All forms that must pass, by name. */
export const FORMS: Readonly<Record<string, Form>> = {
  mutex: {
    hasReaders: false,
    nrWords: () => Mutex.WORDS,
    open: (slot, words) => {
      const mutex = new Mutex(slot, words, 0)
      return { recoverables: [mutex], write: turn => writeUnder(mutex, turn) }
    },
  },
}

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

/** A mutex whose next owner does not hear that the last one died. */
const UNTOLD: Form = {
  hasReaders: false,
  nrWords: () => Mutex.WORDS,
  open: (slot, words) => {
    const mutex = new Mutex(slot, words, 0)
    const write = (turn: Turn): void => {
      mutex.lock()
      turn.write(false)
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

function writeUnder(mutex: Mutex, turn: Turn): void {
  const wasTold = mutex.lock()
  turn.write(wasTold)
  mutex.unlock()
}
