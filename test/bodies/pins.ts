/* Threads that hold memory; see src/mm/pins.test.ts. */
import { Slots } from '../../src/locking/slots.ts'
import { Pins } from '../../src/mm/pins.ts'
import type { VictimData } from '../kill.ts'
import { testOracle } from './locks.ts'
import { counted } from './victims.ts'

/** Shared memory of a test of pins. */
export interface PinData {
  readonly slots: Int32Array
  readonly pins: Int32Array
  /** The thread's id, as `testOracle` has it. */
  readonly tid: number
  /** One word: not 0 once `takeAndRelease` shall end. */
  readonly stop: Int32Array
}

function open({ slots, pins, tid }: PinData): Pins {
  return new Pins(new Slots(slots).attach(testOracle(tid)), pins)
}

/** Takes and releases until told to stop; page numbers and owner always belong together. */
export function takeAndRelease(data: PinData): void {
  const pins = open(data)
  for (let i = 1; Atomics.load(data.stop, 0) === 0; i++) {
    const pfn = data.tid * 1000 + (i % 1000)
    const record = pins.take({ pfn, nrPages: pfn, owner: `holder ${pfn}`, sinceMs: pfn * 2 ** 20 })
    if (record !== -1) pins.release(record)
  }
}

/** A take and a release, to be killed at each operation. */
export function holdOnce(victim: VictimData<PinData>): Promise<number> {
  const pins = open(victim.data)
  return counted(victim, () =>
    pins.release(pins.take({ pfn: 5, nrPages: 2, owner: 'doomed', sinceMs: 1 })),
  )
}

/** Takes a record, says so by ending; its slot stays taken as long as the record is held. */
export function takeAndDetach(data: PinData): void {
  const slot = new Slots(data.slots).attach(testOracle(data.tid))
  new Pins(slot, data.pins).take({ pfn: 5, nrPages: 2, owner: 'gone', sinceMs: 1 })
  slot.detach()
}
