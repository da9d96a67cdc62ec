/*
 * Who may import whom. A folder imports itself and the folders before it in LAYERS; nothing
 * imports the checker but the checks, the tests and its public face, so that what ships runs
 * without it.
 */
import { isTest, type Rule, type Tree } from './tree.ts'

/** Folders of src/, each with what else it may import. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  atomics: ['lib'],
  locking: ['lib', 'atomics'],
  arch: ['lib', 'atomics', 'locking'],
  mm: ['lib', 'atomics', 'locking', 'arch'],
  collections: ['lib', 'atomics', 'locking', 'arch', 'mm'],
  service: ['lib', 'atomics', 'locking', 'arch', 'mm', 'collections'],
  check: ['lib'],
}
const FACES: Readonly<Record<string, readonly string[]>> = {
  'src/locking.ts': ['lib', 'atomics', 'locking', 'arch'],
  'src/machine.ts': [
    'lib',
    'atomics',
    'locking',
    'arch',
    'mm',
    'collections',
    'service',
    'src/locking.ts',
  ],
  'src/index.ts': ['lib', 'mm', 'collections', 'src/machine.ts'],
  'src/check.ts': ['lib', 'check'],
}

/** Packages that code which ships may import; the rest is for tests and benches. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  acorn: ['check'],
  koffi: ['arch'],
  '#protections': ['locking', 'mm', 'collections'],
}

/** Folders import only what stands before them; the checker stands beside them. */
export const importDirection: Rule = tree =>
  shipped(tree).flatMap(module => {
    const layer = layerOf(module.path)
    const allowed = allowedFor(module.path)
    if (allowed === undefined) return [`${module.path}: no layer is known for it`]
    return module.imports
      .filter(path => path.startsWith('src/'))
      .map(path => [path, layerOf(path)] as const)
      .filter(([, to]) => to !== layer && !allowed.includes(to))
      .map(([path, to]) => `${module.path}: ${layer} imports ${to} (${path})`)
  })

/** Code that ships imports Node, its own files and the few packages that have a reason. */
export const importedPackages: Rule = tree =>
  shipped(tree).flatMap(module =>
    module.imports
      .filter(name => !name.startsWith('src/') && !name.startsWith('node:'))
      .filter(name => !(PACKAGES[name] ?? []).includes(layerOf(module.path)))
      .filter(name => !(name.startsWith('test/') && module.path.endsWith('.check.ts')))
      .map(name => `${module.path}: imports ${name}`),
  )

/** Relative imports name a file that exists, with its ending. */
export const importsExist: Rule = tree =>
  tree.modules.flatMap(module =>
    module.imports
      .filter(name => /^(src|test|bench|demo)\//.test(name) && !tree.paths.has(name))
      .map(name => `${module.path}: imports ${name}, which does not exist`),
  )

/** No module loads itself by way of others. What is imported for its types alone is not loaded. */
export const noCycles: Rule = tree => {
  const modules = new Map(tree.modules.map(module => [module.path, module.loads]))
  const done = new Set<string>()
  const found: string[] = []
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) {
      found.push([...way.slice(way.indexOf(path)), path].join(' -> '))
    } else if (!done.has(path)) {
      for (const next of modules.get(path) ?? []) visit(next, [...way, path])
      done.add(path)
    }
  }
  for (const path of modules.keys()) visit(path, [])
  return found
}

function shipped(tree: Tree): Tree['modules'] {
  return tree.modules.filter(module => module.path.startsWith('src/') && !isTest(module.path))
}

/** The folder below src/; a file right in src/ is a layer of its own. */
function layerOf(path: string): string {
  return path.split('/').length > 2 ? path.split('/')[1]! : path
}

function allowedFor(path: string): readonly string[] | undefined {
  const allowed = FACES[path] ?? LAYERS[layerOf(path)]
  return path.endsWith('.check.ts') && allowed ? [...allowed, 'check'] : allowed
}
