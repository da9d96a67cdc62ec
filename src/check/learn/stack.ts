/*
 * The engine's stack: where an operation really stands.
 *
 * Published frames are believed only if the engine's own stack consists of exactly these calls.
 * Whatever else can lead to an operation (a callback of a built-in function, a getter, code that
 * was not transformed) has state of its own that nobody published.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Refusal, type Site } from '../program.ts'
import { type Frames, frames, type ModuleTable } from './frames.ts'
import { isMachinery } from './machinery.ts'
import type { SiteRow } from './source.ts'
import { displayPath, type Origin, originOf } from './source-map.ts'

/** What the engine has and the types do not: the offset in the script. */
interface Positioned extends NodeJS.CallSite {
  getPosition(): number
}

const DEPTH_MAX = 256
/** The checker's own calls around those published, and constructors in between: seldom more. */
const SPARE_FRAMES = 8

/**
 * The engine's stack, innermost call first, at most so deep.
 *
 * @param above Without this function's call and those that it made.
 */
export function callSites(depth = DEPTH_MAX, above: object = callSites): Positioned[] {
  const { prepareStackTrace, stackTraceLimit } = Error
  const holder = { stack: [] as Positioned[] }
  Error.prepareStackTrace = asTheyAre
  Error.stackTraceLimit = depth
  Error.captureStackTrace(holder, above as () => void)
  const sites = holder.stack
  Error.prepareStackTrace = prepareStackTrace
  Error.stackTraceLimit = stackTraceLimit
  return sites
}

function asTheyAre(_: Error, sites: NodeJS.CallSite[]): NodeJS.CallSite[] {
  return sites
}

/**
 * Assures that the published frames are the stack.
 *
 * @param above The checker's function that was called for a body's operation.
 * @throws {Refusal} they are not: says what is between them.
 */
export function verifyFrames(published: Frames, above: object): void {
  let sites = callSites(published.n + SPARE_FRAMES, above) // a microsecond each
  let at = firstUnpublished(published, sites)
  if (at === sites.length) {
    // the stack was cut off
    sites = callSites(published.n + DEPTH_MAX, above)
    at = firstUnpublished(published, sites)
  }
  if (at >= 0) refuseFrame(sites, at)
}

/** The first of the stack that is not as published; -1 if there is none. */
function firstUnpublished({ n, modules, calls }: Frames, sites: readonly Positioned[]): number {
  let at = 0
  while (isMachinery(sites[at]?.getFileName())) at++
  for (let depth = n - 1; depth >= 0; depth--, at++) {
    while (isImplicit(sites[at])) at++
    const module = frames.tableOf(modules[depth]!)
    if (!isCall(sites[at], module, calls[depth] as number)) return at
  }
  return isMachinery(sites[at]?.getFileName()) ? -1 : at
}

/** Whether the engine's frame stands at that call. Lines, which are slow, are looked up once. */
function isCall(site: Positioned | undefined, module: ModuleTable, call: number): boolean {
  if (site === undefined || !module.isScript(site.getFileName())) return false
  const position = site.getPosition()
  if (module.positions[call] === position) return true
  const [line, column] = module.table.sites[call] as SiteRow
  if (site.getLineNumber() !== line || site.getColumnNumber() !== column) return false
  module.positions[call] = position
  return true
}

/** Whether it is in a constructor that is not written out: it passes its arguments on, no more. */
function isImplicit(site: NodeJS.CallSite | undefined): boolean {
  if (site?.isConstructor() !== true) return false
  const module = frames.tableOfScript(site.getFileName() ?? '')
  if (module === undefined) return false
  const { implicit, sites } = module.table
  return implicit.some(index => {
    const [line, column] = sites[index] as SiteRow
    return line === site.getLineNumber() && column === site.getColumnNumber()
  })
}

/** The innermost place of the running code that is not the checker's; null if there is none. */
export function currentSite(): Site | null {
  return visibleSites(callSites())[0] ?? null
}

/** Places of the code on a stack, without the checker's and the engine's own. */
export function visibleSites(sites: readonly NodeJS.CallSite[]): Site[] {
  const first = sites.findIndex(site => !isMachinery(site.getFileName()))
  const end = sites.findIndex((site, i) => i > first && isMachinery(site.getFileName()))
  return sites
    .slice(first, end < 0 ? undefined : end)
    .filter(site => isUserScript(site.getFileName()))
    .map(site => siteOfFrame(site))
}

/** Where an error came from, innermost first; from its `stack`, so that may be empty. */
export function sitesOfError(error: unknown): Site[] {
  const stack = error instanceof Error ? String(error.stack) : ''
  const places = [
    ...stack.matchAll(/^ +at .*?\(?((?:file|data):[^\s()]+|\/[^():]+):(\d+):(\d+)\)?$/gm),
  ]
  const end = places.findIndex(([, script]) => isMachinery(script))
  return places
    .slice(0, end < 0 ? undefined : end)
    .map(([, script, line, column]) => siteOf(script as string, Number(line), Number(column)))
}

function isUserScript(script: string | null | undefined): boolean {
  return script != null && !script.startsWith('node:') && !isMachinery(script)
}

function siteOfFrame(site: NodeJS.CallSite): Site {
  return siteOf(
    site.getFileName() as string,
    site.getLineNumber() ?? 0,
    site.getColumnNumber() ?? 0,
  )
}

function siteOf(script: string, line: number, column: number): Site {
  const module = frames.tableOfScript(script)
  if (module !== undefined) return module.siteAt(line, column)
  const origin = originOfScript(script)
  if (origin === null) return { file: script, line, text: '' }
  return { file: displayPath(origin.file), line: origin.lineOf(line - 1, 0), text: '' }
}

const origins = new Map<string, Origin | null>()

function originOfScript(script: string): Origin | null {
  if (!script.startsWith('file:')) return null
  let origin = origins.get(script)
  if (origin === undefined) {
    origin = read(script)
    origins.set(script, origin)
  }
  return origin
}

function read(script: string): Origin | null {
  try {
    return originOf(readFileSync(fileURLToPath(script), 'utf8'), script)
  } catch {
    return null
  }
}

function refuseFrame(sites: readonly NodeJS.CallSite[], at: number): never {
  const site = sites[at]
  const script = site?.getFileName()
  const below = visibleSites(sites.slice(at))[0] ?? null
  if (site === undefined) throw new Refusal(`calls are more than ${DEPTH_MAX} deep`, below)
  if (!isUserScript(script)) {
    const name = [site.getTypeName(), site.getFunctionName()].filter(Boolean).join('.')
    const what = `an operation in a callback of ${name}, which has state that cannot be seen`
    throw new Refusal(`${what}: write a loop, or give the model identity: 'history'`, below)
  }
  if (frames.tableOfScript(script as string) === undefined) {
    const what = 'an operation in code that was not loaded through hotplug/check/register'
    throw new Refusal(
      `${what}: run node with --import, or give the model identity: 'history'`,
      below,
    )
  }
  const how = 'a getter, setter, iterator, conversion, default parameter, field, generator or async'
  const what = `an operation that is not reached by calls alone, but through ${how} function`
  throw new Refusal(`${what}: call a method instead`, below)
}
