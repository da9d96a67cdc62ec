/*
 * The walk that puts publishing into a module; transform.ts says what it is for.
 *
 * Each node is visited once, parents first, and each insertion is made on the way: openings
 * before the children are visited, closings after, so that those at one offset nest. What a call
 * publishes is decided at the end, when all mentions are known: the variables in reach that are
 * mentioned after the call, or in a loop around it, or in a closure. Others are dead, and leaving
 * them out makes states fewer.
 *
 * `$t…` name held values, `$c…` how a `finally` was come to, `$i…` positions of loops.
 */
import type { AnyNode, CallExpression, Function as FunctionNode, NewExpression } from 'acorn'
import type { Owner, Scope } from './scope.ts'
import type { Source } from './source.ts'
import type { Insertion } from './splice.ts'
import {
  children,
  containsCall,
  endsByLine,
  inferredName,
  isConstant,
  isConstructor,
  isFunction,
  isLoop,
  isMethod,
  isNamedMethod,
  isOptional,
  isPlainPath,
  nameText,
  present,
} from './tree.ts'
import { type Frame, type Place, refusalOf, valuesAt } from './values.ts'

type ClassNode = AnyNode & { type: 'ClassDeclaration' | 'ClassExpression' }
type ForEachNode = AnyNode & { type: 'ForOfStatement' | 'ForInStatement' }
type Statement = AnyNode

/** Makes the insertions. */
export function publish(source: Source): void {
  const walk = new Walk(source)
  const scope = source.scopes.module
  const first = source.program.body.find(statement => !('directive' in statement))
  if (first !== undefined) source.splice.insert(first.start, '$hotplug.load($hotplugSites);')
  walk.each(source.program, { scope, frame: null, held: [], leaving: [], loops: [] })
  walk.finish()
}

class Walk {
  private readonly source: Source
  private readonly later: (() => void)[] = []

  constructor(source: Source) {
    this.source = source
  }

  /** What had to wait until all mentions are known. */
  finish(): void {
    for (const run of this.later) run()
  }

  each(node: AnyNode, place: Place) {
    for (const child of children(node)) this.visit(child, node, place)
  }

  private visit(node: AnyNode, parent: AnyNode, place: Place) {
    this.visitInside(node, parent, place)
    // What is inserted next must not be taken for more of a statement that a line's end ended.
    if (endsByLine(node, parent, this.source.code)) this.insert(node.end, ';')
  }

  private visitInside(node: AnyNode, parent: AnyNode, outer: Place) {
    const scope = this.source.scopes.scopes.get(node)
    const place = scope === undefined || scope === outer.scope ? outer : { ...outer, scope }
    if (isFunction(node)) return this.visitFunction(node, parent, place)
    switch (node.type) {
      case 'ClassDeclaration':
      case 'ClassExpression':
        return this.visitClass(node, parent, place)
      case 'PropertyDefinition':
        return this.visitField(node, place)
      case 'StaticBlock':
        return this.each(node, { ...place, frame: null })
      case 'BlockStatement':
        return this.visitBlock(node, place)
      case 'ObjectExpression':
        return this.visitObject(node, place)
    }
    if (place.frame === null) return this.each(node, place)
    this.visitPublished(node, { ...place, frame: place.frame })
  }

  /** What matters in functions that publish only. */
  private visitPublished(node: AnyNode, place: Place & { frame: Frame }) {
    if (isLoop(node)) return this.visitLoop(node, place)
    switch (node.type) {
      case 'CallExpression':
      case 'NewExpression':
        return this.visitCall(node, place)
      case 'AssignmentExpression':
        return this.visitAssignment(node, place)
      case 'BinaryExpression':
        if (node.left.type === 'PrivateIdentifier') break
        return this.visitOperands([node.left, node.right], node, place)
      case 'MemberExpression':
        if (!node.computed) break
        return this.visitOperands([node.object, node.property], node, place)
      case 'ArrayExpression':
        return this.visitOperands(node.elements.filter(present), node, place)
      case 'TemplateLiteral':
        return this.visitOperands(node.expressions, node, place)
      case 'VariableDeclarator':
        if (node.init == null) break
        return this.visitOperands([node.init, node.id], node, place)
      case 'SwitchStatement':
        return this.visitSwitch(node, place)
      case 'TryStatement':
        return this.visitTry(node, place)
      case 'ReturnStatement':
        return this.visitReturn(node, place)
      case 'BreakStatement':
      case 'ContinueStatement':
        return this.note(node, place.leaving, JSON.stringify(`${node.type} ${node.start}`))
    }
    this.each(node, place)
  }

  // Functions and classes

  private visitFunction(
    node: AnyNode & FunctionNode,
    parent: AnyNode,
    place: Place,
    derived = false,
  ) {
    const owner = this.ownerOf(node)
    const method = isMethod(parent) && 'value' in parent && parent.value === node
    const value = node.type !== 'FunctionDeclaration' && !method && owner.parent !== null
    if (value) this.insert(node.start, this.introduction(node, parent))
    if (!method || isConstructor(parent)) this.keepThis(node, isConstructor(parent))
    const bare = { ...place, held: [], leaving: [], loops: [], frame: null }
    for (const param of node.params) this.visit(param, node, bare)
    const frame = node.async || node.generator ? null : { owner, derived, names: [], used: false }
    this.visitBody(node, { ...bare, frame })
    if (value) this.insert(node.end, `,${this.capturesOf(owner)})`)
  }

  /** What a constructor makes is needed after its end; any function may be one that uses `this`. */
  private keepThis(node: AnyNode, always: boolean) {
    const { scopes } = this.source.scopes
    const mentions = scopes.get(node)?.variables.get('this')?.mentions ?? []
    if (always || mentions.length > 0) mentions.push(node.end)
  }

  private visitBody(node: AnyNode & FunctionNode, place: Place) {
    const { body } = node
    if (body.type === 'BlockStatement') {
      const directives = body.body.filter(statement => 'directive' in statement)
      const start = directives.at(-1)?.end ?? body.start + 1
      if (directives.length > 0) this.insert(start, ';')
      this.entry(this.insert(start, ''), place.frame, '', '')
      this.visitBlock(body, place, start)
      return
    }
    const open = this.insert(body.start, '')
    this.visit(body, node, place)
    const close = this.insert(body.end, '')
    this.entry(open, place.frame, '{', 'return(')
    this.later.push(() => {
      close.text = open.text === '' ? '' : ')}'
    })
  }

  /** What a function does first, decided when all of it has been seen. */
  private entry(slot: Insertion, frame: Frame | null, before: string, after: string): void {
    if (frame === null) return
    this.later.push(() => {
      const hidden = refusalOf(frame.owner, this.source)
      if (!frame.used && frame.names.length === 0 && hidden === null) return
      const names = frame.names.length === 0 ? '' : `let ${frame.names};`
      slot.text = `${before}const $d=${hidden ?? '$hotplug.n'};${names}${after}`
    })
  }

  private visitClass(node: ClassNode, parent: AnyNode, place: Place) {
    const owner = this.ownerOf(node)
    const nested = owner.parent !== null
    const value = nested && node.type === 'ClassExpression'
    if (value) this.insert(node.start, this.introduction(node, parent))
    if (node.superClass != null) this.visit(node.superClass, node, place)
    this.publishPrivate(node)
    const written = node.body.body.some(member => isMethod(member) && isConstructor(member))
    if (node.superClass != null && !written) this.source.implicitConstructor(node)
    for (const member of node.body.body) {
      if (member.type === 'MethodDefinition') {
        if (member.computed) this.visit(member.key, member, place)
        const derived = isConstructor(member) && node.superClass != null
        const scope = this.source.scopes.scopes.get(member.value) as Scope
        this.visitFunction(member.value, member, { ...place, scope }, derived)
      } else this.visit(member, node.body, place)
    }
    if (value) this.insert(node.end, `,${this.capturesOf(owner)})`)
    else if (nested && node.id != null) {
      this.insert(node.end, `;${this.introduction(node, parent)}${node.id.name},`)
      this.insert(node.end, `${this.capturesOf(owner)});`)
    }
  }

  private visitField(node: AnyNode & { type: 'PropertyDefinition' }, place: Place) {
    if (node.computed) this.visit(node.key, node, place)
    if (node.value == null) return
    const bare = { held: [], leaving: [], loops: [], frame: null }
    this.visit(node.value, node, { ...place, ...bare })
  }

  private publishPrivate(node: ClassNode): void {
    const names = node.body.body.flatMap(member =>
      member.type === 'PropertyDefinition' && member.key.type === 'PrivateIdentifier'
        ? [`#${member.key.name}`]
        : [],
    )
    if (names.length === 0) return
    const values = names.map(name => `${name} in o?o.${name}:null`)
    this.insert(node.body.start + 1, `static{$hotplug.fields(this,o=>[${values}])}`)
  }

  private visitBlock(
    node: AnyNode & { type: 'BlockStatement' },
    place: Place,
    start = node.start + 1,
  ) {
    if (place.scope.owner !== null) {
      for (const statement of node.body) {
        if (statement.type !== 'FunctionDeclaration' || statement.id == null) continue
        const owner = this.ownerOf(statement)
        const head = `${this.introduction(statement, node)}${statement.id.name},`
        this.insert(start, `${head}${this.capturesOf(owner)});`)
      }
    }
    this.each(node, place)
  }

  private visitObject(node: AnyNode & { type: 'ObjectExpression' }, place: Place) {
    const methods = place.scope.owner === null ? [] : node.properties.filter(isNamedMethod)
    if (methods.length > 0) this.insert(node.start, '$hotplug.methods($hotplugSites,')
    const operands = node.properties.flatMap((property): AnyNode[] => {
      if (property.type === 'SpreadElement') return [property]
      const key: AnyNode[] = property.computed ? [property.key] : []
      return isMethod(property) ? key : [...key, property.value]
    })
    this.visitOperands(operands, node, place)
    for (const property of node.properties) {
      if (isMethod(property) && 'value' in property && property.value != null) {
        this.visit(property.value, property, place)
      }
    }
    if (methods.length === 0) return
    const rows = methods.map(method => {
      const role = method.kind === 'init' ? 'value' : method.kind
      const captures = this.capturesOf(this.ownerOf(method.value))
      return `[${nameText(method.key)},"${role}",${method.start},${captures}]`
    })
    this.insert(node.end, `,[${rows}])`)
  }

  /** The beginning of a call that tells a function or class apart, and its name if it loses it. */
  private introduction(node: AnyNode, parent: AnyNode): string {
    const named = 'id' in node && node.id != null
    const name = named ? 'null' : inferredName(node, parent)
    return `$hotplug.fn($hotplugSites,${node.start},${name},`
  }

  private capturesOf(owner: Owner): string {
    const values = [...owner.captures].map(({ name }) => `$hotplug.value(()=>${name})`)
    return `()=>[${values}]`
  }

  // Calls, and values held across them

  private visitCall(node: (CallExpression | NewExpression) & AnyNode, place: Place) {
    const { callee } = node
    const member = callee.type === 'MemberExpression'
    const function_: AnyNode[] = member
      ? callee.computed
        ? [callee.object, callee.property]
        : [callee.object]
      : [callee]
    this.visitOperands([...function_, ...node.arguments], node, place)
    if (callee.type === 'Identifier' && /^(require|eval)$/.test(callee.name)) return
    const frame = place.frame as Frame
    frame.used = true
    const call = this.source.call(node)
    const slot = this.insertArgument(node)
    this.later.push(() => {
      const values = valuesAt(node, place, frame)
      const names = values.map(([name]) => name)
      Object.assign(this.source.calls[call] as object, { names })
      const list = values.map(([, value]) => value)
      const at = `...$hotplug.at($d,$hotplugSites,${call},[${list}])`
      slot.text = slot.text.replace('@', () => at)
    })
  }

  /** Where an argument goes after the others; `@` stands for it. */
  private insertArgument(node: (CallExpression | NewExpression) & AnyNode): Insertion {
    const open = this.source.tokenAt(node.callee.end)
    const bare = node.type === 'NewExpression' && !(open.end <= node.end && open.type.label === '(')
    if (bare) return this.insert(node.end, '(@)')
    const last = this.source.tokenBefore(node.end - 1)
    const first = node.arguments.length === 0 || last.type.label === ','
    return this.insert(node.end - 1, first ? '@' : ',@')
  }

  /** Visits what is evaluated in this order and then used together by `whole`. */
  private visitOperands(
    operands: readonly AnyNode[],
    whole: AnyNode,
    place: Place,
    more: readonly string[] = [],
  ) {
    let { held } = place
    for (const [i, operand] of operands.entries()) {
      const across = place.frame !== null && operands.slice(i + 1).some(containsCall)
      const target = operand.type === 'SpreadElement' ? operand.argument : operand
      const name = across ? this.hold(target, whole, place) : null
      const inner = i === operands.length - 1 ? [...held, ...more] : held
      const temporary = name?.startsWith('$t') === true
      if (temporary) this.insert(target.start, `(${name}=`)
      this.visit(operand, whole, { ...place, held: inner })
      if (temporary) this.insert(target.end, ')')
      if (name !== null) held = [...held, name]
    }
  }

  /** How to name the value of `node`, which `whole` holds; null if nothing more is needed. */
  private hold(node: AnyNode, whole: AnyNode, place: Place): string | null {
    if (node.type === 'ParenthesizedExpression') return this.hold(node.expression, whole, place)
    if (isConstant(node)) return null
    if (node.type === 'Super') {
      this.source.scopes.meaning.get(node)?.mentions.push(whole.end)
      return null
    }
    const callee = 'callee' in whole && bare(whole.callee) === node
    if (node.type === 'Identifier' || node.type === 'ThisExpression') {
      const variable = this.source.scopes.meaning.get(node)
      if (variable === undefined) return null
      if (variable.scope.owner === place.scope.owner) variable.mentions.push(whole.end)
      const shorthand = whole.type === 'ObjectExpression' || whole.type === 'VariableDeclarator'
      if (!variable.assigned || callee || shorthand) return null
    }
    // A name would lose the call's `this`, or end a chain that may be cut short.
    if (callee && /^(Member|Sequence)Expression$/.test(node.type)) return null
    if ((callee && node.type !== 'CallExpression') || isOptional(node)) return '$hotplug.nameless'
    return this.name(place, '$t')
  }

  private visitAssignment(
    node: AnyNode & { type: 'AssignmentExpression' },
    place: Place & { frame: Frame },
  ) {
    const { left, right, operator } = node
    const reads = operator !== '=' && !/^(&&|\|\||\?\?)=$/.test(operator)
    if (left.type === 'Identifier') {
      const variable = this.source.scopes.meaning.get(left)
      if (reads) variable?.mentions.push(node.end)
      return this.visit(right, node, place)
    }
    if (left.type !== 'MemberExpression') return this.visitOperands([right, left], node, place)
    const parts: AnyNode[] = left.computed ? [left.object, left.property] : [left.object]
    const old = reads && containsCall(right) && isPlainPath(left)
    const more = old ? [this.source.code.slice(left.start, left.end)] : []
    this.visitOperands([...parts, right], node, place, more)
  }

  private visitSwitch(node: AnyNode & { type: 'SwitchStatement' }, place: Place) {
    const tests = node.cases.flatMap(({ test }) => (test == null ? [] : [test as AnyNode]))
    this.visitOperands([node.discriminant, ...tests], node, place)
    for (const { consequent } of node.cases) {
      for (const statement of consequent) this.visit(statement, node, place)
    }
  }

  // Statements

  private visitLoop(node: AnyNode, outer: Place & { frame: Frame }) {
    const place = { ...outer, loops: [...outer.loops, node] }
    if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') {
      return this.visitForEach(node, place)
    }
    for (const child of children(node)) {
      if ('body' in node && node.body === child) this.visitLoopBody(child, node, place, '')
      else this.visit(child, node, place)
    }
  }

  private visitLoopBody(body: Statement, loop: AnyNode, place: Place, head: string) {
    const block = body.type === 'BlockStatement'
    this.insert(body.start + (block ? 1 : 0), `${block ? '' : '{'}${head}$hotplug.tick();`)
    this.visit(body, loop, place)
    if (!block) this.insert(body.end, '}')
  }

  private visitForEach(node: ForEachNode, place: Place & { frame: Frame }) {
    const counter = this.name(place, '$i')
    const name = this.hold(node.right, node, place)
    const over = name?.startsWith('$t') ? `${name}=` : ''
    const held = [...place.held, counter, ...(name === null ? [] : [name])]
    this.visit(node.left, node, { ...place, held })
    this.insert(node.right.start, `(${counter}=0,${over}`)
    this.visit(node.right, node, place)
    this.insert(node.right.end, ')')
    this.visitLoopBody(node.body, node, { ...place, held }, `${counter}++;`)
  }

  private visitTry(node: AnyNode & { type: 'TryStatement' }, place: Place) {
    const { block, handler, finalizer } = node
    if (finalizer == null) return this.each(node, place)
    const how = this.name(place, '$c')
    const inside = { ...place, leaving: [...place.leaving, how] }
    const thrown = `catch($e){${how}=["throw",$e];throw $e}`
    this.visit(block, node, inside)
    this.insert(block.end - 1, `;${how}=0;`)
    if (handler == null) this.insert(block.end, thrown)
    else {
      this.insert(handler.body.start + 1, 'try{')
      this.visit(handler, node, inside)
      this.insert(handler.body.end - 1, `;${how}=0;}${thrown}`)
    }
    this.visit(finalizer, node, { ...place, held: [...place.held, how] })
  }

  private visitReturn(node: AnyNode & { type: 'ReturnStatement' }, place: Place) {
    const { argument } = node
    if (place.leaving.length === 0) return this.each(node, place)
    if (argument == null) return this.note(node, place.leaving, '["return"]')
    this.insert(argument.start, `(${place.leaving.join('=')}=["return",(`)
    this.visit(argument, node, place)
    this.insert(argument.end, ')])[1]')
  }

  /** Sets the variables before a statement. */
  private note(node: AnyNode, names: readonly string[], value: string) {
    if (names.length === 0) return
    this.insert(node.start, `{${names.join('=')}=${value};`)
    this.insert(node.end, '}')
  }

  private name(place: Place, prefix: string): string {
    const { names } = place.frame as Frame
    const name = `${prefix}${names.length}`
    names.push(name)
    return name
  }

  private ownerOf(node: AnyNode): Owner {
    return this.source.scopes.owners.get(node) as Owner
  }

  private insert(offset: number, text: string): Insertion {
    return this.source.splice.insert(offset, text)
  }
}

/** Without its parentheses. */
function bare(node: AnyNode): AnyNode {
  return node.type === 'ParenthesizedExpression' ? bare(node.expression) : node
}
