/*
 * Threads of the demonstration that run under the checker's twin of the seam: one that searches,
 * and those that follow a schedule. Node chooses the twin when a thread starts.
 */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { loadChecks } from '../src/check/load.ts'
import type { Checkable } from '../src/check/model.ts'

/** Where a model is: the URL of the file that exports it, and its name. */
export interface ModelPlace {
  readonly file: string
  readonly name: string
}

/** What a model's search found. */
export interface Searched {
  readonly states: number
  readonly transitions: number
  readonly ms: number
  /** What a verdict is about. */
  readonly scope: string
  /** What the threads and the shared words are called. */
  readonly threads: readonly string[]
  readonly words: readonly string[]
  /** What the shared words are to begin with. */
  readonly initial: Int32Array
  /** The shortest failing schedule: as text, and whose turn it is. Null if it was proved. */
  readonly found: { readonly trace: string; readonly order: readonly number[] } | null
}

/** Searches a model in a thread of its own. */
export async function searchModel(place: ModelPlace): Promise<Searched> {
  const worker = startChecked('search', place)
  const [searched] = await once(worker, 'message')
  return searched as Searched
}

/** Starts `module` of this folder under the checker's twin of the seam. */
export function startChecked(module: string, data: unknown): Worker {
  const register = new URL('../src/check/register.js', import.meta.url).href
  return new Worker(new URL(`./${module}.js`, import.meta.url), {
    workerData: data,
    execArgv: ['--conditions=check', '--import', register],
  })
}

/** The model at a place. Call in a thread that `startChecked` started. */
export async function modelAt({ file, name }: ModelPlace): Promise<Checkable> {
  const loaded = await loadChecks([fileURLToPath(file)])
  const found = loaded.find(({ check }) => check.name === name)
  if (found === undefined) throw new Error(`${file} exports no model ${name}`)
  return found.check
}
