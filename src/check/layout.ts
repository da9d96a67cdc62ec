/*
 * The shared words of a model: all views in one buffer, and what each word is called.
 */
import { HotplugError } from '../lib/errors.ts'

const WORDS_MAX = 1 << 16

/** A word's index, or a half-open range of indices [from, to). */
export type Place = number | readonly [number, number]

/** How a view begins, and how wide its words are. */
export interface ViewOptions {
  /** Fills the view before any thread runs; words are 0 otherwise. */
  readonly init?: (words: Int32Array) => void
  /** Words of the view, if it is longer than its names reach. */
  readonly length?: number
  /** A word of `n` bits holds 0 to 2^n - 1: for all words of the view, or by name. */
  readonly bits?: number | Readonly<Record<string, number>>
}

/** Names of words. */
export type Places = Readonly<Record<string, Place>>

/** A declared view: words with names. */
export interface View<P extends Places = Places> {
  readonly places: P
  readonly length: number
  readonly options: ViewOptions
}

/** What `shared: t => ({...})` declares views with. */
export interface Declare {
  /** `length` words without names. */
  int32(length: number, options?: ViewOptions): View<Record<never, Place>>
  /** Words by name: `{ LOCK: 0, WAKE: [1, 5] }`. As long as the names reach. */
  int32<const P extends Places>(places: P, options?: ViewOptions): View<P>
}

/** The views of a model by name. */
export type Views = Readonly<Record<string, View>>

/** A view's place in the one buffer. */
export interface Region {
  readonly name: string
  readonly view: View
  /** Index of its first word. */
  readonly start: number
}

/** All views of a model, laid out. */
export interface Layout {
  readonly regions: readonly Region[]
  readonly nrWords: number
  readonly initial: Int32Array
  /** What traces call each word. */
  readonly names: readonly string[]
  /** Largest value of words that declare a width, else Infinity. */
  readonly limits: readonly number[]
}

/** The views of the words of one buffer. */
export type WordsOf<S extends Views> = { readonly [K in keyof S]: Int32Array }

const OTHER_WIDTHS = ['int8', 'uint8', 'int16', 'uint16', 'uint32', 'bigInt64', 'bigUint64']

/** For who writes JavaScript: the types do not have them. */
const refusals = Object.fromEntries(
  OTHER_WIDTHS.map(name => {
    const reason = 'the words of a model are of an Int32Array'
    return [name, () => refuseTo(`declare t.${name}`, reason)]
  }),
)

/** Passed to a model's `shared`. */
export const declare: Declare = {
  ...refusals,
  int32<P extends Places>(shape: number | P, options: ViewOptions = {}): View<P> {
    const places = typeof shape === 'number' ? ({} as P) : shape
    const reach = Object.values(places).map(place =>
      typeof place === 'number' ? place + 1 : place[1],
    )
    const length = typeof shape === 'number' ? shape : (options.length ?? Math.max(0, ...reach))
    return { places, length, options }
  },
}

/**
 * Lays views out one after another and fills them.
 *
 * @throws {HotplugError} `EINVAL`: names overlap or reach past the end, no words, or an initial
 *   value that is wider than declared.
 */
export function layOut(model: string, views: Views): Layout {
  const regions: Region[] = []
  const names: string[] = []
  const limits: number[] = []
  for (const [name, view] of Object.entries(views)) {
    requireLength(model, name, view.length)
    regions.push({ name, view, start: names.length })
    names.push(...namesOf(model, name, view, Object.keys(views).length === 1))
    limits.push(...limitsOf(model, name, view))
  }
  const nrWords = names.length
  const initial = new Int32Array(nrWords)
  const layout = { regions, nrWords, initial, names: unique(names, regions), limits }
  initial.set(fill(layout))
  for (let i = 0; i < nrWords; i++) requireFit(model, layout, i)
  return layout
}

/** The views over a buffer of `layout.nrWords` words, by name. */
export function viewsOver(layout: Layout, buffer: SharedArrayBuffer): Record<string, Int32Array> {
  const views: Record<string, Int32Array> = {}
  for (const { name, view, start } of layout.regions) {
    views[name] = new Int32Array(buffer, 4 * start, view.length)
  }
  return views
}

function fill(layout: Layout): Int32Array {
  const buffer = new SharedArrayBuffer(4 * layout.nrWords)
  const views = viewsOver(layout, buffer)
  for (const { name, view } of layout.regions) view.options.init?.(views[name] as Int32Array)
  return new Int32Array(buffer)
}

function namesOf(model: string, view: string, { places, length }: View, alone: boolean): string[] {
  const names: string[] = []
  for (const [name, place] of Object.entries(places)) {
    const [from, to] = typeof place === 'number' ? [place, place + 1] : place
    if (
      !(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= length)
    ) {
      refuse(model, `${view}.${name} is [${from}, ${to}), not within its ${length} words`)
    }
    for (let i = from; i < to; i++) {
      if (names[i] !== undefined)
        refuse(model, `${names[i]} and ${view}.${name} overlap at word ${i}`)
      names[i] = typeof place === 'number' ? name : `${name}[${i - from}]`
    }
  }
  for (let i = 0; i < length; i++) names[i] ??= alone ? `word[${i}]` : `${view}[${i}]`
  return names
}

/** A name that two views have is written with its view: `a.LOCK`, `b.LOCK`. */
function unique(names: readonly string[], regions: readonly Region[]): string[] {
  const count = new Map<string, number>()
  for (const name of names) count.set(name, (count.get(name) ?? 0) + 1)
  return names.map((name, i) => {
    if (count.get(name) === 1) return name
    const region = regions.findLast(({ start }) => start <= i) as Region
    return `${region.name}.${name}`
  })
}

function limitsOf(model: string, name: string, { places, length, options }: View): number[] {
  const { bits } = options
  const limits = new Array<number>(length).fill(
    typeof bits === 'number' ? limit(model, name, bits) : Infinity,
  )
  if (typeof bits !== 'object') return limits
  for (const [word, width] of Object.entries(bits)) {
    const place = places[word]
    if (place === undefined)
      refuse(model, `the width of ${name}.${word} is declared, the word is not`)
    const [from, to] = typeof place === 'number' ? [place, place + 1] : place
    limits.fill(limit(model, `${name}.${word}`, width), from, to)
  }
  return limits
}

function limit(model: string, word: string, bits: number): number {
  if (Number.isInteger(bits) && bits >= 1 && bits <= 31) return 2 ** bits - 1
  refuse(model, `${word} is ${bits} bits wide, not 1 to 31`)
}

function requireLength(model: string, view: string, length: number): void {
  if (Number.isInteger(length) && length > 0 && length <= WORDS_MAX) return
  refuse(model, `${view} has ${length} words, not 1 to ${WORDS_MAX}`)
}

function requireFit(model: string, layout: Layout, index: number): void {
  const value = layout.initial[index] as number
  const limit = layout.limits[index] as number
  if (limit === Infinity || (value >= 0 && value <= limit)) return
  refuse(model, `${layout.names[index]} begins as ${value}, and holds 0 to ${limit}`)
}

function refuse(model: string, reason: string): never {
  refuseTo(`model ${model}`, reason)
}

function refuseTo(operation: string, reason: string): never {
  throw new HotplugError('EINVAL', operation, reason)
}
