/*
 * Which checks stand for which source.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'

/** The package's own folder, from any folder of its compiled tree. */
export function rootOf(folder: string): string {
  let root = folder
  while (!existsSync(join(root, 'package.json'))) root = dirname(root)
  return root
}

/** Compiled sources of protocols: those that a check reaches and that use the seam. */
export function protocols(root: string): string[] {
  const reached = new Set(checkFiles(root).flatMap(file => [...importsOf(root, file)]))
  return [...reached].filter(file => usesSeam(join(root, file))).sort()
}

/** The checks that a source names, or else all that reach it; and all others that do. */
export function checksOf(root: string, file: string): { own: string[]; wider: string[] } {
  const reaching = checkFiles(root).filter(check => importsOf(root, check).has(file))
  const text = readFileSync(join(root, file), 'utf8')
  const named = new Set([...text.matchAll(/([\w-]+\.check)\.ts/g)].map(([, name]) => `${name}.js`))
  const own = reaching.filter(check => named.has(basename(check)))
  const wider = reaching.filter(check => !named.has(basename(check)))
  return own.length > 0 ? { own, wider } : { own: wider, wider: [] }
}

function checkFiles(root: string): string[] {
  const folder = join(root, 'dist/src')
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter(name => name.endsWith('.check.js')).map(name => join('dist/src', name))
}

/** What the models' own threads do is no protocol. */
function usesSeam(path: string): boolean {
  return !/\/(?:check|test)\//.test(path) && /from '#atomics'/.test(readFileSync(path, 'utf8'))
}

const reaches = new Map<string, Set<string>>()

/** All files that a file imports, and those that they do, by their paths from the root. */
function importsOf(root: string, file: string): Set<string> {
  const known = reaches.get(file)
  if (known !== undefined) return known
  const all = new Set<string>()
  reaches.set(file, all)
  const text = readFileSync(join(root, file), 'utf8')
  for (const [, specifier] of text.matchAll(/from '(\.[^']+)'/g)) {
    const path = relative(root, resolve(root, dirname(file), specifier as string))
    all.add(path)
    for (const deeper of importsOf(root, path)) all.add(deeper)
  }
  return all
}
