/*
 * A module under transformation: its syntax, what was found in it, and the table that it takes
 * along.
 */
import { type AnyNode, type Options, type Program, parse, type Token, tokTypes } from 'acorn'
import { type Scopes, scopesOf } from './scope.ts'
import { type Origin, originOf } from './source-map.ts'
import { Lines, Splice } from './splice.ts'

const TEXT_MAX = 100

/** A call of a module, as its table holds it: see `Table`. */
export type SiteRow = readonly [
  line: number,
  column: number,
  origin: number,
  text: string,
  names: readonly string[],
]

/** What transformed code knows about itself; `$hotplugSites()` returns it. */
export interface Table {
  readonly url: string
  /** The source it was written in: a path, or a URL. */
  readonly file: string
  /**
   * Calls: where the engine says they stand, the line of the source, the call as written, and the
   * names of what is published there.
   */
  readonly sites: readonly SiteRow[]
  /** Those of `sites` that are no calls, but classes whose constructor is not written out. */
  readonly implicit: readonly number[]
  /** What a body must not run: the line of the source, and why. */
  readonly refusals: readonly (readonly [number, string])[]
  /** By line of the module from 1, the line of the source; null if it is the same. */
  readonly lines: readonly number[] | null
  /** Values of the module that might change: name, line of the source, the value. */
  readonly values: readonly (readonly [string, number, () => unknown])[]
}

/** A call to be published. */
export interface Call {
  readonly node: AnyNode
  /** Offset that the engine reports for it. */
  readonly offset: number
  names: readonly string[]
}

/** A module under transformation. */
export class Source {
  readonly code: string
  readonly url: string
  readonly splice: Splice
  readonly scopes: Scopes
  readonly program: Program
  readonly calls: Call[] = []
  readonly refusals: [number, string][] = []
  private readonly implicit: number[] = []
  private readonly tokens: Token[] = []
  private readonly origin: Origin
  private readonly lines: Lines

  /** @throws {SyntaxError} it does not parse. */
  constructor(code: string, url: string, commonjs: boolean) {
    const options: Options = {
      ecmaVersion: 'latest',
      sourceType: commonjs ? 'script' : 'module',
      allowReturnOutsideFunction: commonjs,
      allowHashBang: true,
      preserveParens: true,
      onToken: this.tokens,
    }
    this.code = code
    this.url = url
    this.splice = new Splice(code)
    this.lines = new Lines(code)
    this.origin = originOf(code, url)
    const program = parse(code, options)
    this.program = program
    this.scopes = scopesOf(program)
  }

  /** The line of the source that an offset was written on. */
  lineOf(offset: number): number {
    const { line, column } = this.lines.at(offset)
    return this.origin.lineOf(line - 1, column)
  }

  /** The first token at or after an offset. */
  tokenAt(offset: number): Token {
    return this.tokens[this.indexAt(offset)] as Token
  }

  /** The last token that ends at or before an offset. */
  tokenBefore(offset: number): Token {
    return this.tokens[this.indexAt(offset) - 1] as Token
  }

  /**
   * Notes a call; the place that the engine reports for it is its `new`, or the name before its
   * parenthesis, or else the parenthesis.
   */
  call(node: AnyNode & { type: 'CallExpression' | 'NewExpression' }): number {
    let offset = node.start
    if (node.type === 'CallExpression') {
      let at = this.indexAt(node.callee.end)
      while (this.tokens[at]?.type !== tokTypes.parenL) at++
      const before = this.tokens[at - 1] as Token
      const named = before.type === tokTypes.name || before.type === tokTypes._super
      offset = (named ? before : (this.tokens[at] as Token)).start
    }
    return this.calls.push({ node, offset, names: [] }) - 1
  }

  /** Notes a class whose constructor is not written out; the engine reports its beginning. */
  implicitConstructor(node: AnyNode): void {
    this.implicit.push(this.calls.push({ node, offset: node.start, names: [] }) - 1)
  }

  /** The code with all insertions, and the table. */
  finish(): string {
    const order = [...this.calls.keys()].sort((a, b) => this.offsetOf(a) - this.offsetOf(b))
    const { text, places } = this.splice.finish(order.map(index => this.offsetOf(index)))
    const rows: SiteRow[] = []
    for (const [i, index] of order.entries()) {
      const { node, offset, names } = this.calls[index] as Call
      const [line, column] = places[i] as [number, number]
      rows[index] = [line, column, this.lineOf(offset), this.textOf(node), names]
    }
    return `${text}\n${this.table(rows)}\n`
  }

  private table(sites: readonly SiteRow[]): string {
    const lines = Array.from({ length: this.lines.count }, (_, i) => this.origin.lineOf(i, 0))
    const head = JSON.stringify({
      url: this.url,
      file: this.origin.file,
      sites,
      implicit: this.implicit,
      refusals: this.refusals,
      lines: lines.every((line, i) => line === i + 1) ? null : lines,
    })
    const values = [...this.scopes.module.variables.values()].filter(
      ({ init, assigned }) => init !== null && !assigned && MUTABLE.test(init.type),
    )
    const rows = values.map(
      ({ name, init }) => `["${name}",${this.lineOf(init?.start ?? 0)},()=>${name}]`,
    )
    return `function $hotplugSites(){return{...${head},values:[${rows}]}}`
  }

  private textOf(node: AnyNode): string {
    const text = this.code.slice(node.start, node.end).replace(/\s+/g, ' ')
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX - 1)}…` : text
  }

  private offsetOf(index: number): number {
    return (this.calls[index] as Call).offset
  }

  private indexAt(offset: number): number {
    let low = 0
    let high = this.tokens.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.tokens[middle] as Token).start < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

const MUTABLE = /^(Object|Array|New|Call)Expression$|^Class(Declaration|Expression)$/
