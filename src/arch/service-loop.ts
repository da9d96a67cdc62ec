/*
 * What every service thread does: answers the bell, asks the kernel for barriers, and looks every
 * POLL_MS whether a thread that has a slot has died. See service.ts.
 *
 * A machine that has more than locks gives it more to do (`Duties`), a bounded piece at a time.
 */
import { parentPort } from 'node:worker_threads'
import { installBarrier, load, wait } from '#atomics'
import { HotplugLocks } from '../locking/hotplug-locks.ts'
import { Roll } from '../locking/roll.ts'
import { DOORBELL, type Slot, Slots, type ThreadOracle } from '../locking/slots.ts'
import { BarrierRequests } from './barrier.ts'
import { type Control, SERVICE_SLOT } from './control.ts'
import { membarrier } from './linux.ts'
import { openOracle } from './oracle.ts'
import type { Arch, ServiceData, ServiceReport } from './service.ts'

const POLL_MS = 50

/** What the service thread works with. */
export interface Tools {
  /** Its own. */
  readonly slot: Slot
  readonly locks: HotplugLocks
  readonly arch: Arch
  /** Serves those who wait for a barrier; to be called at least every millisecond. */
  serveBarriers(): void
}

/** What a service thread does beside. Each call is short: about a millisecond. */
export interface Duties {
  /** What `ServiceReport.more` says. */
  readonly report?: unknown
  /** Does a piece of what waits. @returns Whether more waits. */
  serve(): boolean
  /** Threads have died or detached since the last call, or this one is a successor. */
  recover(): void
  /** Now and then, when nothing else is to do. @returns Whether more waits. */
  tick(): boolean
  /** The machine is shut down. */
  stop(): void
}

/**
 * Runs the service thread until the machine is shut down.
 *
 * @param open Makes its further duties.
 */
export async function runService(
  { control, arch, form: chosen }: ServiceData,
  open?: (tools: Tools) => Duties | Promise<Duties>,
): Promise<void> {
  const { barrier, reason } = await openBarrier(arch)
  if (barrier !== null) installBarrier(barrier)
  else if (chosen === 'asymmetric') throw new Error(`the barrier is gone: ${reason}`)
  const form = chosen ?? (barrier === null ? 'portable' : 'asymmetric')
  const { oracle } = openOracle(arch, control.family)
  const slots = new Slots(control.slots)
  if (chosen === null) HotplugLocks.chooseGuard(control.locks, slots.nrSlots, form)
  const { slot, locks } = takeSlot(control, slots, oracle)
  const roll = new Roll(slots) // before `recover`: who goes meanwhile is seen
  const requests = new BarrierRequests(control.barrier, 0)
  const serveBarriers = (): void => {
    if (barrier !== null) requests.serve(barrier)
  }
  locks.guard.waiting.meanwhile = () => {
    serveBarriers()
    for (let i = 0; i < slots.nrSlots; i++) slots.reap(i, oracle)
  }
  const duties = await open?.({ slot, locks, arch, serveBarriers })
  duties?.recover()
  requests.start()
  const { tid, start } = oracle
  const report: ServiceReport = { form, reason, tid, start, more: duties?.report }
  parentPort?.postMessage(report)
  serve(control, { slots, roll, oracle, serveBarriers }, duties ?? IDLE)
}

const IDLE: Duties = { serve: () => false, recover: () => {}, tick: () => false, stop: () => {} }

/** Takes the service thread's slot, and lets go of what a predecessor held there. */
function takeSlot(
  control: Control,
  slots: Slots,
  oracle: ThreadOracle,
): { slot: Slot; locks: HotplugLocks } {
  slots.reap(SERVICE_SLOT, oracle)
  const slot = slots.attach(oracle, SERVICE_SLOT, SERVICE_SLOT + 1)
  const locks = new HotplugLocks(slot, control.locks, control.lockdep)
  if (slot.generation > 0) slots.close(SERVICE_SLOT, slot.generation - 1)
  return { slot, locks }
}

interface Loop {
  readonly slots: Slots
  readonly roll: Roll
  readonly oracle: ThreadOracle
  serveBarriers(): void
}

function serve(control: Control, loop: Loop, duties: Duties): void {
  const { slots, roll, oracle, serveBarriers } = loop
  let lookedAt = 0
  let hasMore = false
  for (;;) {
    const bell = load(control.slots, DOORBELL)
    const isLast = load(control.stop, 0) !== 0
    serveBarriers()
    if (isLast) break
    const isBusy = duties.serve()
    const now = performance.now()
    if (now - lookedAt >= POLL_MS) {
      lookedAt = now
      hasMore = true
      for (let i = 0; i < slots.nrSlots; i++) slots.reap(i, oracle)
      if (roll.hasChanged()) duties.recover()
    }
    if (hasMore && !isBusy) hasMore = duties.tick()
    if (!hasMore && !isBusy) wait(control.slots, DOORBELL, bell, POLL_MS)
  }
  duties.stop()
}

async function openBarrier(
  arch: Arch,
): Promise<{ barrier: (() => void) | null; reason: string | undefined }> {
  if (arch === 'portable') return { barrier: null, reason: 'HOTPLUG_ARCH is portable' }
  try {
    return { barrier: await membarrier(), reason: undefined }
  } catch (error) {
    return { barrier: null, reason: error instanceof Error ? error.message : String(error) }
  }
}
