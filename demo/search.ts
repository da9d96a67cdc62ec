/* A thread that searches one model and posts what it found. */
import { parentPort, workerData } from 'node:worker_threads'
import { type ModelPlace, modelAt, type Searched } from './checked.ts'

const model = await modelAt(workerData as ModelPlace)
const { states, transitions, ms, scope, found } = model.check()
const searched: Searched = {
  states,
  transitions,
  ms,
  scope,
  threads: model.description.threads.map(({ name }) => name),
  words: model.description.layout.names,
  initial: model.description.layout.initial,
  found: found && { trace: found.trace, order: found.steps.map(({ thread }) => thread) },
}
parentPort!.postMessage(searched)
