/*
 * Whose variable a name is: the scopes of a module.
 *
 * Two walks over the syntax tree: the first declares (names are hoisted), the second finds what
 * each name means. `this` and `arguments` are variables of the function that binds them.
 */
import type { AnyNode, Identifier, Pattern, Program } from 'acorn'
import { children, isFunction, namesOf } from './tree.ts'

/** A variable of a module. */
export interface Variable {
  readonly name: string
  readonly kind: 'var' | 'lexical' | 'param' | 'import' | 'self'
  readonly scope: Scope
  /** Offset from where on it has a value: before, a `lexical` may not be touched. */
  readonly from: number
  /** Offsets of mentions in the function that declares it. */
  readonly mentions: number[]
  /** Mentioned in a function within. */
  captured: boolean
  /** Assigned after its declaration. */
  assigned: boolean
  /** Assigned in a function, other than where it is declared: at module level, hidden state. */
  assignedInFunction: boolean
  /** What it is declared as, if that is one expression. */
  readonly init: AnyNode | null
}

/** A stretch of source with variables of its own. */
export interface Scope {
  readonly node: AnyNode
  readonly parent: Scope | null
  /** Null at module level. */
  readonly owner: Owner | null
  readonly variables: Map<string, Variable>
}

/** Code that runs later than where it stands: a function, a field's initialiser, a class. */
export interface Owner {
  readonly node: AnyNode
  readonly parent: Owner | null
  readonly kind: 'function' | 'field' | 'class'
  /** Variables of enclosing owners that it mentions; none of module level. */
  readonly captures: Set<Variable>
  /** Variables of module level that it mentions itself. */
  readonly globals: Set<Variable>
}

/** What names mean in a module. */
export interface Scopes {
  readonly module: Scope
  readonly owners: ReadonlyMap<AnyNode, Owner>
  /** By node that opens a scope. */
  readonly scopes: ReadonlyMap<AnyNode, Scope>
  /** By `Identifier` or `ThisExpression`; none for names that no declaration here explains. */
  readonly meaning: ReadonlyMap<AnyNode, Variable>
}

/** @param program Parsed by acorn. */
export function scopesOf(program: Program): Scopes {
  const analysis = new Analysis(program)
  analysis.declareIn(program, analysis.module)
  analysis.resolveIn(program, analysis.module)
  return analysis
}

class Analysis implements Scopes {
  readonly module: Scope
  readonly owners = new Map<AnyNode, Owner>()
  readonly scopes = new Map<AnyNode, Scope>()
  readonly meaning = new Map<AnyNode, Variable>()

  constructor(program: Program) {
    this.module = { node: program, parent: null, owner: null, variables: new Map() }
    this.scopes.set(program, this.module)
  }

  declareIn(node: AnyNode, scope: Scope): void {
    for (const child of children(node)) this.declare(child, this.open(child, node, scope))
  }

  resolveIn(node: AnyNode, scope: Scope): void {
    for (const child of references(node)) {
      this.resolve(child, this.scopes.get(child) ?? scope)
    }
  }

  /** The scope that holds inside `node`, made if it has one of its own. */
  private open(node: AnyNode, parent: AnyNode, scope: Scope): Scope {
    if (isFunction(node)) return this.openOwner(node, scope, 'function')
    switch (node.type) {
      case 'ClassDeclaration':
      case 'ClassExpression':
        return this.openOwner(node, scope, 'class')
      case 'StaticBlock':
      case 'PropertyDefinition':
        return this.openOwner(node, scope, 'field')
      case 'BlockStatement':
        return isFunction(parent) ? scope : this.openScope(node, scope, scope.owner)
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'SwitchStatement':
      case 'CatchClause':
        return this.openScope(node, scope, scope.owner)
      default:
        return scope
    }
  }

  private openOwner(node: AnyNode, scope: Scope, kind: Owner['kind']): Scope {
    const parent = scope.owner
    const owner = {
      node,
      parent,
      kind,
      captures: new Set<Variable>(),
      globals: new Set<Variable>(),
    }
    this.owners.set(node, owner)
    return this.openScope(node, scope, owner)
  }

  private openScope(node: AnyNode, parent: Scope, owner: Owner | null): Scope {
    const scope = { node, parent, owner, variables: new Map<string, Variable>() }
    this.scopes.set(node, scope)
    return scope
  }

  private declare(node: AnyNode, scope: Scope): void {
    const owner = scope.owner
    if (owner?.node === node && owner.kind !== 'class' && node.type !== 'ArrowFunctionExpression') {
      for (const name of ['this', 'arguments']) add(scope, name, 'param', { from: node.start })
    }
    if (isFunction(node)) {
      if (node.id != null) {
        if (node.type === 'FunctionDeclaration') {
          add(scope.parent as Scope, node.id.name, 'var', { from: 0, init: node })
        } else add(scope, node.id.name, 'self', { from: 0 })
      }
      for (const param of node.params) {
        for (const { name } of namesOf(param)) add(scope, name, 'param', { from: node.body.start })
      }
    } else if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
      if (node.id != null) add(scope, node.id.name, 'self', { from: 0 })
      if (node.type === 'ClassDeclaration' && node.id != null) {
        add(scope.parent as Scope, node.id.name, 'lexical', { from: node.end, init: node })
      }
    } else if (node.type === 'VariableDeclaration') {
      this.declareVariables(node, scope)
    } else if (node.type === 'CatchClause' && node.param != null) {
      for (const { name } of namesOf(node.param))
        add(scope, name, 'param', { from: node.body.start })
    } else if (/^Import(Default|Namespace)?Specifier$/.test(node.type)) {
      add(scope, (node as { local: Identifier } & AnyNode).local.name, 'import', { from: 0 })
    }
    this.declareIn(node, scope)
  }

  private declareVariables(node: AnyNode & { type: 'VariableDeclaration' }, scope: Scope): void {
    const hoisted = node.kind === 'var'
    let target = scope
    while (hoisted && target.node !== target.owner?.node && target.parent !== null) {
      target = target.parent
    }
    const head = scope.node.type === 'ForOfStatement' || scope.node.type === 'ForInStatement'
    const from =
      head && 'left' in scope.node && scope.node.left === node ? scope.node.body.start : 0
    for (const declarator of node.declarations) {
      const init = declarator.id.type === 'Identifier' ? (declarator.init ?? null) : null
      for (const { name } of namesOf(declarator.id)) {
        const start = hoisted ? 0 : Math.max(from, declarator.end)
        add(target, name, hoisted ? 'var' : 'lexical', { from: start, init })
      }
    }
  }

  private resolve(node: AnyNode, scope: Scope): void {
    if (node.type === 'Identifier') this.mention(node, node.name, scope)
    if (node.type === 'ThisExpression' || node.type === 'Super') this.mention(node, 'this', scope)
    if (node.type === 'AssignmentExpression') this.assign(node.left, scope)
    if (node.type === 'UpdateExpression' && node.argument.type === 'Identifier') {
      this.assign(node.argument, scope)
    }
    if (
      (node.type === 'ForInStatement' || node.type === 'ForOfStatement') &&
      node.left.type !== 'VariableDeclaration'
    ) {
      this.assign(node.left, scope)
    }
    this.resolveIn(node, scope)
  }

  private assign(pattern: Pattern, scope: Scope): void {
    for (const { name } of namesOf(pattern)) {
      const variable = find(name, scope)
      if (variable === null) continue
      variable.assigned = true
      if (scope.owner !== variable.scope.owner) variable.assignedInFunction = true
    }
  }

  private mention(node: AnyNode, name: string, scope: Scope): void {
    const variable = find(name, scope)
    if (variable === null) return
    this.meaning.set(node, variable)
    if (variable.kind === 'self') return // a function's or class's own name says nothing new
    const home = variable.scope.owner
    if (home === scope.owner) variable.mentions.push(node.start)
    else if (home === null) scope.owner?.globals.add(variable)
    else {
      variable.captured = true
      for (let at = scope.owner; at !== home && at !== null; at = at.parent) {
        at.captures.add(variable)
      }
    }
  }
}

/** From where on a variable has a value, and what gives it one. */
interface Origin {
  readonly from: number
  readonly init?: AnyNode | null
}

function add(scope: Scope, name: string, kind: Variable['kind'], origin: Origin): void {
  const { from, init = null } = origin
  const before = scope.variables.get(name)
  if (before !== undefined && before.kind !== 'self' && kind === 'var') return
  const flags = { captured: false, assigned: false, assignedInFunction: false }
  scope.variables.set(name, { name, kind, scope, from, mentions: [], init, ...flags })
}

function find(name: string, scope: Scope): Variable | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    const variable = at.variables.get(name)
    if (variable !== undefined) return variable
  }
  return null
}

/** The nodes below that can hold references: not property names and labels. */
function references(node: AnyNode): AnyNode[] {
  switch (node.type) {
    case 'MemberExpression':
      return node.computed ? children(node) : [node.object]
    case 'Property':
      return node.computed ? [node.key, node.value] : [node.value]
    case 'MethodDefinition':
    case 'PropertyDefinition': {
      const value: AnyNode[] = node.value == null ? [] : [node.value]
      return node.computed ? [node.key, ...value] : value
    }
    case 'LabeledStatement':
      return [node.body]
    case 'BreakStatement':
    case 'ContinueStatement':
    case 'MetaProperty':
    case 'ImportDeclaration':
      return []
    case 'ExportSpecifier':
      return [node.local]
    default:
      return children(node)
  }
}
