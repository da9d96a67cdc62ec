/* The service thread of a machine with memory. See arch/service-loop.ts and memory-duties.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { AddressSpace } from '../arch/address-space.ts'
import { linuxMemory } from '../arch/linux-memory.ts'
import { logicalMemory, type RealMemory } from '../arch/real-memory.ts'
import type { Arch, ServiceData } from '../arch/service.ts'
import { runService } from '../arch/service-loop.ts'
import type { MachineMemory } from './machine-memory.ts'
import { MemoryDuties } from './memory-duties.ts'

/** Notifiers are to be told something, by whoever runs operations. */
const OWED = { isOwed: true }

const data = workerData as ServiceData

await runService(data, async tools => {
  const memory = data.more as MachineMemory
  const space = new AddressSpace(memory.space, memory.control.geometry.blockSize)
  const real = await openMemory(memory.space, tools.arch)
  return new MemoryDuties(tools, memory, { space, real }, () => parentPort?.postMessage(OWED))
})

async function openMemory(buffer: SharedArrayBuffer, arch: Arch): Promise<RealMemory> {
  if (arch === 'portable') return logicalMemory(buffer, 'HOTPLUG_ARCH is portable')
  try {
    return await linuxMemory(buffer)
  } catch (error) {
    return logicalMemory(buffer, error instanceof Error ? error.message : String(error))
  }
}
