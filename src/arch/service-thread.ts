/* The service thread of a machine that has only locks. See service-loop.ts. */
import { workerData } from 'node:worker_threads'
import type { ServiceData } from './service.ts'
import { runService } from './service-loop.ts'

await runService(workerData as ServiceData)
