/* A thread of a model, with real operations on real shared memory, steered as far as told. */
import { workerData } from 'node:worker_threads'
import { viewsOver } from '../src/check/layout.ts'
import { type Driver, setDriver } from '../src/check/learn/driver.ts'
import { bodyOf } from '../src/check/run.ts'
import { type ModelPlace, modelAt } from './checked.ts'
import { Steering } from './steering.ts'

/** What a thread that follows a schedule is given. */
export interface FollowData {
  readonly place: ModelPlace
  readonly thread: number
  readonly memory: SharedArrayBuffer
  readonly steering: Int32Array
  readonly order: readonly number[]
}

const { place, thread, memory, steering: words, order } = workerData as FollowData
const { description } = await modelAt(place)
const views = Object.values(viewsOver(description.layout, memory))
const body = bodyOf(description, description.threads[thread]!, thread)
const all = new Int32Array(memory)
const steering = new Steering(words, order)

const follower: Driver = {
  operate(kind, { byteOffset }, index, a, b) {
    setDriver(null) // steering has operations of its own
    const result = steering.take(thread, kind, all, [byteOffset / 4 + index, a, b])
    setDriver(follower)
    return result
  },
  refuse() {},
}

setDriver(follower)
try {
  body(views, { cs: () => {}, awaitDeath: () => -1 })
} finally {
  setDriver(null)
  steering.end(thread)
}
