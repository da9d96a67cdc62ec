/*
 * What the texts say: links and paths in the docs are alive, the commands they name exist, nothing
 * is left for later, and the package is what it says it is.
 */
import { posix } from 'node:path'
import { type File, lineAt, type Rule, type Tree } from './tree.ts'

// Written so that they do not find themselves.
const LEFT_FOR_LATER = /\b(?:[T]ODO|[F]IXME)\b/
const MACHINE_PATH = /\/(?:[w]ork|[r]oot|[h]ome|[t]mp\/\w+)\//

/** Links from one text to another lead somewhere, headings included. */
export const links: Rule = tree =>
  markdown(tree).flatMap(file =>
    [...withoutCode(file.text).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(match => [match[1]!, match.index] as const)
      .filter(([target]) => !/^[a-z]+:/.test(target) && !leadsSomewhere(tree, file, target))
      .map(([target, at]) => `${file.path}:${lineAt(file.text, at)}: dead link to ${target}`),
  )

/** Files that the texts name exist. */
export const namedFiles: Rule = tree =>
  markdown(tree).flatMap(file =>
    [...file.text.matchAll(/`((?:src|test|bench|demo|docs)\/[\w./*-]+)`/g)]
      .filter(match => !exists(tree, match[1]!))
      .map(match => `${file.path}:${lineAt(file.text, match.index)}: there is no ${match[1]}`),
  )

/** Commands that the texts name exist. */
export const namedScripts: Rule = tree => {
  const scripts = new Set(Object.keys(packageJson(tree).scripts ?? {}))
  return markdown(tree).flatMap(file =>
    [...file.text.matchAll(/npm (?:run ([\w:]+)|(start|test)\b)/g)]
      .filter(match => !scripts.has(match[1] ?? match[2]!))
      .map(match => `${file.path}:${lineAt(file.text, match.index)}: there is no ${match[0]}`),
  )
}

/** Nothing is left for later, and no path of one machine is written down. */
export const leftovers: Rule = tree =>
  tree.files
    .filter(file => file.path !== 'package-lock.json' && file.path !== 'LICENSE')
    .flatMap(file =>
      file.text.split('\n').flatMap((line, i) => {
        const match = LEFT_FOR_LATER.exec(line) ?? MACHINE_PATH.exec(line)
        return match ? [`${file.path}:${i + 1}: ${match[0]}`] : []
      }),
    )

/** The lock file names no registry, and nothing of ours runs at installation. */
export const packageIsPlain: Rule = tree => {
  const lock = textOf(tree, 'package-lock.json')
  const addresses = /"resolved": *"http/.test(lock) ? ['package-lock.json: names a registry'] : []
  const hooks = Object.keys(packageJson(tree).scripts ?? {})
    .filter(name => /^(pre|post)?(install|prepare)$/.test(name))
    .map(name => `package.json: runs ${name} at installation`)
  return [...addresses, ...hooks]
}

/**
 * The lock file knows every package, also those of other platforms. `npm ci` refuses one that does
 * not, and `npm install` leaves out what its registry does not have.
 */
export const lockIsWhole: Rule = tree => {
  const { packages = {} } = JSON.parse(textOf(tree, 'package-lock.json') || '{}') as PackageLock
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter(
        name => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`],
      )
      .map(name => `package-lock.json: ${path} may need ${name}, which is not there`),
  )
}

/** Files that package.json points at are built from sources that exist. */
export const packageFiles: Rule = tree => {
  const { exports = {}, imports = {}, bin = {}, scripts = {} } = packageJson(tree)
  const text = JSON.stringify([exports, imports, bin, scripts])
  return [...new Set([...text.matchAll(/dist\/([\w./-]+?)(?:\.d\.ts|\.js)\b/g)].map(m => m[1]!))]
    .filter(path => !tree.paths.has(`${path}.ts`))
    .map(path => `package.json: there is no ${path}.ts`)
}

/** Every dependency at run time has its reason in ARCHITECTURE.md. */
export const dependenciesHaveReasons: Rule = tree => {
  const { dependencies = {}, optionalDependencies = {}, devDependencies = {} } = packageJson(tree)
  const architecture = textOf(tree, 'ARCHITECTURE.md')
  return Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies })
    .filter(name => !architecture.includes(`\`${name}\``))
    .map(name => `ARCHITECTURE.md: no reason for ${name}`)
}

interface PackageJson {
  readonly scripts?: Record<string, string>
  readonly exports?: unknown
  readonly imports?: unknown
  readonly bin?: unknown
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
}

interface PackageLock {
  readonly packages?: Record<string, { readonly optionalDependencies?: Record<string, string> }>
}

function packageJson(tree: Tree): PackageJson {
  return JSON.parse(textOf(tree, 'package.json') || '{}') as PackageJson
}

function textOf(tree: Tree, path: string): string {
  return tree.files.find(file => file.path === path)?.text ?? ''
}

function markdown(tree: Tree): File[] {
  return tree.files.filter(file => file.path.endsWith('.md'))
}

function withoutCode(text: string): string {
  return withoutBlocks(text).replace(/`[^`\n]*`/g, blank)
}

function withoutBlocks(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, blank)
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, ' ')
}

function leadsSomewhere(tree: Tree, from: File, target: string): boolean {
  const [path = '', heading] = target.split('#')
  const to = path === '' ? from.path : posix.join(posix.dirname(from.path), path)
  if (!exists(tree, to)) return false
  return heading === undefined || headings(textOf(tree, to)).includes(heading)
}

function exists(tree: Tree, path: string): boolean {
  if (path.includes('*')) return true
  const folder = path.endsWith('/') ? path : `${path}/`
  return tree.paths.has(path) || [...tree.paths].some(one => one.startsWith(folder))
}

/** The anchors that a page's headings get. */
function headings(text: string): string[] {
  return [...withoutBlocks(text).matchAll(/^#+ +(.*)$/gm)].map(match =>
    match[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  )
}
