/* What threads of the reader-writer semaphores' tests do. */
import { CounterRwsem } from '../../src/locking/counter-rwsem.ts'
import { PercpuRwsem } from '../../src/locking/percpu-rwsem.ts'
import type { Rwsem } from '../../src/locking/rwsem.ts'
import { type Recoverable, type Slot, Slots } from '../../src/locking/slots.ts'
import { testOracle } from './locks.ts'

/** Forms of the hotplug lock that must pass the same tests. */
export type RwsemForm = 'percpu' | 'counter'

/** Shared memory of one test. `words` begins with what the lock protects. */
export interface RwsemData {
  readonly form: RwsemForm
  readonly slots: Int32Array
  readonly words: Int32Array
  /** The caller's thread id, as `testOracle` has it. */
  readonly tid: number
  readonly rounds?: number
}

/** Words before the lock's own: readers inside. */
export const READING = 0
/** Writers inside. */
export const WRITING = 1
/** How often somebody was inside who should not. */
export const OVERLAPS = 2
/** What writers count up. */
export const COUNT = 3
/** How far the test is. */
export const STAGE = 4
/** Nobody wakes who sleeps here. */
export const NEVER = 5
const RWSEM = 16

/** Words that a test of `form` needs. */
export function nrWords(form: RwsemForm, nrSlots: number): number {
  return RWSEM + (form === 'percpu' ? PercpuRwsem : CounterRwsem).words(nrSlots)
}

/** A thread's lock over the test's words. */
export function rwsemOf(form: RwsemForm, slot: Slot, words: Int32Array): Rwsem & Recoverable {
  if (form === 'percpu') return new PercpuRwsem(slot, words, RWSEM)
  return new CounterRwsem(slot, words, RWSEM, { privateMutex: true, name: 'rwsem' })
}

function open(data: RwsemData): { rwsem: Rwsem; slot: Slot } {
  const slot = new Slots(data.slots).attach(testOracle(data.tid))
  return { slot, rwsem: rwsemOf(data.form, slot, data.words) }
}

function read(words: Int32Array): void {
  Atomics.add(words, READING, 1)
  if (Atomics.load(words, WRITING) !== 0) Atomics.add(words, OVERLAPS, 1)
  Atomics.sub(words, READING, 1)
}

function write(words: Int32Array): void {
  if (Atomics.add(words, WRITING, 1) !== 0) Atomics.add(words, OVERLAPS, 1)
  words[COUNT] = (words[COUNT] as number) + 1
  if (Atomics.load(words, READING) !== 0) Atomics.add(words, OVERLAPS, 1)
  Atomics.sub(words, WRITING, 1)
}

/** Reads three times and writes once, again and again. */
export function readAndWrite(data: RwsemData): void {
  const { rwsem, slot } = open(data)
  for (let i = 0; i < (data.rounds ?? 0); i++) {
    for (let j = 0; j < 3; j++) {
      rwsem.downRead()
      read(data.words)
      rwsem.upRead()
    }
    rwsem.downWrite()
    write(data.words)
    rwsem.upWrite()
  }
  slot.detach()
}

/** As `readAndWrite`, by three operations of one event loop, one of them impatient. */
export async function readAndWriteAsync(data: RwsemData): Promise<number> {
  const { rwsem, slot } = open(data)
  let nrWrites = 0
  const operate = async (timeoutMs: number | undefined): Promise<void> => {
    for (let i = 0; i < (data.rounds ?? 0); i++) {
      const reading = await rwsem.downReadAsync({ timeoutMs }).catch(refuseButTimeout)
      await null
      if (reading !== null) read(data.words)
      reading?.release()
      const writing = await rwsem.downWriteAsync({ timeoutMs }).catch(refuseButTimeout)
      if (writing === null) continue
      nrWrites++
      write(data.words)
      await null
      writing.release()
    }
  }
  await Promise.all([operate(undefined), operate(undefined), operate(1)])
  slot.detach()
  return nrWrites
}

/** Goes in, says so in STAGE, and stays. */
export function readForEver(data: RwsemData): void {
  open(data).rwsem.downRead()
  Atomics.store(data.words, STAGE, 1)
  Atomics.wait(data.words, NEVER, 0)
}

/** As `readForEver`, as a writer. */
export function writeForEver(data: RwsemData): void {
  open(data).rwsem.downWrite()
  Atomics.store(data.words, STAGE, 1)
  Atomics.wait(data.words, NEVER, 0)
}

/** Says so in STAGE and goes in as a reader; returns whether a writer died. */
export function readOnce(data: RwsemData): boolean {
  const { rwsem } = open(data)
  Atomics.add(data.words, STAGE, 1)
  const ownerDied = rwsem.downRead()
  rwsem.upRead()
  return ownerDied
}

/** As `readOnce`, as a writer. */
export function writeOnce(data: RwsemData): boolean {
  const { rwsem } = open(data)
  Atomics.add(data.words, STAGE, 1)
  const ownerDied = rwsem.downWrite()
  rwsem.upWrite()
  return ownerDied
}
function refuseButTimeout(error: unknown): null {
  if ((error as { code?: string }).code === 'ETIMEDOUT') return null
  throw error
}
