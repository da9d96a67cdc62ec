/* A thread that goes on with a map when its machine is shut down. */
import { type HotplugError, Machine, type MachineHandle } from '../../src/index.ts'

const WRITES_MAX = 100_000

/** Says when it has a map, waits for its turn, and tells what reading and writing come to. */
export function usesMapAfterwards(data: { handle: MachineHandle; turns: Int32Array }): string {
  const map = Machine.attach(data.handle).map<string>('m', { codec: 'utf8' })
  map.set('a', 'value')
  Atomics.store(data.turns, 0, 1)
  Atomics.notify(data.turns, 0)
  Atomics.wait(data.turns, 1, 0)
  const read = codeOf(() => map.get('b'))
  const write = codeOf(() => {
    for (let i = 0; i < WRITES_MAX; i++) map.set(`key${i}`, 'x'.repeat(1000))
  })
  return `${read} ${write}`
}

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'none'
  } catch (error) {
    return (error as HotplugError).code ?? String(error)
  }
}
