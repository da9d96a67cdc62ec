/*
 * Mutants: one source each, wrong in one place where it touches shared memory.
 *
 * Made from the syntax tree of the compiled file, at every call of an import from `#atomics` but
 * the waits of event loops, which models have not:
 *
 *     drop     the call does not happen; its result is what the code hopes for
 *     weaken   an atomic operation falls apart in two, a comparison is left out, a sleeper does
 *              not look again, one is woken instead of all; where the file has plain operations, a
 *              store is one (before an atomic one it would be in memory all the same)
 *     swap     the statement changes places with the next one
 *
 * A mutant keeps every line where it was, so traces and source maps stay right.
 */
import { type Node, type Program, parse } from 'acorn'

/** One wrong source. */
export interface Mutant {
  /** Stable over edits elsewhere: `mutex.ts Mutex.unlock notify#1 drop`. */
  readonly id: string
  /** Line in the compiled file, from 1, and column, from 0. */
  readonly line: number
  readonly column: number
  /** What was written, and what stands there now. */
  readonly before: string
  readonly after: string
  /** The whole compiled file, mutated. */
  readonly text: string
}

/** A node with its children in no particular type: enough to walk any tree. */
type Tree = Node & Readonly<Record<string, unknown>>

interface Edit {
  readonly operator: string
  readonly start: number
  readonly end: number
  readonly after: string
}

interface Call {
  readonly node: Tree
  readonly operation: string
  readonly args: readonly string[]
}

/** Helpers behind a mutated file's last line; function declarations are hoisted. */
const HELPERS = `
function $store(words, index, value, result) { $seam.store(words, index, value); return result }
function $rmw(words, index, next) {
  const old = $seam.load(words, index)
  $seam.store(words, index, next(old))
  return old
}
function $cas(words, index, expected, value) {
  const old = $seam.load(words, index)
  if (old === expected) $seam.store(words, index, value)
  return old
}
function $waitAlways(words, index, timeoutMs) {
  const now = $seam.load(words, index)
  return $seam.wait(words, index, now, timeoutMs)
}
import * as $seam from '#atomics'
`

/** All mutants of a compiled file, in order of their place. `name` is the source's: `mutex.ts`. */
export function mutantsOf(name: string, text: string): Mutant[] {
  const tree = parse(text, { ecmaVersion: 'latest', sourceType: 'module', locations: true })
  const seam = seamImports(tree)
  const hasPlain = [...seam.values()].some(operation => PLAIN.test(operation))
  const mutants: Mutant[] = []
  const counts = new Map<string, number>()
  visit(tree as unknown as Tree, [], (node, path) => {
    const call = callOf(node, seam, text)
    if (call === null) return
    const place = `${name} ${enclosing(path)} ${call.operation}`
    const count = (counts.get(place) ?? 0) + 1
    counts.set(place, count)
    const edits = [...editsOf(call, hasPlain), ...swapOf(path, node, seam, text)]
    for (const edit of edits) {
      mutants.push(mutant(`${place}#${count} ${edit.operator}`, node, edit, text))
    }
  })
  return mutants
}

function mutant(id: string, node: Tree, edit: Edit, text: string): Mutant {
  const { start, end, after } = edit
  const { line, column } = node.loc!.start
  const map = text.lastIndexOf('//# sourceMappingURL')
  const code = map < 0 ? text : text.slice(0, map)
  const mutated = code.slice(0, start) + after + code.slice(end) + HELPERS
  return { id, line, column, before: text.slice(start, end), after, text: mutated }
}

function editsOf({ node, operation, args }: Call, hasPlain: boolean): Edit[] {
  const { start, end } = node
  const edit = (operator: string, after: string): Edit => ({ operator, start, end, after })
  const [words, index, a, b] = args
  const rmw = (next: string): Edit[] => [
    edit('drop', `$seam.load(${words}, ${index})`),
    edit('split', `$rmw(${words}, ${index}, old => ${next})`),
  ]
  switch (operation) {
    case 'load':
    case 'loadPlain':
      return [edit('zero', '0')]
    case 'store':
      return [
        edit('drop', 'void 0'),
        ...(hasPlain ? [edit('plain', `$seam.storePlain(${args.join(', ')})`)] : []),
      ]
    case 'add':
      return rmw(`old + (${a}) | 0`)
    case 'sub':
      return rmw(`old - (${a}) | 0`)
    case 'and':
      return rmw(`old & (${a})`)
    case 'or':
      return rmw(`old | (${a})`)
    case 'xor':
      return rmw(`old ^ (${a})`)
    case 'exchange':
      return rmw(`(${a})`)
    case 'compareExchange':
      return [
        edit('drop', `(${a})`),
        edit('always', `$store(${words}, ${index}, ${b}, ${a})`),
        edit('split', `$cas(${args.join(', ')})`),
      ]
    case 'wait':
      return [
        edit('drop', "'ok'"),
        edit('blind', `$waitAlways(${[words, index, ...args.slice(3)].join(', ')})`),
      ]
    case 'notify':
      return [
        edit('drop', '0'),
        ...(a === '1' ? [] : [edit('one', `$seam.notify(${words}, ${index}, 1)`)]),
      ]
    default: // storePlain, fillPlain, the copies, barrierAll
      return [edit('drop', 'void 0')]
  }
}

const ATOMIC = /^(load|store|add|sub|and|or|xor|exchange|compareExchange|wait|notify|barrierAll)$/
const PLAIN = /^(loadPlain|storePlain|copyIn|copyOut|copyBytesOut|copyWords|fillPlain)$/

/** Local name -> operation. */
function seamImports(tree: Program): Map<string, string> {
  const seam = new Map<string, string>()
  for (const statement of tree.body) {
    if (statement.type !== 'ImportDeclaration' || statement.source.value !== '#atomics') continue
    for (const specifier of statement.specifiers) {
      if (specifier.type !== 'ImportSpecifier') continue
      const imported = specifier.imported
      const name = imported.type === 'Identifier' ? imported.name : String(imported.value)
      if (ATOMIC.test(name) || PLAIN.test(name)) seam.set(specifier.local.name, name)
    }
  }
  return seam
}

function callOf(node: Tree, seam: ReadonlyMap<string, string>, text: string): Call | null {
  if (node.type !== 'CallExpression') return null
  const callee = node.callee as Tree
  const operation = callee.type === 'Identifier' ? seam.get(callee.name as string) : undefined
  if (operation === undefined) return null
  const args = (node.arguments as Tree[]).map(({ start, end }) => text.slice(start, end))
  return { node, operation, args }
}

const SWAPPABLE = /^(ExpressionStatement|VariableDeclaration|IfStatement)$/

/** The statement of the call, swapped with the next, if neither needs what the other declares. */
function swapOf(
  path: readonly Tree[],
  call: Tree,
  seam: ReadonlyMap<string, string>,
  text: string,
): Edit[] {
  const at = path.findLastIndex(({ type }) => SWAPPABLE.test(type))
  const statement = path[at]
  const list = bodyOf(path[at - 1])
  if (statement === undefined || list === null || firstCall(statement, seam, text) !== call)
    return []
  const next = list[list.indexOf(statement) + 1]
  if (next === undefined || !SWAPPABLE.test(next.type) || !hasCall(next)) return []
  if (dependent(statement, next)) return []
  const first = text.slice(statement.start, statement.end)
  const between = text.slice(statement.end, next.start)
  const second = text.slice(next.start, next.end)
  const after = second + between + first
  return [{ operator: 'swap', start: statement.start, end: next.end, after }]
}

function bodyOf(node: Tree | undefined): Tree[] | null {
  if (node === undefined) return null
  if (node.type === 'BlockStatement' || node.type === 'Program') return node.body as Tree[]
  return node.type === 'SwitchCase' ? (node.consequent as Tree[]) : null
}

/** The first seam call of a statement makes its swap, so that it is made once. */
function firstCall(statement: Tree, seam: ReadonlyMap<string, string>, text: string): Tree | null {
  let first: Tree | null = null
  visit(statement, [], node => {
    if (first === null && callOf(node, seam, text) !== null) first = node
  })
  return first
}

function hasCall(statement: Tree): boolean {
  let found = false
  visit(statement, [], ({ type }) => {
    if (type === 'CallExpression') found = true
  })
  return found
}

/** Whether one declares or assigns a variable that the other mentions. */
function dependent(first: Tree, second: Tree): boolean {
  const mentions = (from: ReadonlySet<string>, by: Tree): boolean => {
    let found = false
    visit(by, [], (node, path) => {
      const parent = path.at(-1)
      const isMember = parent?.type === 'MemberExpression' && parent.property === node
      if (isMember && parent.computed === false) return
      if (node.type === 'Identifier' && from.has(node.name as string)) found = true
    })
    return found
  }
  return mentions(definedBy(first), second) || mentions(definedBy(second), first)
}

function definedBy(statement: Tree): Set<string> {
  const names = new Set<string>()
  const collect = (pattern: Tree): void =>
    visit(pattern, [], node => {
      if (node.type === 'Identifier') names.add(node.name as string)
    })
  visit(statement, [], node => {
    if (node.type === 'VariableDeclarator') collect(node.id as Tree)
    if (node.type === 'AssignmentExpression' && (node.left as Tree).type === 'Identifier') {
      collect(node.left as Tree)
    }
    if (node.type === 'UpdateExpression') collect(node.argument as Tree)
  })
  return names
}

/** `Mutex.unlock`, `attach`, or the file's own level: `module`. */
function enclosing(path: readonly Tree[]): string {
  const names: string[] = []
  for (const node of path) {
    const named = node.type === 'MethodDefinition' ? node.key : node.id
    const isNamed = /^(ClassDeclaration|FunctionDeclaration|MethodDefinition)$/.test(node.type)
    if (isNamed && named) names.push((named as Tree).name as string)
  }
  return names.length === 0 ? 'module' : names.join('.')
}

/** Every node, parents first, with the way to it. */
function visit(node: Tree, path: Tree[], see: (node: Tree, path: readonly Tree[]) => void): void {
  see(node, path)
  path.push(node)
  for (const key of Object.keys(node)) {
    if (key === 'loc') continue
    const child = node[key]
    for (const item of Array.isArray(child) ? child : [child]) {
      if (isNode(item)) visit(item, path, see)
    }
  }
  path.pop()
}

function isNode(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && typeof (value as Tree).type === 'string'
}
