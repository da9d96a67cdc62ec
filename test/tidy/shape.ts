/*
 * How a file looks: sizes, essays, docstrings, and the forms of TypeScript that we do without.
 */
import type { Function as AnyFunction, ArrowFunctionExpression, Node } from 'oxc-parser'
import { isTest, lineAt, type Module, type Rule, walk } from './tree.ts'

const FUNCTION_LINES_MAX = 70
const FILE_LINES_MAX = 500
const LINE_CHARS_MAX = 100
const PARAMETERS_MAX = 4
const ESSAY_LINES_MIN = 5

/** Functions with more parameters than others may have, and why. */
const MAY_HAVE_PARAMETERS: Readonly<Record<string, string>> = {
  copyIn: 'two places and a length, as memcpy has them; no object on that path',
  copyOut: 'the same',
  copyBytesOut: 'the same',
  copyWords: 'the same',
  operate: 'an operation and its operands, once for each step of a checked thread',
  perform: 'the same',
  fn: 'what transformed code says of each function that it makes',
}

/** Functions with more lines than others may have, and why. */
const MAY_HAVE_LINES: Readonly<Record<string, string>> = {
  source: 'the text of the loop that the search generates, to be read in one piece',
}

/** Files of locking/ that have no test beside them, and why. */
const UNTESTED: Readonly<Record<string, string>> = {
  'src/locking/hotplug-locks.ts': 'the locks of a booted machine: src/locking.test.ts',
  'src/locking/percpu-gate.ts': 'one half of the lock that percpu-rwsem.test.ts tests',
}

/** At most 500 lines a file. */
export const fileSizes: Rule = tree =>
  tree.modules
    .map(({ path, text }) => [path, text.trimEnd().split('\n').length] as const)
    .filter(([, lines]) => lines > FILE_LINES_MAX)
    .map(([path, lines]) => `${path}: ${lines} lines`)

/** At most 100 characters a line, but where a test has a literal that cannot be broken. */
export const lineSizes: Rule = tree =>
  tree.modules.flatMap(module => {
    const wide = module.text
      .split('\n')
      .map((line, i) => [i + 1, line.length] as const)
      .filter(([, length]) => length > LINE_CHARS_MAX)
    const excused = wide.length > 0 && isTest(module.path) ? linesOfLiterals(module) : new Set()
    return wide
      .filter(([line]) => !excused.has(line))
      .map(([line, length]) => `${module.path}:${line}: ${length} characters`)
  })

const LONG_LITERAL_CHARS = 40

function linesOfLiterals(module: Module): ReadonlySet<number> {
  const lines = new Set<number>()
  walk(module, ({ type, start, end }) => {
    if (type !== 'Literal' && type !== 'TemplateElement') return
    if (end - start < LONG_LITERAL_CHARS) return
    const last = lineAt(module.text, end)
    for (let line = lineAt(module.text, start); line <= last; line++) lines.add(line)
  })
  return lines
}

/** At most 70 lines a function, at most 4 parameters. */
export const functionSizes: Rule = tree =>
  tree.modules.flatMap(module =>
    functions(module).flatMap(({ name, node }) => {
      const from = lineAt(module.text, node.start)
      const lines = lineAt(module.text, node.end) - from + 1
      const at = `${module.path}:${from}: ${name || 'a function'} has`
      const many = node.params.length > PARAMETERS_MAX && !MAY_HAVE_PARAMETERS[name]
      return [
        ...(lines > FUNCTION_LINES_MAX && !MAY_HAVE_LINES[name] ? [`${at} ${lines} lines`] : []),
        ...(many ? [`${at} ${node.params.length} parameters`] : []),
      ]
    }),
  )

/** No default export, no enum, no `any`, no parameter property. */
export const forms: Rule = tree =>
  tree.modules.flatMap(module => {
    const found: string[] = []
    walk(module, node => {
      const what = FORBIDDEN[node.type]
      if (what !== undefined)
        found.push(`${module.path}:${lineAt(module.text, node.start)}: ${what}`)
    })
    return found
  })

const FORBIDDEN: Readonly<Record<string, string>> = {
  ExportDefaultDeclaration: 'a default export',
  TSEnumDeclaration: 'an enum',
  TSAnyKeyword: 'any',
  TSParameterProperty: 'a parameter property',
}

/** Every export has a docstring; a check's list of models needs none. */
export const docstrings: Rule = tree =>
  tree.modules
    .filter(({ path }) => !path.endsWith('.check.ts') && !path.includes('.test.'))
    .flatMap(module =>
      module.parsed.program.body
        .filter(node => node.type === 'ExportNamedDeclaration' && node.declaration !== null)
        .filter(node => !hasDocstring(module, node) && !isOverload(module, node))
        .map(node => `${module.path}:${lineAt(module.text, node.start)}: no docstring`),
    )

/** A file whose protocol is checked opens with an essay on it, which names the check. */
export const essays: Rule = tree =>
  tree.modules
    .filter(({ path }) => tree.paths.has(path.replace(/\.ts$/, '.check.ts')))
    .flatMap(module => {
      const essay = module.comments[0]
      const isEssay = essay?.start === 0 && !essay.value.startsWith('*')
      if (!isEssay || essay.value.split('\n').length < ESSAY_LINES_MIN) {
        return [`${module.path}: no essay on its protocol`]
      }
      const check = module.path.split('/').at(-1)!.replace(/\.ts$/, '.check.ts')
      return essay.value.includes(check) ? [] : [`${module.path}: its essay does not name ${check}`]
    })

/** Every file of locking/ has its test beside it. */
export const testsBeside: Rule = tree =>
  tree.modules
    .filter(({ path }) => /^src\/locking\/[^/]*\.ts$/.test(path))
    .filter(({ path }) => !/\.(test|check)\.ts$/.test(path) && !UNTESTED[path])
    .filter(({ path }) => !tree.paths.has(path.replace(/\.ts$/, '.test.ts')))
    .map(({ path }) => `${path}: no test beside it`)

/** Titles of tests are sentences, and no test is left out. */
export const testTitles: Rule = tree =>
  tree.modules
    .filter(({ path }) => isTest(path))
    .flatMap(module => {
      const found: string[] = []
      walk(module, node => {
        if (node.type !== 'CallExpression') return
        const what = testCall(node.callee, node.arguments[0])
        if (what !== null) found.push(`${module.path}:${lineAt(module.text, node.start)}: ${what}`)
      })
      return found
    })

function testCall(callee: Node, title: Node | undefined): string | null {
  if (callee.type === 'MemberExpression' && callee.object.type === 'Identifier') {
    const name = (callee.property as { name?: string }).name ?? ''
    const isLeftOut = ['skip', 'only', 'todo'].includes(name)
    return ['test', 'it', 'describe'].includes(callee.object.name) && isLeftOut ? `a ${name}` : null
  }
  if (callee.type !== 'Identifier' || callee.name !== 'test') return null
  if (title?.type !== 'Literal') return null
  return String(title.value).includes(' ') ? null : `its title is no sentence: ${title.value}`
}

function functions(
  module: Module,
): { name: string; node: AnyFunction | ArrowFunctionExpression }[] {
  const found: { name: string; node: AnyFunction | ArrowFunctionExpression }[] = []
  walk(module, (node, parent) => {
    const isFunction =
      node.type === 'FunctionDeclaration' ||
      node.type === 'FunctionExpression' ||
      node.type === 'ArrowFunctionExpression'
    if (isFunction) found.push({ name: nameOf(node, parent), node })
  })
  return found
}

function nameOf(node: AnyFunction | ArrowFunctionExpression, parent: Node | null): string {
  if (node.type !== 'ArrowFunctionExpression' && node.id) return node.id.name
  if (parent?.type === 'VariableDeclarator' && parent.id.type === 'Identifier')
    return parent.id.name
  const keyed = parent?.type === 'MethodDefinition' || parent?.type === 'Property'
  return keyed && parent.key.type === 'Identifier' ? parent.key.name : ''
}

function hasDocstring(module: Module, node: Node): boolean {
  return module.comments.some(
    comment =>
      comment.type === 'Block' &&
      comment.value.startsWith('*') &&
      comment.end <= node.start &&
      module.text.slice(comment.end, node.start).trim() === '',
  )
}

/** The type beside a constant of the same name, or a further overload, right below it. */
function isOverload(module: Module, node: Node): boolean {
  const { body } = module.parsed.program
  const before = body[body.indexOf(node as (typeof body)[number]) - 1]
  return before !== undefined && exportedName(before) === exportedName(node)
}

function exportedName(node: Node): string | undefined {
  if (node.type !== 'ExportNamedDeclaration' || !node.declaration) return undefined
  const { declaration } = node
  if (declaration.type === 'VariableDeclaration') {
    const id = declaration.declarations[0]?.id
    return id?.type === 'Identifier' ? id.name : undefined
  }
  const id = 'id' in declaration ? declaration.id : null
  return id?.type === 'Identifier' ? id.name : undefined
}
