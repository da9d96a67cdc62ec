/*
 * Schedules told for people: one line a step, then who is left where.
 *
 *     deadlock: writer1, writer2 sleep for ever: shortest schedule, 10 steps; replay: 0001000011
 *       1  writer1  store            WRITER 0 -> 1            memhp.ts:36 < models.ts:16
 *       2  writer1  compareExchange  LOCK 0 -> 1    succeeds  mutex.ts:7 < memhp.ts:38 < ...
 */
import { basename } from 'node:path'
import { Kind, Move, type Program, type Site, Woke } from './program.ts'
import type { Happening, Outcome } from './search/replay.ts'

type End = Outcome['threads'][number]

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
export function tellSteps(program: Program, names: Names, steps: readonly Happening[]): string {
  const rows = steps.map((happening, i) => {
    const { step, kind, node } = happening
    return [
      String(i + 1).padStart(3),
      names.threads[step.thread] as string,
      MOVES[step.move] || (OPERATIONS[kind] as string),
      valueText(program, names, happening),
      noteText(program, names, happening),
      node < 0 ? '' : sitesText(program.sites(node)),
    ]
  })
  return align(rows)
}

/** Who is left where, one line a thread. */
export function tellEnd(program: Program, names: Names, { threads, words }: Outcome): string {
  const rows = threads.map((thread, i) => {
    const { node, dead } = thread
    const over = dead || program.kind[node] === Kind.Done
    const label = over ? '' : (program.labels[program.label[node] as number] as string)
    const where = over ? '' : sitesText(program.sites(node))
    const holder = label === '' ? '' : `[${label}] `
    const what = endText(program, names, thread, words)
    return ['   ', names.threads[i] as string, holder + what, where]
  })
  return align(rows)
}

function endText(program: Program, names: Names, { node, queue, dead }: End, words: Int32Array) {
  if (dead) return 'is dead'
  const kind = program.kind[node] as Kind
  if (kind === Kind.Done) return 'is done'
  if (kind === Kind.Fail) return `threw ${program.error(node)}`
  if (kind === Kind.AwaitDeath) return 'waits for a death'
  const word = program.word[node] as number
  if (queue >= 0) return `sleeps on ${names.words[word]} = ${words[word]}`
  const place = kind === Kind.BarrierAll ? '' : ` ${names.words[word]} = ${words[word]}`
  return `is before ${OPERATIONS[kind]}${place}`
}

function valueText(program: Program, names: Names, happening: Happening): string {
  const { step, kind, node, word, before, after, result } = happening
  if (word < 0) return ''
  const name = names.words[word] as string
  const isRun = step.move === Move.Run
  if (kind === Kind.StorePlain && isRun) return `${name} := ${program.a[node]}`
  if (kind === Kind.Notify) return name
  if (kind === Kind.LoadPlain && (isRun || step.move === Move.Stale)) return `${name} = ${result}`
  return before === after && !WRITES.has(kind)
    ? `${name} = ${before}`
    : `${name} ${before} -> ${after}`
}

const WRITES: ReadonlySet<Kind> = new Set([Kind.Store, Kind.Exchange])

function noteText(program: Program, names: Names, happening: Happening): string {
  const { step, kind, node, result, before, woke } = happening
  if (step.move !== Move.Run) return NOTES[step.move]
  const expected = program.a[node] as number
  switch (kind) {
    case Kind.CompareExchange:
      return before === expected ? 'succeeds' : `fails, not ${expected}`
    case Kind.Wait:
      return result === Woke.NotEqual ? `goes on, not ${expected}` : 'SLEEPS'
    case Kind.Notify:
      return woke.length > 0
        ? `wakes ${woke.map(thread => names.threads[thread]).join(', ')}`
        : 'wakes nobody'
    case Kind.StorePlain:
      return 'on its way'
    case Kind.AwaitDeath:
      return `of ${names.threads[result as number]}`
    default:
      return ''
  }
}

const NOTES: Readonly<Record<Move, string>> = {
  [Move.Run]: '',
  [Move.Flush]: 'reaches memory',
  [Move.Stale]: 'stale',
  [Move.TimeOut]: 'times out',
  [Move.Spurious]: 'wakes for no reason',
  [Move.Die]: '',
  [Move.DieQueued]: 'a wake-up will be lost on it',
  [Move.Early]: 'overtakes the load',
}

const SITES_MAX = 4

/** `mutex.ts:10 < memhp.ts:17`: innermost first; in a long one the middle is left out. */
export function sitesText(sites: readonly Site[]): string {
  const places = sites.map(({ file, line }) => `${basename(file)}:${line}`)
  if (places.length <= SITES_MAX) return places.join(' < ')
  return `${places.slice(0, SITES_MAX - 1).join(' < ')} < ... < ${places.at(-1)}`
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
