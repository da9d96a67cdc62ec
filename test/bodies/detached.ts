/* A thread that goes on with a map when it has detached. */
import { type HotplugError, Machine, type MachineHandle } from '../../src/index.ts'

const WRITES = 100
/** Of 256 pages each: more than there are, if each kept its own. */
const LARGE_WRITES = 20

/** Has a map, detaches, and tells with which codes writing to it was refused, and how often. */
export async function setsDetached(handle: MachineHandle): Promise<[string[], number]> {
  const machine = Machine.attach(handle)
  const map = machine.map<Uint8Array>('detached', { codec: 'bytes' })
  await machine.shutdown()
  const codes: string[] = []
  const set = (key: string, value: Uint8Array): void => {
    try {
      map.set(key, value)
    } catch (error) {
      codes.push((error as HotplugError).code ?? String(error))
    }
  }
  const [small, large] = [Buffer.alloc(100), Buffer.alloc(2 ** 20)]
  for (let i = 0; i < WRITES; i++) set(`small${i}`, small)
  for (let i = 0; i < LARGE_WRITES; i++) set(`large${i}`, large)
  return [[...new Set(codes)], codes.length]
}
