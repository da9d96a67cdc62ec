/*
 * Every public way into and out of each lock, for sweeps of deaths. (`acquire`, `acquireRead` and
 * `acquireWrite` go in as the blocking ways do, and out as the others.)
 */
import type { AcquireOptions, Held } from '../../src/locking/acquire.ts'
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { Mutex } from '../../src/locking/mutex.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import type { Rwsem } from '../../src/locking/rwsem.ts'
import type { Recoverable, Slot } from '../../src/locking/slots.ts'

/** A way into a lock, and out of it. */
export interface Way {
  readonly name: string
  readonly isShared: boolean
  /** Never waits; says no, as null. */
  readonly tries: boolean
  /** Blocks the thread. */
  readonly blocks: boolean
  /**
   * Goes in. What comes back is for `end`.
   *
   * @param options When to give up, for ways that neither try nor block.
   */
  begin(options?: AcquireOptions): unknown
  end(held: unknown): void
  /** Whether `held` says that the last owner died inside. */
  wasTold(held: unknown): boolean
}

/** A lock of one thread. */
export interface Opened {
  readonly recoverable: Recoverable
  readonly ways: readonly Way[]
}

/** The kinds of locks: their size, and how a thread makes one. */
export const KINDS: Readonly<
  Record<string, { nrWords(nrSlots: number): number; open(slot: Slot, words: Int32Array): Opened }>
> = {
  mutex: { nrWords: () => Mutex.WORDS, open: openMutex },
  'percpu-rwsem': {
    nrWords: nrSlots => PercpuRwsem.words(nrSlots),
    open: (slot, words) => openRwsem(new PercpuRwsem(slot, words, 0)),
  },
  'counter-rwsem': {
    nrWords: nrSlots => CounterRwsem.words(nrSlots),
    open: (slot, words) => openRwsem(new CounterRwsem(slot, words, 0, { privateMutex: true })),
  },
}

/** The way of that name. */
export function wayOf({ ways }: Opened, name: string): Way {
  const way = ways.find(one => one.name === name)
  if (way === undefined) throw new Error(`no way ${name}`)
  return way
}

function openMutex(slot: Slot, words: Int32Array): Opened {
  const mutex = new Mutex(slot, words, 0)
  return {
    recoverable: mutex,
    ways: [
      blocking('lock', false, { begin: () => mutex.lock(), end: () => mutex.unlock() }),
      operation('tryLock', false, () => mutex.tryLock()),
      operation('lockAsync', false, options => mutex.lockAsync(options)),
    ],
  }
}

function openRwsem(lock: Rwsem & Recoverable): Opened {
  return {
    recoverable: lock,
    ways: [
      blocking('downRead', true, { begin: () => lock.downRead(), end: () => lock.upRead() }),
      operation('tryDownRead', true, () => lock.tryDownRead()),
      operation('downReadAsync', true, options => lock.downReadAsync(options)),
      blocking('downWrite', false, { begin: () => lock.downWrite(), end: () => lock.upWrite() }),
      operation('tryDownWrite', false, () => lock.tryDownWrite()),
      operation('downWriteAsync', false, options => lock.downWriteAsync(options)),
    ],
  }
}

function blocking(
  name: string,
  isShared: boolean,
  { begin, end }: { begin: () => boolean; end: () => void },
): Way {
  return { name, isShared, tries: false, blocks: true, begin, end, wasTold: held => held === true }
}

function operation(
  name: string,
  isShared: boolean,
  begin: (options?: AcquireOptions) => Held | null | Promise<Held>,
): Way {
  return {
    name,
    isShared,
    tries: name.startsWith('try'),
    blocks: false,
    begin,
    end: held => (held as Held | null)?.release(),
    wasTold: held => (held as Held | null)?.ownerDied === true,
  }
}
