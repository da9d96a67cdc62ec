/*
 * Calls that are killed at each of their operations: what the victim does before, and the call.
 * All work on the same few shared words; see others.test.ts for who else is there.
 */
import { BarrierRequests } from '../../src/arch/barrier.ts'
import { Completion } from '../../src/locking/completion.ts'
import { Guard } from '../../src/locking/guard.ts'
import { HotplugLocks } from '../../src/locking/hotplug-locks.ts'
import { LockdepMap } from '../../src/locking/lockdep.ts'
import { PercpuRef } from '../../src/locking/percpu-ref.ts'
import { type Slot, Slots } from '../../src/locking/slots.ts'
import { Locks, type LocksHandle } from '../../src/locking.ts'
import { testOracle } from '../bodies/locks.ts'
import { counted } from '../bodies/victims.ts'
import type { VictimData } from '../kill.ts'
import { givesUp, VICTIM_TID } from './victim.ts'

/** The thread id of one that is dead from the beginning. */
export const GHOST_TID = 8

/** What the victim has in its hands. */
export interface Hands {
  readonly table: Slots
  readonly slot: Slot
  readonly words: Int32Array
  readonly lockdep: Int32Array
}

/** For calls whose time is up before they are granted anything. */
const BRIEFLY = { timeoutMs: 1 }

interface Call {
  before?(hands: Hands): void
  run(hands: Hands): unknown
}

function completion({ slot, words }: Hands): Completion {
  return new Completion(slot, words, 0)
}

function ref({ slot, words }: Hands): PercpuRef {
  return new PercpuRef(slot, words, 0)
}

function guard({ slot, words }: Hands): Guard {
  return new Guard(slot, words, 0)
}

function locks({ slot, words, lockdep }: Hands): HotplugLocks {
  return new HotplugLocks(slot, words, lockdep.length > 1 ? lockdep : null)
}

/** By name. Objects are made in the call too: making one is a public call. */
export const CALLS: Readonly<Record<string, Call>> = {
  complete: { run: hands => completion(hands).complete() },
  completeAll: { run: hands => completion(hands).completeAll() },
  completeAsExpected: {
    before: hands => completion(hands).expect(),
    run: hands => completion(hands).complete(),
  },
  expect: { run: hands => completion(hands).expect() },
  reinit: { run: hands => completion(hands).reinit() },
  wait: { run: hands => completion(hands).wait() },
  waitAsync: { run: hands => completion(hands).waitAsync() },
  waitInVain: { run: hands => givesUp(completion(hands).waitAsync(BRIEFLY)) },
  tryWait: { run: hands => completion(hands).tryWait() },
  isDone: { run: hands => completion(hands).isDone() },

  tryGet: { run: hands => ref(hands).tryGet() },
  put: { before: hands => void ref(hands).tryGet(), run: hands => ref(hands).put() },
  putAnothers: { run: hands => ref(hands).put(hands.table.tokenAt(0)) },
  kill: { run: hands => ref(hands).kill() },
  revive: { before: hands => void ref(hands).kill(), run: hands => ref(hands).revive() },
  drain: { run: hands => ref(hands).drain() },
  drainAsync: { run: hands => ref(hands).drainAsync() },
  drainInVain: { run: hands => givesUp(ref(hands).drainAsync(BRIEFLY)) },
  tryDrain: { run: hands => ref(hands).tryDrain() },

  attach: { run: ({ table }) => table.attach(testOracle(VICTIM_TID)) },
  detach: { run: ({ slot }) => slot.detach() },
  reap: { run: ({ table }) => reapAll(table) },

  enter: { run: hands => guard(hands).enter() },
  leave: {
    before: hands => guard(hands).enter(),
    run: hands => guard(hands).leave(),
  },
  synchronize: { run: hands => guard(hands).synchronize() },
  synchronizeAsync: { run: hands => guard(hands).synchronizeAsync() },
  synchronizeInVain: { run: hands => givesUp(guard(hands).synchronizeAsync(BRIEFLY)) },
  trySynchronize: { run: hands => guard(hands).trySynchronize(3) },

  barrier: {
    run: ({ table, words }) => new BarrierRequests(words, 0).request(table, () => {}),
  },

  memHotplugBegin: { run: hands => locks(hands).memHotplugBegin() },
  memHotplugBoth: {
    run: hands => {
      const held = locks(hands)
      held.memHotplugBegin()
      held.memHotplugDone()
    },
  },
  memHotplugAsync: {
    run: async hands => (await locks(hands).memHotplugBeginAsync()).release(),
  },
  memHotplugInVain: { run: hands => givesUp(locks(hands).memHotplugBeginAsync(BRIEFLY)) },
  tryMemHotplug: { run: hands => locks(hands).tryMemHotplugBegin()?.release() },
  wholeOrder: { run: hands => takeInOrder(locks(hands)) },
  wholeOrderAsync: { run: hands => takeInOrderAsync(locks(hands)) },
  tryWholeOrder: { run: hands => tryInOrder(locks(hands)) },
  underLockdep: { run: hands => takeTwo(locks(hands)) },
  lockdepMap: { run: hands => enterAndWait(locks(hands)) },
}

function reapAll(table: Slots): void {
  for (let i = 0; i < table.nrSlots; i++) table.reap(i, testOracle(VICTIM_TID, [GHOST_TID]))
}

/** Takes and releases all locks of the machine, outermost first. */
export function takeInOrder(held: HotplugLocks): void {
  held.lockDeviceHotplug()
  held.cpuMapsUpdateBegin()
  held.cpuHotplugBegin()
  held.cpuHotplugDone()
  held.cpuMapsUpdateDone()
  held.memHotplugBegin()
  held.memHotplugDone()
  held.getOnlineCpus()
  held.getOnlineMems()
  held.putOnlineMems()
  held.putOnlineCpus()
  held.unlockDeviceHotplug()
}

/** As `takeInOrder`, by operations of the event loop. */
async function takeInOrderAsync(held: HotplugLocks): Promise<void> {
  const devices = await held.lockDeviceHotplugAsync()
  const maps = await held.cpuMapsUpdateBeginAsync()
  ;(await held.cpuHotplugBeginAsync()).release()
  maps.release()
  ;(await held.memHotplugBeginAsync()).release()
  const cpus = await held.getOnlineCpusAsync()
  ;(await held.getOnlineMemsAsync()).release()
  cpus.release()
  devices.release()
}

/** As `takeInOrder`, by what never waits. */
function tryInOrder(held: HotplugLocks): void {
  const devices = held.tryLockDeviceHotplug()
  const maps = held.tryCpuMapsUpdateBegin()
  held.tryCpuHotplugBegin()?.release()
  maps?.release()
  held.tryMemHotplugBegin()?.release()
  const cpus = held.tryGetOnlineCpus()
  held.tryGetOnlineMems()?.release()
  cpus?.release()
  devices?.release()
}

/** Works where others wait for the end of it, then waits itself, with a lock held. */
export function enterAndWait(held: HotplugLocks): void {
  const map = new LockdepMap(held.lockdep, 'work')
  const work = map.enter()
  held.cpuMapsUpdateBegin()
  held.cpuMapsUpdateDone()
  work.release()
  held.lockDeviceHotplug()
  map.willWait()
  held.unlockDeviceHotplug()
}

/** Takes two locks in their order, which lockdep learns. */
function takeTwo(held: HotplugLocks): void {
  held.lockDeviceHotplug()
  held.cpuMapsUpdateBegin()
  held.cpuMapsUpdateDone()
  held.unlockDeviceHotplug()
}

/** Which call on which memory. */
export interface CallVictim {
  readonly call: string
  readonly slots: Int32Array
  readonly words: Int32Array
  readonly lockdep: Int32Array
  /** [0] is set when the victim is ready, [1] when it shall begin. */
  readonly turns: Int32Array
  /** Of a machine whose barriers the victim asks for; null: it needs none. */
  readonly machine: LocksHandle | null
}

/** The victim: makes one of `CALLS`. */
export async function makesCall(victim: VictimData<CallVictim>): Promise<number> {
  const { call, slots, words, lockdep, turns, machine } = victim.data
  if (machine !== null) Locks.attach(machine)
  const table = new Slots(slots)
  const slot = table.attach(testOracle(VICTIM_TID))
  const hands = { table, slot, words, lockdep }
  const { before, run } = CALLS[call]!
  before?.(hands)
  Atomics.store(turns, 0, 1)
  Atomics.wait(turns, 1, 0)
  return counted(victim, () => run(hands))
}
