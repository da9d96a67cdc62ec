/*
 * Where compiled code was written: the lines of the TypeScript behind a module.
 */
import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { isAbsolute, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

// Asked once: in a worker, cwd() goes through Atomics, which a capture answers.
const WORKING_DIRECTORY = process.cwd()

/** The lines that a module's lines were compiled from. */
export interface Origin {
  /** Path or URL of the source. */
  readonly file: string
  /** Line, from 1, of the source that a place of the module came from; line and column from 0. */
  lineOf(line: number, column: number): number
}

/** The source's place in the world: itself, or what its source map says. */
export function originOf(source: string, url: string): Origin {
  return mapped(source, url) ?? { file: pathOf(url), lineOf: line => line + 1 }
}

/** A file's path, or its URL if it is no file. */
export function pathOf(url: string): string {
  return url.startsWith('file:') ? fileURLToPath(url) : url
}

/** A path as people want to read it: from the working directory on, if it is below. */
export function displayPath(file: string): string {
  if (!isAbsolute(file)) return file
  const short = relative(WORKING_DIRECTORY, file)
  return short.startsWith('..') ? file : short
}

function mapped(source: string, url: string): Origin | null {
  const link = [...source.matchAll(/^\/\/[#@] sourceMappingURL=(\S+)\s*$/gm)].at(-1)?.[1]
  if (link === undefined) return null
  try {
    const at = link.startsWith('data:') ? url : new URL(link, url).href
    const text = link.startsWith('data:') ? decode(link) : readFileSync(fileURLToPath(at), 'utf8')
    return read(new SourceMap(JSON.parse(text)), at)
  } catch {
    return null // no map to be had: the module's own lines then
  }
}

function read(map: SourceMap, url: string): Origin | null {
  const [source] = map.payload.sources
  if (source === undefined || map.payload.sources.length > 1) return null
  const file = pathOf(new URL((map.payload.sourceRoot ?? '') + source, url).href)
  return {
    file,
    lineOf(line, column) {
      const entry = map.findEntry(line, column)
      return 'originalLine' in entry ? entry.originalLine + 1 : line + 1
    },
  }
}

function decode(link: string): string {
  const comma = link.indexOf(',')
  const text = link.slice(comma + 1)
  return /;base64$/.test(link.slice(0, comma))
    ? Buffer.from(text, 'base64').toString()
    : decodeURIComponent(text)
}
