/*
 * The tree as the tidy rules see it: every file of the repository, TypeScript parsed.
 *
 * A rule is a function from a tree to what it found wrong, one line each. Its test runs it over
 * the repository and over a small tree of snippets that break it.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Comment, type Node, type ParseResult, parseSync, visitorKeys } from 'oxc-parser'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const NOT_OURS = new Set(['node_modules', 'dist', '.git', '.stats'])
const TEXT = /\.(ts|md|json|c|pml|ya?ml|sh|html|css)$|^(LICENSE|\.[a-z]+|\.ci\/run)$/

/** A text file of the repository. */
export interface File {
  /** Relative to the root, with forward slashes. */
  readonly path: string
  readonly text: string
}

/** A TypeScript file, parsed. */
export interface Module extends File {
  readonly parsed: ParseResult
  readonly comments: readonly Comment[]
  /** What it imports and re-exports, in order, resolved: a path of the tree, or a package. */
  readonly imports: readonly string[]
  /** Those of them that are loaded when it runs: not for types alone. */
  readonly loads: ReadonlySet<string>
}

/** The repository, or a few snippets that stand for one. */
export interface Tree {
  readonly files: readonly File[]
  readonly modules: readonly Module[]
  /** Paths of all files, also those that are not text. */
  readonly paths: ReadonlySet<string>
}

/** A rule: what is wrong with a tree, one line each, beginning with the path. */
export type Rule = (tree: Tree) => string[]

let repositoryTree: Tree | undefined

/** The repository that this file belongs to. */
export function repository(): Tree {
  repositoryTree ??= treeFrom(
    listed('').map(path => ({
      path,
      text: TEXT.test(path) ? readFileSync(ROOT + path, 'utf8') : '',
    })),
  )
  return repositoryTree
}

/** A tree of snippets: path to text. */
export function treeOf(snippets: Readonly<Record<string, string>>): Tree {
  return treeFrom(Object.entries(snippets).map(([path, text]) => ({ path, text })))
}

function treeFrom(files: readonly File[]): Tree {
  const modules = files.filter(file => file.path.endsWith('.ts')).map(parse)
  return { files, modules, paths: new Set(files.map(file => file.path)) }
}

function listed(folder: string): string[] {
  return readdirSync(ROOT + folder, { withFileTypes: true })
    .filter(entry => !NOT_OURS.has(entry.name))
    .flatMap(entry => {
      const path = folder + entry.name
      return entry.isDirectory() ? listed(`${path}/`) : [path]
    })
    .sort()
}

function parse(file: File): Module {
  const parsed = parseSync(file.path, file.text)
  const { staticImports, staticExports } = parsed.module
  const requests = [
    ...staticImports.map(({ moduleRequest, entries }) => ({
      request: moduleRequest,
      isType: entries.length > 0 && entries.every(entry => entry.isType),
    })),
    ...staticExports.flatMap(({ entries }) =>
      entries.map(({ moduleRequest, isType }) => ({ request: moduleRequest, isType })),
    ),
  ].flatMap(({ request, isType }) =>
    request === null
      ? []
      : [{ path: resolve(file.path, request.value), isType, at: request.start }],
  )
  requests.sort((a, b) => a.at - b.at)
  const imports = [...new Set(requests.map(({ path }) => path))]
  const loads = new Set(requests.filter(({ isType }) => !isType).map(({ path }) => path))
  return { ...file, parsed, comments: parsed.comments, imports, loads }
}

function resolve(from: string, request: string): string {
  if (request === '#atomics') return 'src/atomics/native.ts'
  return request.startsWith('.') ? posix.join(posix.dirname(from), request) : request
}

/** Whether a file is a test, or helps one: it may do what code that ships may not. */
export function isTest(path: string): boolean {
  return path.startsWith('test/') || path.includes('.test.')
}

/** The number of the line, from 1, that offset `at` of `text` is on. */
export function lineAt(text: string, at: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i !== -1 && i < at; i = text.indexOf('\n', i + 1)) line++
  return line
}

/** Visits `module`'s syntax tree, parents first. */
export function walk(module: Module, visit: (node: Node, parent: Node | null) => void): void {
  descend(module.parsed.program, null, visit)
}

function descend(
  node: Node,
  parent: Node | null,
  visit: (node: Node, parent: Node | null) => void,
): void {
  visit(node, parent)
  const fields = node as unknown as Record<string, Node | (Node | null)[] | null | undefined>
  for (const key of visitorKeys[node.type] ?? []) {
    const child = fields[key]
    if (Array.isArray(child)) {
      for (const one of child) if (one) descend(one, node, visit)
    } else if (child) descend(child, node, visit)
  }
}
