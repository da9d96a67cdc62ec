/* The thread of thread.ts: runs one function and posts what it returned. */
import { parentPort, workerData } from 'node:worker_threads'
import type { ThreadData } from './thread.ts'

const { module, name, data } = workerData as ThreadData
const bodies = (await import(module)) as Record<string, (data: unknown) => unknown>
const body = bodies[name]
if (body === undefined) throw new Error(`${module} exports no ${name}`)
parentPort?.postMessage(await body(data))
