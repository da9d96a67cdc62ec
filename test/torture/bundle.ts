/*
 * Compiled modules as one script, so that a thread starts in a fraction of the time: most of what a
 * thread costs that lives for a moment is the loading of a hundred files.
 *
 *     const m0 = (() => { ...module...; return { get name() { return name }, ... } })()
 *     const m1 = (() => { const { name } = m0; ... })()
 *
 * Knows what this tree's compiled modules have: named exports, no cycles, no top-level await.
 */
import { readFileSync } from 'node:fs'
import { parse } from 'acorn'

const SEAMS: Readonly<Record<string, string>> = {
  '#atomics': '../../src/atomics/native.js',
  '#protections': '../../src/lib/protections.js',
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
}

interface Named {
  readonly name: string
}

interface Specifier extends Node {
  readonly imported?: Named
  readonly local: Named
  readonly exported?: Named
}

interface Statement extends Node {
  readonly source?: { readonly value: string } | null
  readonly specifiers?: readonly Specifier[]
  readonly declaration?: (Node & DeclarationParts) | null
}

interface DeclarationParts {
  readonly id?: Named
  readonly declarations?: readonly { readonly id: Named }[]
}

/** @returns A script, for a thread, that ends with a call of what `entry` exports as `name`. */
export function bundleText(entry: URL, name: string): string {
  const bundle = new Bundle()
  const last = bundle.add(entry)
  const call = `m${last}.${name}(require('node:worker_threads').workerData)`
  return `'use strict'\n${bundle.parts.join('\n')}\n${call}`
}

class Bundle {
  readonly parts: string[] = []
  private readonly numbers = new Map<string, number>()

  /** @returns The module's number. */
  add(url: URL): number {
    const known = this.numbers.get(url.href)
    if (known !== undefined) return known
    const text = readFileSync(url, 'utf8')
    const edits: Edit[] = []
    const onComment = (_isBlock: boolean, _text: string, start: number, end: number): void => {
      edits.push({ start, end, text: '' })
    }
    const { body } = parse(text, { ecmaVersion: 'latest', sourceType: 'module', onComment })
    const exported: string[] = []
    for (const statement of body as unknown as readonly Statement[]) {
      this.rewrite(url, statement, edits, exported)
    }
    const here = JSON.stringify(url.href)
    const code = applied(text, edits).replaceAll('import.meta.url', here)
    const number = this.numbers.size
    this.numbers.set(url.href, number)
    this.parts.push(`const m${number} = (() => {\n${code}\nreturn { ${exported.join(', ')} }\n})()`)
    return number
  }

  private rewrite(url: URL, statement: Statement, edits: Edit[], exported: string[]): void {
    const { type, start, end, source, specifiers = [], declaration } = statement
    if (type === 'ImportDeclaration') {
      edits.push({ start, end, text: importText(this.from(url, source!.value), specifiers) })
    } else if (type === 'ExportNamedDeclaration' && declaration) {
      edits.push({ start, end: declaration.start, text: '' })
      for (const name of namesOf(declaration)) exported.push(getter(name, name))
    } else if (type === 'ExportNamedDeclaration') {
      const from = source ? `${this.from(url, source.value)}.` : ''
      for (const { local, exported: as } of specifiers) {
        exported.push(getter(as!.name, from + local.name))
      }
      edits.push({ start, end, text: '' })
    }
  }

  /** What stands for a module in another. */
  private from(url: URL, specifier: string): string {
    const seam = SEAMS[specifier]
    if (seam !== undefined) return `m${this.add(new URL(seam, import.meta.url))}`
    if (specifier.startsWith('.')) return `m${this.add(new URL(specifier, url))}`
    return `require('${specifier}')`
  }
}

function importText(from: string, specifiers: readonly Specifier[]): string {
  const named: string[] = []
  const texts: string[] = []
  for (const { type, imported, local } of specifiers) {
    if (type === 'ImportSpecifier') named.push(`${imported!.name}: ${local.name}`)
    else texts.push(`const ${local.name} = ${from};`)
  }
  if (named.length > 0) texts.push(`const { ${named.join(', ')} } = ${from};`)
  return texts.join(' ')
}

function namesOf({ id, declarations = [] }: DeclarationParts): string[] {
  return id ? [id.name] : declarations.map(one => one.id.name)
}

function getter(name: string, value: string): string {
  return `get ${name}() { return ${value} }`
}

function applied(text: string, edits: readonly Edit[]): string {
  let result = ''
  let at = 0
  const inOrder = edits.toSorted((a, b) => a.start - b.start)
  for (const { start, end, text: replacement } of inOrder) {
    result += text.slice(at, start) + replacement
    at = end
  }
  return result + text.slice(at)
}
