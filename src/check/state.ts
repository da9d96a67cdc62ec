/*
 * A state as `never` and `atEnd` see it: words by view and name, threads by label.
 */
import type { Layout, View, Views } from './layout.ts'
import type { Program, StateView } from './program.ts'

/** A view's words in a state: by index, and by the names it declares. */
export type WordsIn<V extends View> = { readonly [index: number]: number } & {
  readonly [N in keyof V['places']]: V['places'][N] extends number ? number : readonly number[]
}

/** What `never` and `atEnd` are given. Valid during the call only. */
export type State<S extends Views> = {
  /** How many live threads said `cs(label)` last. */
  in(label: string): number
  /** Whether a thread has died; false if there is no thread `id`. */
  dead(id: number): boolean
} & { readonly [K in keyof S]: WordsIn<S[K]> }

/** Turns a predicate over names into one over indices. */
export function bind<S extends Views>(
  predicate: (state: State<S>) => boolean,
  layout: Layout,
  program: Program,
): (view: StateView) => boolean {
  let current: StateView
  const word = (index: number): number => current.word(index)
  const face: Record<string, unknown> = {
    in: counter(program, () => current),
    dead: (id: number) => id in program.roots && current.isDead(id),
  }
  for (const { name, view, start } of layout.regions) face[name] = wordsOf(view, start, word)
  return view => {
    current = view
    return predicate(face as unknown as State<S>)
  }
}

function counter(program: Program, current: () => StateView): (label: string) => number {
  const indices = new Map<string, number>()
  return label => {
    let index = indices.get(label)
    if (index === undefined) {
      index = program.labels.indexOf(label)
      if (index < 0) return 0 // no thread has said it yet
      indices.set(label, index)
    }
    const view = current()
    let count = 0
    for (let thread = 0; thread < program.nrThreads; thread++) {
      if (view.label(thread) === index && !view.isDead(thread)) count++
    }
    return count
  }
}

function wordsOf(view: View, start: number, word: (index: number) => number): object {
  const words = {}
  for (let i = 0; i < view.length; i++) {
    Object.defineProperty(words, i, { get: () => word(start + i) })
  }
  for (const [name, place] of Object.entries(view.places)) {
    const get =
      typeof place === 'number'
        ? () => word(start + place)
        : () => Array.from({ length: place[1] - place[0] }, (_, i) => word(start + place[0] + i))
    Object.defineProperty(words, name, { get })
  }
  return words
}
