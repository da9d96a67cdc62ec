/*
 * Transforms modules while they are loaded.
 *
 * `load` is for `module.register` (Node 20), which runs this file on a thread of its own, and
 * `loadSync` for `module.registerHooks`: nothing here may rely on state shared with the program.
 */
import module from 'node:module'
import { isMachinery } from './machinery.ts'
import { transform } from './transform.ts'

const PACKAGE = new URL('../../../', import.meta.url).href

/** What a load hook passes on. */
export interface Loaded {
  readonly format?: string | null | undefined
  readonly source?: string | ArrayBuffer | NodeJS.TypedArray | null | undefined
}

/** The load hook, asynchronous. */
export async function load<C, L extends Loaded>(
  url: string,
  context: C,
  next: (url: string, context: C) => Promise<L>,
): Promise<L> {
  return transformed(url, await next(url, context))
}

/** The load hook, synchronous. */
export function loadSync<C, L extends Loaded>(
  url: string,
  context: C,
  next: (url: string, context: C) => L,
): L {
  return transformed(url, next(url, context))
}

/**
 * Whether a module is a body's: the user's own and hotplug's, but neither other packages nor the
 * checker, save for models and tests that lie in its folder.
 */
function isTransformed(url: string): boolean {
  if (!url.startsWith('file:')) return false
  if (isMachinery(url)) return false
  const own = url.startsWith(PACKAGE) ? url.slice(PACKAGE.length) : url
  return !own.includes('/node_modules/') && !own.startsWith('node_modules/')
}

function transformed<L extends Loaded>(url: string, loaded: L): L {
  const { format, source } = loaded
  if (source == null || !isTransformed(url)) return loaded
  const kind = /^(module|commonjs)(-typescript)?$/.exec(format ?? '')
  if (kind === null) return loaded
  const text = typeof source === 'string' ? source : new TextDecoder().decode(source)
  try {
    const code = kind[2] === undefined ? text : stripTypes(text)
    const commonjs = kind[1] === 'commonjs'
    return { ...loaded, format: kind[1], source: transform(code, url, commonjs) }
  } catch (error) {
    if (error instanceof SyntaxError) return loaded // the engine says it better
    throw error
  }
}

function stripTypes(code: string): string {
  const { stripTypeScriptTypes } = module as { stripTypeScriptTypes?: (code: string) => string }
  if (stripTypeScriptTypes === undefined) throw new SyntaxError('TypeScript')
  return stripTypeScriptTypes(code)
}
