/*
 * What kind of node is it: questions about syntax trees.
 */
import type {
  AnyNode,
  FunctionExpression,
  Function as FunctionNode,
  Identifier,
  Pattern,
  Property,
} from 'acorn'

/** The nodes right below, in the order of the source as far as it matters. */
export function children(node: AnyNode): AnyNode[] {
  const found: AnyNode[] = []
  for (const value of Object.values(node)) {
    for (const item of Array.isArray(value) ? value : [value]) if (isNode(item)) found.push(item)
  }
  return found
}

/** Whether a node is a function of any kind. */
export function isFunction(node: AnyNode): node is AnyNode & FunctionNode {
  return /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type)
}

/** Whether a node is a loop. */
export function isLoop(node: AnyNode): boolean {
  return /^(For|ForIn|ForOf|While|DoWhile)Statement$/.test(node.type)
}

/** The names that a pattern binds or assigns; members are none. */
export function namesOf(pattern: Pattern): Identifier[] {
  switch (pattern.type) {
    case 'Identifier':
      return [pattern]
    case 'ObjectPattern':
      return pattern.properties.flatMap(p => namesOf(p.type === 'Property' ? p.value : p))
    case 'ArrayPattern':
      return pattern.elements.flatMap(element => (element === null ? [] : namesOf(element)))
    case 'RestElement':
      return namesOf(pattern.argument)
    case 'AssignmentPattern':
      return namesOf(pattern.left)
    default:
      return []
  }
}

function isNode(value: unknown): value is AnyNode {
  return (
    typeof value === 'object' && value !== null && typeof Reflect.get(value, 'type') === 'string'
  )
}

/** Whether evaluating it may call something. */
export function containsCall(node: AnyNode): boolean {
  if (node.type === 'CallExpression' || node.type === 'NewExpression') return true
  if (node.type === 'TaggedTemplateExpression') return true
  if (isFunction(node) || node.type === 'ClassExpression') return false
  return children(node).some(containsCall)
}

/** Whether it is a statement without a semicolon that could go on if the next line let it. */
export function endsByLine(node: AnyNode, parent: AnyNode, code: string): boolean {
  if (code[node.end - 1] === ';') return false
  if (node.type === 'ReturnStatement') return node.argument != null
  if (node.type === 'VariableDeclaration') return !isLoop(parent) || isBodyOf(node, parent)
  return /^(ExpressionStatement|ThrowStatement|PropertyDefinition)$/.test(node.type)
}

function isBodyOf(node: AnyNode, parent: AnyNode): boolean {
  return 'body' in parent && parent.body === node
}

/** Whether its value is the same whenever it is evaluated, and says nothing. */
export function isConstant(node: AnyNode): boolean {
  if (isFunction(node)) return true
  return /^(Literal|ClassExpression|MetaProperty|\w*Pattern)$/.test(node.type)
}

/** Whether a name around `node` would keep a chain from being cut short. */
export function isOptional(node: AnyNode): boolean {
  if (node.type === 'MemberExpression') return node.optional || isOptional(node.object)
  if (node.type === 'CallExpression') return node.optional || isOptional(node.callee)
  return false
}

/** `a.b.c` or `this.a`: may be read once more. */
export function isPlainPath(node: AnyNode): boolean {
  if (node.type === 'Identifier' || node.type === 'ThisExpression') return true
  return node.type === 'MemberExpression' && !node.computed && isPlainPath(node.object)
}

/** A method of an object literal. */
export type Method = Property & { value: FunctionExpression }

/** Whether it is a method, getter or setter, of a class or an object. */
export function isMethod(node: AnyNode): boolean {
  if (node.type === 'MethodDefinition') return true
  return node.type === 'Property' && (node.method || node.kind !== 'init')
}

/** Whether it is a class's constructor. */
export function isConstructor(node: AnyNode): boolean {
  return node.type === 'MethodDefinition' && node.kind === 'constructor'
}

/** Whether it is a method of an object under a name that the source tells. */
export function isNamedMethod(node: AnyNode): node is AnyNode & Method {
  return isMethod(node) && node.type === 'Property' && !node.computed
}

/** The text of a string literal with a property's name; `null` if it is not known. */
export function nameText(key: AnyNode): string {
  if (key.type === 'Identifier') return JSON.stringify(key.name)
  return key.type === 'Literal' ? JSON.stringify(String(key.value)) : 'null'
}

/** The name that the language gives to a function without one. */
export function inferredName(node: AnyNode, parent: AnyNode): string {
  if (parent.type === 'VariableDeclarator' && parent.init === node) return nameText(parent.id)
  if (parent.type === 'AssignmentExpression' && parent.right === node) return nameText(parent.left)
  if (parent.type === 'AssignmentPattern' && parent.right === node) return nameText(parent.left)
  if (parent.type === 'ObjectExpression') {
    const property = parent.properties.find(p => p.type === 'Property' && p.value === node)
    return property?.type === 'Property' && !property.computed ? nameText(property.key) : 'null'
  }
  const keyed = parent.type === 'PropertyDefinition'
  return keyed && !parent.computed ? nameText(parent.key) : 'null'
}

/** Whether it is there. */
export function present<T>(value: T | null): value is T {
  return value !== null
}
