/*
 * The end of a machine's memory beside who reads and who writes: nobody reads what has left, and
 * nobody writes it. What leaves is poisoned.
 */
import { add, fillPlain, load, notify, store, type Words } from '#atomics'
import {
  bucket,
  contextOf,
  type Face,
  OLD,
  POISON,
  DONE as STOP,
  select,
  set,
  type Thread,
} from '../../test/litmus/map.ts'
import type { Seen } from '../../test/litmus/map-ends.ts'
import { mustFail } from '../check/model.ts'
import { MapCore } from '../collections/map-core.ts'
import { ABSENT, LARGE } from '../collections/reader.ts'
import { assert } from '../lib/assert.ts'
import { type Geometry, type MemoryControl, WRITE_PROTECT_EVENT } from '../mm/geometry.ts'
import { withdrawPages } from './withdraw.ts'

/** Words of a page that has left, of which none may be written. */
const POISONED_WORDS = 8
const LARGE_BYTES = 40
const STOPPED = 'stopped'

type Withdraw = typeof withdrawPages

/** A map of a machine that may be shut down. */
function mapOf(face: Face): MapCore {
  const assertOpen = (): void => {
    const stop = load(face.h, STOP)
    if (stop !== 0) throw new Error(STOPPED)
  }
  return new MapCore({ ...contextOf(face), assertOpen, onWait: assertOpen }, 0)
}

/** Runs until the machine stops. */
function untilStopped(body: () => void): void {
  try {
    body()
  } catch (error) {
    if (!(error instanceof Error) || error.message !== STOPPED) throw error
  }
}

function service(withdraw: Withdraw, waits: boolean): Thread {
  return {
    name: 'service',
    body: face => {
      const { guard, memory } = contextOf(face)
      const { nrFrames, pageWords } = memory.geometry
      store(face.h, STOP, 1) // E1
      fillPlain(face.f, (nrFrames - 1) * pageWords, 0, pageWords)
      withdraw(memory, nrFrames - 1) // E2
      add(face.e, WRITE_PROTECT_EVENT, 1)
      notify(face.e, WRITE_PROTECT_EVENT)
      if (waits) guard.synchronize() // E3
      poison(face.f, memory.geometry) // E4
    },
  }
}

/** The first words of each page that maps may have: of all but the page of zeros. */
function poison(words: Words, { memmapPages, nrFrames, pageWords }: Geometry): void {
  for (let pfn = memmapPages; pfn < nrFrames - 1; pfn++) {
    for (let i = 0; i < POISONED_WORDS; i++) store(words, pfn * pageWords + i, POISON)
  }
}

/** Reads key 1: all of its value is `byte`; or there is nothing, and the machine stops. */
function reader(byte: number): Thread {
  return {
    name: 'reader',
    body: face =>
      untilStopped(() => {
        const core = mapOf(face)
        select(core, 1)
        const nrBytes = core.read()
        const value = nrBytes === LARGE ? core.readLarge() : smallValue(core, nrBytes)
        const stop = load(face.h, STOP)
        if (value === null) assert(stop === 1, 'a key is lost of a machine that is')
        else for (const each of value) assert(each === byte, 'a reader found what has left')
      }),
  }
}

function smallValue(core: MapCore, nrBytes: number): Iterable<number> | null {
  return nrBytes === ABSENT ? null : [core.value[0]!]
}

const READER = reader(OLD + 1)
/** Of a value that is on pages of its own. */
const LARGE_READER = reader(1)

const REPLACER: Thread = {
  name: 'writer',
  body: face => untilStopped(() => set(mapOf(face), 1, 7)),
}

/** Key 1 has a large value of ones. */
function seedLarge(face: Face): void {
  const core = new MapCore(contextOf(face), 0)
  select(core, 1)
  core.writeLarge(new Uint8Array(LARGE_BYTES).fill(1), null)
  core.heap.close()
}

/** Nobody has written what had left: pages 2 to 6, of 32 words. */
function isPoisoned({ f }: Seen): boolean {
  for (let pfn = 2; pfn <= 6; pfn++) {
    for (let i = 0; i < POISONED_WORDS; i++) if (f[pfn * 32 + i] !== POISON) return false
  }
  return true
}

const SETTING = { keys: [1], isCut: true, also: isPoisoned }
const LARGE_SETTING = { isCut: true, isSmall: true, seed: seedLarge }

/** Pages keep their frames. */
function protectsOnly(memory: MemoryControl): void {
  withdrawPages(memory, -1)
}

/** Pages are not write-protected: those of before stay as they are. */
function withdrawsNothing(): void {}

export const models = [
  bucket('the machine ends beside a reader', [service(withdrawPages, true), READER], SETTING),
  bucket('the machine ends beside a writer', [service(withdrawPages, true), REPLACER], SETTING),
  bucket(
    'the machine ends beside a reader of a large value',
    [service(withdrawPages, true), LARGE_READER],
    LARGE_SETTING,
  ),
  mustFail(
    bucket('the machine ends, pages keep frames', [service(protectsOnly, true), READER], SETTING),
    { kind: 'exception' },
  ),
  mustFail(
    bucket('the machine ends without a grace period', [service(withdrawPages, false), READER], {
      ...SETTING,
    }),
    { kind: 'exception' },
  ),
  mustFail(
    bucket(
      'the machine ends, nothing is protected',
      [service(withdrawsNothing, true), REPLACER],
      SETTING,
    ),
    { kind: 'atEnd' },
  ),
]
