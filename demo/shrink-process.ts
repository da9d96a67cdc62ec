/*
 * One way to keep the records of act one, in a process of its own: threads that share them, told by
 * main what to do next. Prints what it measured.
 */
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { open } from 'lmdb'
import { Machine, type MachineHandle } from '../src/index.ts'
import { residentBytes } from './say.ts'
import type { Shrunk, Way } from './shrink.ts'
import { isKept, readWordnet } from './wordnet.ts'

/** What a thread is told. */
interface ThreadData {
  readonly way: Way
  readonly folder: string
  readonly handle: MachineHandle | null
  /** Which of how many: each loads and deletes a part of what is shared. */
  readonly nth: number
  readonly of: number
}

/** Records, kept in one way, as one thread has them. */
interface Store {
  set(key: string, value: string): void
  get(key: string): string | undefined
  delete(key: string): void
  settle?(): Promise<unknown>
}

/** So that what is garbage for a moment says little. */
const YOUNG_MIB = 2

type Command = 'begin' | 'load' | 'read' | 'delete' | 'settle' | 'check'

if (isMainThread) {
  const [way, of, folder] = process.argv.slice(2) as [Way, string, string]
  await main(way, Number(of), folder)
} else serve(workerData as ThreadData)

async function main(way: Way, of: number, folder: string): Promise<void> {
  const machine =
    way === 'hotplug' ? await Machine.boot({ memory: '64MiB', blockSize: '4MiB' }) : null
  const handle = machine?.handle ?? null
  const threads = Array.from({ length: of }, (_, nth) => {
    const data: ThreadData = { way, folder, handle, nth, of }
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MIB }
    return new Worker(new URL(import.meta.url), { workerData: data, resourceLimits })
  })
  const tell = async (command: Command): Promise<number> => {
    const said = threads.map(async thread => {
      thread.postMessage(command)
      return await new Promise<number>(resolve => thread.once('message', resolve))
    })
    return (await Promise.all(said)).reduce((a, b) => a + b)
  }
  /** Resident memory when nobody has garbage. */
  const settledBytes = async (): Promise<number> => {
    await tell('settle')
    collect()
    return residentBytes()
  }
  await tell('begin')
  const before = await settledBytes()
  const records = await tell('load')
  const misread = await tell('read')
  const loadedBytes = (await settledBytes()) - before
  await tell('delete')
  const returnedBytes = (await machine?.memory.resize('4MiB'))?.returnedBytes ?? 0
  const leftBytes = (await settledBytes()) - before
  const wrong = misread + (await tell('check'))
  const discards = machine?.capabilities.discard ?? false
  const result: Shrunk = { way, records, loadedBytes, leftBytes, returnedBytes, discards, wrong }
  console.log(JSON.stringify(result))
  await Promise.all(threads.map(thread => thread.terminate()))
  await machine?.shutdown()
}

/** Twice: what the first finds may let more go. */
function collect(): void {
  globalThis.gc?.()
  globalThis.gc?.()
}

function serve(data: ThreadData): void {
  const store = openStore(data)
  const isShared = data.way !== 'a Map per thread'
  const isMine = (i: number): boolean => !isShared || i % data.of === data.nth
  const run = async (command: Command): Promise<number> => {
    if (command === 'settle') {
      collect()
      return 0
    }
    let count = 0
    let i = -1
    for (const { key, value } of readWordnet()) {
      i++
      if (command === 'load' && isMine(i)) {
        store.set(key, value)
        count++
      } else if (command === 'read' && store.get(key) !== value) count++
      else if (command === 'delete' && isMine(i) && !isKept(i)) store.delete(key)
      else if (command === 'check') {
        if (store.get(key) !== (isKept(i) ? value : undefined)) count++
      }
    }
    await store.settle?.()
    return count
  }
  parentPort?.on('message', async (command: Command) => parentPort?.postMessage(await run(command)))
}

function openStore({ way, folder, handle }: ThreadData): Store {
  if (way === 'hotplug') return Machine.attach(handle!).map<string>('words', { codec: 'utf8' })
  if (way === 'a Map per thread') return new Map<string, string>()
  const db = open<string, string>({ path: join(folder, 'db'), encoding: 'string', noSync: true })
  let last: Promise<unknown> = Promise.resolve()
  return {
    set: (key, value) => void (last = db.put(key, value)),
    get: key => db.get(key),
    delete: key => void (last = db.remove(key)),
    settle: async () => await last,
  }
}
