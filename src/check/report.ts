/*
 * Schedules told for people: one line a step, then who is left where.
 *
 *     deadlock: writer1, writer2 sleep for ever: shortest schedule, 10 steps; replay: 0001000011
 *       1  writer1  store            WRITER 0 -> 1            memhp.ts:36 < models.ts:16
 *       2  writer1  compareExchange  LOCK 0 -> 1    succeeds  mutex.ts:7 < memhp.ts:38 < ...
 */
import { basename } from 'node:path'
import { Kind, Move, type Program, type Site, Woke } from './program.ts'

/** A step of a schedule, as it went. */
export interface Told {
  readonly thread: number
  readonly move: Move
  /** Where the thread stood before. */
  readonly node: number
  /** The word that the step was about; -1 if none. */
  readonly word: number
  /** The word in memory before the step and after it. */
  readonly before: number
  readonly after: number
  /** What the operation resulted in; undefined if the thread fell asleep. */
  readonly result: number | undefined
  /** Threads that it woke. */
  readonly woken: readonly number[]
}

/** How a thread is left at the end of a schedule. */
export interface Left {
  readonly thread: number
  readonly node: number
  readonly state: 'runs' | 'sleeps' | 'done' | 'dead' | 'failed'
}

/** What traces need to know of a model. */
export interface Names {
  readonly threads: readonly string[]
  readonly words: readonly string[]
}

const OPERATIONS = Object.keys(Kind).map(name => name.replace(/^./, first => first.toLowerCase()))

const MOVES: Readonly<Record<Move, string>> = {
  [Move.Run]: '',
  [Move.Flush]: '(memory)',
  [Move.Stale]: '',
  [Move.TimeOut]: '(time)',
  [Move.Spurious]: '(machine)',
  [Move.Die]: 'DIES',
  [Move.DieQueued]: 'DIES',
  [Move.Early]: '(memory)',
}

/** The lines of a schedule. */
export function tellSteps(program: Program, names: Names, steps: readonly Told[]): string {
  const rows = steps.map((step, i) => [
    String(i + 1).padStart(3),
    names.threads[step.thread] as string,
    MOVES[step.move] || operationOf(program, step.node),
    valueText(program, names, step),
    noteText(program, names, step),
    sitesText(program.sites(step.node)),
  ])
  return align(rows)
}

/** Who is left where, one line a thread. */
export function tellEnd(program: Program, names: Names, left: readonly Left[], words: Int32Array) {
  const rows = left.map(({ thread, node, state }) => {
    const name = names.threads[thread] as string
    const label = program.labels[program.label[node] as number] as string
    const holder = label === '' || state === 'dead' || state === 'done' ? '' : `in ${label}`
    const where = state === 'done' || state === 'dead' ? '' : sitesText(program.sites(node))
    return ['   ', name, holder, stateText(program, names, { thread, node, state }, words), where]
  })
  return align(rows)
}

function stateText(program: Program, names: Names, { node, state }: Left, words: Int32Array) {
  if (state === 'dead') return 'is dead'
  if (state === 'done') return 'is done'
  if (state === 'failed') return `threw ${program.error(node)}`
  const kind = program.kind[node] as Kind
  if (kind === Kind.AwaitDeath) return 'waits for a death'
  const word = program.word[node] as number
  if (state === 'sleeps') return `sleeps on ${names.words[word]} = ${words[word]}`
  const place = kind === Kind.BarrierAll ? '' : ` ${names.words[word]} = ${words[word]}`
  return `is before ${operationOf(program, node)}${place}`
}

function operationOf(program: Program, node: number): string {
  return OPERATIONS[program.kind[node] as Kind] as string
}

function valueText(program: Program, names: Names, step: Told): string {
  const { word, before, after, result, node, move } = step
  if (word < 0) return ''
  const name = names.words[word] as string
  const kind = program.kind[node] as Kind
  if (kind === Kind.StorePlain && move === Move.Run) return `${name} := ${program.a[node]}`
  if (kind === Kind.Notify) return name
  if (kind === Kind.LoadPlain && move !== Move.Flush) return `${name} = ${result}`
  return before === after && !WRITES.has(kind)
    ? `${name} = ${before}`
    : `${name} ${before} -> ${after}`
}

const WRITES: ReadonlySet<Kind> = new Set([Kind.Store, Kind.Exchange])

function noteText(program: Program, names: Names, step: Told): string {
  const { node, move, result, before, woken } = step
  if (move === Move.Flush) return 'reaches memory'
  if (move === Move.Early) return 'overtakes the load'
  if (move === Move.Stale) return 'stale'
  if (move === Move.TimeOut) return 'times out'
  if (move === Move.Spurious) return 'wakes for no reason'
  if (move === Move.Die) return ''
  if (move === Move.DieQueued) return 'a wake-up will be lost on it'
  const expected = program.a[node] as number
  switch (program.kind[node]) {
    case Kind.CompareExchange:
      return before === expected ? 'succeeds' : `fails, not ${expected}`
    case Kind.Wait:
      return result === Woke.NotEqual ? `goes on, not ${expected}` : 'SLEEPS'
    case Kind.Notify:
      return woken.length > 0
        ? `wakes ${woken.map(thread => names.threads[thread]).join(', ')}`
        : 'wakes nobody'
    case Kind.StorePlain:
      return 'on its way'
    case Kind.AwaitDeath:
      return `of ${names.threads[result as number]}`
    default:
      return ''
  }
}

/** `mutex.ts:10 < memhp.ts:17`: innermost first. */
export function sitesText(sites: readonly Site[]): string {
  return sites.map(({ file, line }) => `${basename(file)}:${line}`).join(' < ')
}

function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(...rows.map(row => (row[i] as string).length)),
  )
  return rows
    .map(row =>
      row
        .map((cell, i) => cell.padEnd(widths[i] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
