/*
 * Classes that inherit their constructor run one that nobody wrote: it is written out, so that
 * its frame is published like any other.
 */
import { type AnyNode, type Options, parse } from 'acorn'
import { Splice } from './splice.ts'
import { children } from './tree.ts'

const INHERITED = 'constructor(...args){super(...args)}'

/**
 * Adds the constructor that a class inherits to each that has none. Lines stay where they are.
 *
 * @throws {SyntaxError} it does not parse.
 */
export function writeConstructors(code: string, options: Options): string {
  if (!/\bextends\b/.test(code)) return code
  const splice = new Splice(code)
  visit(parse(code, options), splice)
  return splice.finish([]).text
}

function visit(node: AnyNode, splice: Splice): void {
  if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
    const inherits = node.superClass != null
    const written = node.body.body.some(
      member => member.type === 'MethodDefinition' && member.kind === 'constructor',
    )
    if (inherits && !written) splice.insert(node.body.start + 1, INHERITED)
  }
  for (const child of children(node)) visit(child, splice)
}
