/*
 * What a module may touch beside its arguments. Shared memory belongs to the seam, so that the
 * checker sees every access; clocks, timers, random numbers and threads belong to arch/ and
 * service/, so that the rest does the same thing twice.
 */
import { isTest, lineAt, type Module, type Rule, type Tree, walk } from './tree.ts'

/** Code that ships and may use a name that the rules below forbid, and why. */
const MAY: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'src/atomics/native.ts': {
    setInterval: 'keeps the loop alive while waitAsync sleeps',
    clearInterval: 'the same',
  },
  'src/locking.ts': {
    'node:worker_threads': 'asks whether this is the main thread',
  },
  'src/locking/acquire.ts': {
    'AbortSignal.timeout': 'the timeout of an acquisition on an event loop',
  },
}

const IMPURE_NAMES = new Set([
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'crypto',
])
const IMPURE_MEMBERS = new Set([
  'Math.random',
  'process.hrtime',
  'process.uptime',
  'AbortSignal.timeout',
])
const IMPURE_MODULES = new Set(
  ['worker_threads', 'child_process', 'cluster', 'timers', 'perf_hooks', 'crypto'].flatMap(name => [
    `node:${name}`,
    `node:${name}/promises`,
  ]),
)

/** Only the seam, the checker and tests say `Atomics`. */
export const atomicsOnlyInSeam: Rule = tree =>
  tree.modules
    .filter(module => module.path.startsWith('src/') && !isTest(module.path))
    .filter(module => !/^src\/(atomics|check)\//.test(module.path))
    .flatMap(module =>
      names(module)
        .filter(([name]) => name === 'Atomics')
        .map(([, line]) => `${module.path}:${line}: uses Atomics; the seam is '#atomics'`),
    )

/** No clock, timer, random number or thread outside arch/, service/ and the checker's tools. */
export const pureOutsideArch: Rule = tree =>
  guarded(tree).flatMap(module => {
    const may = MAY[module.path] ?? {}
    return impurities(module)
      .filter(([name]) => may[name] === undefined)
      .map(([name, line]) => `${module.path}:${line}: uses ${name}; that belongs to arch/`)
  })

/** Every exception above is still needed. */
export const exceptionsAreNeeded: Rule = tree =>
  Object.entries(MAY).flatMap(([path, may]) => {
    const module = tree.modules.find(one => one.path === path)
    const used = new Set(module ? impurities(module).map(([name]) => name) : [])
    return Object.keys(may)
      .filter(name => !used.has(name))
      .map(name => `${path}: may use ${name}, but does not`)
  })

function guarded(tree: Tree): Module[] {
  return tree.modules.filter(
    ({ path }) =>
      path.startsWith('src/') && !isTest(path) && !/^src\/(arch|service|check)\//.test(path),
  )
}

function impurities(module: Module): (readonly [string, number])[] {
  const imported = module.imports
    .filter(name => IMPURE_MODULES.has(name))
    .map(name => [name, lineAt(module.text, module.text.indexOf(`'${name}'`))] as const)
  const used = names(module).filter(([name]) => IMPURE_NAMES.has(name) || IMPURE_MEMBERS.has(name))
  return [...imported, ...used]
}

/** Free names and two-part names that a module's code mentions, with their lines. */
function names(module: Module): (readonly [string, number])[] {
  const found: (readonly [string, number])[] = []
  walk(module, (node, parent) => {
    if (node.type === 'MemberExpression' && !node.computed && node.object.type === 'Identifier') {
      const name = `${node.object.name}.${(node.property as { name: string }).name}`
      found.push([name, lineAt(module.text, node.start)])
    }
    if (node.type !== 'Identifier') return
    const isMember = parent?.type === 'MemberExpression' && parent.property === node
    const isKey = parent?.type === 'Property' && parent.key === node && !parent.shorthand
    if (!isMember && !isKey) found.push([node.name, lineAt(module.text, node.start)])
  })
  return found
}
