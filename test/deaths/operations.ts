/* The thread that dies in operations on a machine's memory; see machine.test.ts. */

import { faultAt, faultOff } from '../../src/atomics/fault.ts'
import { Machine, type MachineHandle } from '../../src/index.ts'
import { codeOf, insides } from '../bodies/blocks.ts'
import { counted } from '../bodies/victims.ts'
import type { VictimData } from '../kill.ts'

/** The block that operations are about. */
export const BLOCK = 2

/** Which operation, and where. */
export interface OperationVictim {
  readonly handle: MachineHandle
  readonly operation: keyof typeof OPERATIONS
  /** [0] is set when the victim is ready, [1] when it shall begin. */
  readonly turns: Int32Array
}

/** What a victim does in the middle of which it dies. */
export const OPERATIONS = {
  add: ({ memory }: Machine) =>
    memory.add(memory.blockSize, { block: BLOCK, autoOnline: 'offline' }),
  online: ({ memory }: Machine) => memory.online(BLOCK, 'online_movable'),
  offline: ({ memory }: Machine) => memory.offline(BLOCK),
  remove: ({ memory }: Machine) => memory.remove(BLOCK),
  grow: ({ memory }: Machine) => memory.resize(memory.blockSize * 3),
  shrink: ({ memory }: Machine) => memory.resize(memory.blockSize * 2),
  walk: ({ memory }: Machine) => memory.walkBlocks(),
  buffer: (machine: Machine) => machine.buffer('128KiB', { owner: 'the dead' }),
} as const

/** Attaches, and makes one of `OPERATIONS`. */
export async function operates(victim: VictimData<OperationVictim>): Promise<number> {
  const { handle, operation } = victim.data
  const machine = Machine.attach(handle)
  await turn(victim.data)
  return await counted(victim, () => OPERATIONS[operation](machine))
}

/** As `operates`, but only what comes after the second of its transitions is counted. */
export async function ends(victim: VictimData<OperationVictim>): Promise<number> {
  const { handle, operation } = victim.data
  const machine = Machine.attach(handle)
  const { blocks } = insides(machine).hotplug
  const endChange = blocks.endChange.bind(blocks)
  let nrChanges = 0
  blocks.endChange = () => {
    if (++nrChanges === 2) faultAt(victim.n, victim.control)
    endChange()
  }
  const operate = async (on: Machine): Promise<unknown> => OPERATIONS[operation](on)
  await turn(victim.data)
  await codeOf(operate(machine)) // a veto, where the test asks for it
  return faultOff()
}

/** Attaches. */
export async function attaches(victim: VictimData<OperationVictim>): Promise<number> {
  await turn(victim.data)
  return await counted(victim, () => Machine.attach(victim.data.handle))
}

/** Leaves. */
export async function leaves(victim: VictimData<OperationVictim>): Promise<number> {
  const machine = Machine.attach(victim.data.handle)
  await turn(victim.data)
  return await counted(victim, () => machine.shutdown())
}

/** Gives back what it had taken. */
export async function releases(victim: VictimData<OperationVictim>): Promise<number> {
  const raw = Machine.attach(victim.data.handle).buffer('128KiB', { owner: 'the dead' })
  await turn(victim.data)
  return await counted(victim, () => raw.release())
}

async function turn({ turns }: OperationVictim): Promise<void> {
  Atomics.store(turns, 0, 1)
  Atomics.wait(turns, 1, 0)
}
