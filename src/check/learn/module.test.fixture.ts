/*
 * Modules made in tests: written to a folder of their own, transformed or as they are.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import './frames.ts'
import { transform } from './transform.ts'

const folder = mkdtempSync(join(tmpdir(), 'hotplug-learn-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

let nrModules = 0

/** The path of a new module of this name, with this code in it. */
export function writeModule(name: string, code: string): string {
  const path = join(folder, `${name}${nrModules++}.mjs`)
  writeFileSync(path, code)
  return path
}

/** Imports code as it is. */
export async function importPlain<T>(code: string): Promise<T> {
  return (await import(pathToFileURL(writeModule('plain', code)).href)) as T
}

/** Imports code as the load hook would. @returns Its exports, and its path. */
export async function importTransformed<T>(code: string): Promise<T & { path: string }> {
  const path = writeModule('module', '')
  const url = pathToFileURL(path).href
  writeFileSync(path, transform(code, url))
  return { ...((await import(url)) as T), path }
}
