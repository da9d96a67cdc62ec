/*
 * Finds the models that files export.
 */
import { readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { HotplugError } from '../lib/errors.ts'
import type { Checkable } from './model.ts'

const CHECK_FILE = /\.check\.m?js$/

/**
 * The check files below the given folders, and the given files.
 *
 * @throws {HotplugError} `ENOENT`: there is no such file or folder.
 */
export function findChecks(paths: readonly string[]): string[] {
  return paths.flatMap(path => {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined)
      throw new HotplugError('ENOENT', `check ${path}`, 'there is no such file')
    return found.isDirectory() ? findIn(path) : [resolve(path)]
  })
}

function findIn(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true })
  return entries.flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return /^(\.|node_modules$)/.test(entry.name) ? [] : findIn(path)
    return CHECK_FILE.test(entry.name) ? [resolve(path)] : []
  })
}

/** A model and the file that exports it. */
export interface Loaded {
  readonly file: string
  readonly check: Checkable
}

/**
 * All models that the files' exports hold, singly or in arrays, each once.
 *
 * @throws {HotplugError} `EEXIST`: two different models of a file have one name.
 */
export async function loadChecks(files: readonly string[]): Promise<Loaded[]> {
  const loaded = new Map<Checkable, Loaded>()
  for (const file of files) {
    const exports: Record<string, unknown> = await import(pathToFileURL(resolve(file)).href)
    for (const check of Object.values(exports).flat()) {
      if (isCheckable(check) && !loaded.has(check)) loaded.set(check, { file, check })
    }
    requireNames(
      file,
      [...loaded.values()].filter(one => one.file === file),
    )
  }
  return [...loaded.values()]
}

function isCheckable(value: unknown): value is Checkable {
  if (typeof value !== 'object' || value === null) return false
  return typeof (value as Checkable).check === 'function' && 'description' in value
}

/** A replay on real threads finds its model by name. */
function requireNames(file: string, loaded: readonly Loaded[]): void {
  const names = new Map<string, unknown>()
  for (const { check } of loaded) {
    const { name, description } = check
    if (names.has(name) && names.get(name) !== description) {
      throw new HotplugError('EEXIST', `load ${file}`, `two models are called '${name}'`)
    }
    names.set(name, description)
  }
}
