/*
 * What a call publishes, and what makes a function impossible to check.
 */
import type { AnyNode } from 'acorn'
import type { Owner, Scope, Variable } from './scope.ts'
import type { Source } from './source.ts'

/** A function that publishes its calls. */
export interface Frame {
  readonly owner: Owner
  /** Whether `this` may not be touched at first. */
  readonly derived: boolean
  /** Variables to declare. */
  readonly names: string[]
  used: boolean
}

/** Where the walk is. */
export interface Place {
  readonly scope: Scope
  /** Null where calls are not published: outside functions, in parameters, fields, async code. */
  readonly frame: Frame | null
  /** Expressions for values that are held meanwhile. */
  readonly held: readonly string[]
  /** Of each `try` around with a `finally`: the variable that says how it was left. */
  readonly leaving: readonly string[]
  readonly loops: readonly AnyNode[]
}

/** What a call publishes: names and expressions. */
export function valuesAt(node: AnyNode, place: Place, frame: Frame): [string, string][] {
  const values: [string, string][] = []
  const seen = new Set<string>()
  let scope: Scope | null = place.scope
  for (; scope !== null && scope.owner === frame.owner; scope = scope.parent) {
    for (const variable of scope.variables.values()) {
      if (variable.kind === 'self') continue
      const hidden = seen.has(variable.name)
      seen.add(variable.name)
      if (variable.kind === 'lexical' && variable.from > node.start) continue
      if (!isLive(variable, node, place.loops)) continue
      values.push([variable.name, hidden ? '$hotplug.nameless' : valueText(variable, frame)])
    }
  }
  for (const variable of frame.owner.captures) {
    const { name } = variable
    values.push([name, seen.has(name) ? '$hotplug.nameless' : `$hotplug.value(()=>${name})`])
  }
  for (const name of place.held) values.push([name, name])
  return values
}

/** The call that a function begins with if it must not run in a body; null if it may. */
export function refusalOf(owner: Owner, source: Source): string | null {
  for (const variable of owner.globals) {
    const { name, kind, init, assignedInFunction } = variable
    const weak =
      init?.type === 'NewExpression' &&
      init.callee.type === 'Identifier' &&
      /^Weak(Map|Set)$/.test(init.callee.name)
    if (!weak && !(assignedInFunction && (kind === 'var' || kind === 'lexical'))) continue
    const line = source.lineOf(firstMention(owner, variable, source))
    const type = weak ? source.code.slice(init.callee.start, init.callee.end) : ''
    const why = weak
      ? `\`${name}\` is a ${type} of the module, which the checker cannot look into`
      : `\`${name}\` is a variable of the module, which the checker cannot put back`
    const what = `${why}: keep it in an object that the body makes`
    return `$hotplug.hidden($hotplugSites,${source.refusals.push([line, what]) - 1})`
  }
  return null
}

function isLive(variable: Variable, call: AnyNode, loops: readonly AnyNode[]): boolean {
  const { captured, mentions, scope } = variable
  if (captured || mentions.some(mention => mention >= call.end)) return true
  return loops.some(loop => {
    const repeats = loop.start >= scope.node.start && loop.end <= scope.node.end
    return repeats && mentions.some(mention => mention >= loop.start && mention < loop.end)
  })
}

function valueText({ name, scope }: Variable, frame: Frame): string {
  const early = scope.node.type === 'SwitchStatement' || (name === 'this' && frame.derived)
  return early ? `$hotplug.value(()=>${name})` : name
}

function firstMention(owner: Owner, variable: Variable, source: Source): number {
  for (const [node, meaning] of source.scopes.meaning) {
    const inside = node.start >= owner.node.start && node.end <= owner.node.end
    if (meaning === variable && inside) return node.start
  }
  return owner.node.start
}
