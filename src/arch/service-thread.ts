/*
 * The service thread: answers the bell, asks the kernel for barriers, and looks every POLL_MS
 * whether a thread that has a slot has died. See service.ts.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { installBarrier, load, wait } from '#atomics'
import { HotplugLocks } from '../locking/hotplug-locks.ts'
import { DOORBELL, Slots, type ThreadOracle } from '../locking/slots.ts'
import { BarrierRequests } from './barrier.ts'
import { type Control, SERVICE_SLOT } from './control.ts'
import { membarrier } from './linux.ts'
import { openOracle } from './oracle.ts'
import type { Arch, ServiceData, ServiceReport } from './service.ts'

const POLL_MS = 50

/** What the service thread works with. */
interface Tools {
  readonly slots: Slots
  readonly oracle: ThreadOracle
  /** Null: there is none, and nobody asks. */
  readonly barrier: (() => void) | null
}

await main(workerData as ServiceData)

async function main({ control, arch, form: chosen }: ServiceData): Promise<void> {
  const { barrier, reason } = await openBarrier(arch)
  if (barrier !== null) installBarrier(barrier)
  else if (chosen === 'asymmetric') throw new Error(`the barrier is gone: ${reason}`)
  const form = chosen ?? (barrier === null ? 'portable' : 'asymmetric')
  const { oracle } = openOracle(arch, control.family)
  const slots = new Slots(control.slots)
  if (chosen === null) HotplugLocks.chooseGuard(control.locks, slots.nrSlots, form)
  takeSlot(control, slots, oracle)
  const { tid, start } = oracle
  const report: ServiceReport = { form, reason, tid, start }
  parentPort?.postMessage(report)
  serve(control, { slots, oracle, barrier })
}

/** Takes the service thread's slot, and lets go of what a predecessor held there. */
function takeSlot(control: Control, slots: Slots, oracle: ThreadOracle): void {
  slots.reap(SERVICE_SLOT, oracle)
  const slot = slots.attach(oracle, SERVICE_SLOT, SERVICE_SLOT + 1)
  new HotplugLocks(slot, control.locks, control.lockdep)
  if (slot.generation > 0) slots.close(SERVICE_SLOT, slot.generation - 1)
}

function serve(control: Control, { slots, oracle, barrier }: Tools): void {
  const requests = new BarrierRequests(control.barrier, 0)
  requests.start()
  let reapedAt = 0
  for (;;) {
    const bell = load(control.slots, DOORBELL)
    const isLast = load(control.stop, 0) !== 0
    if (barrier !== null) requests.serve(barrier)
    if (isLast) return
    const now = performance.now()
    if (now - reapedAt >= POLL_MS) {
      for (let i = 0; i < slots.nrSlots; i++) slots.reap(i, oracle)
      reapedAt = now
    }
    wait(control.slots, DOORBELL, bell, POLL_MS)
  }
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
