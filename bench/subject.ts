/*
 * One measurement's process: `subject NAME THREADS`, started by locks.ts, with a heap and a
 * compiler state of its own. It tells its parent 'ready', and for each number of pairs that it is
 * told then, the nanoseconds that its threads took together for that many each.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { makeShared, type Shared, SUBJECTS } from './subjects.ts'

interface ThreadData {
  readonly name: string
  readonly thread: number
  readonly shared: Shared
}

type Round = readonly [beginNs: number, endNs: number]

if (isMainThread) coordinate(process.argv[2]!, Number(process.argv[3]))
else serve(workerData as ThreadData)

function coordinate(name: string, nrThreads: number): void {
  const shared = makeShared()
  const workers = Array.from({ length: nrThreads }, (_, thread) => {
    const data: ThreadData = { name, thread, shared }
    return new Worker(new URL(import.meta.url), { workerData: data })
  })
  process.on('message', async (nrPairs: number) => {
    const rounds = await Promise.all(workers.map(worker => round(worker, nrPairs)))
    const begin = Math.min(...rounds.map(([at]) => at))
    const end = Math.max(...rounds.map(([, at]) => at))
    process.send!(end - begin)
  })
  process.on('disconnect', () => process.exit())
  process.send!('ready')
}

function round(worker: Worker, nrPairs: number): Promise<Round> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (message: Round) => {
      worker.off('error', reject)
      resolve(message)
    })
    worker.postMessage(nrPairs)
  })
}

function serve({ name, thread, shared }: ThreadData): void {
  const pairs = SUBJECTS[name]!.make(shared, thread)
  parentPort!.on('message', async (nrPairs: number) => {
    const begin = nowNs()
    await pairs(nrPairs)
    parentPort!.postMessage([begin, nowNs()] satisfies Round)
  })
}

/** One clock for all threads. */
function nowNs(): number {
  return Number(process.hrtime.bigint())
}
