/*
 * Threads of the demonstration that run under the checker's twin of the seam: one that searches,
 * and those that follow a schedule. Node chooses the twin when a thread starts.
 */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { loadChecks } from '../src/check/load.ts'
import type { Checkable } from '../src/check/model.ts'

/** Where a model is: the file that exports it, and its name. */
export interface ModelPlace {
  readonly file: string
  readonly name: string
}

/** A model's proof, or its shortest failing schedule. */
export interface Searched {
  readonly states: number
  readonly transitions: number
  readonly ms: number
  /** What a verdict is about. */
  readonly scope: string
  /** What the threads and the shared words are called. */
  readonly threads: readonly string[]
  readonly words: readonly string[]
  readonly initial: Int32Array
  /** Null if it was proved. */
  readonly found: { readonly trace: string; readonly order: readonly number[] } | null
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
