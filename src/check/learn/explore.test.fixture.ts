/*
 * All interleavings of learned threads, without any cleverness: for comparing what two ways of
 * learning lead to. Plain operations are done at once; nobody dies; no wait times out.
 */
import { Kind, type Program, Woke } from '../program.ts'

interface State {
  readonly words: readonly number[]
  readonly nodes: readonly number[]
  /** Threads that sleep, first come first; a sleeper's word is its node's. */
  readonly queue: readonly number[]
}

/** What the threads of a program can do. */
export interface Explored {
  readonly states: number
  /** How runs end: the words, what each thread came to, and who sleeps. Sorted. */
  readonly ends: readonly string[]
}

/** Explores a program whose words are 0 at first. */
export function explore(program: Program, maxStates = 200_000): Explored {
  const { roots, nrWords } = program
  const first: State = { words: new Array<number>(nrWords).fill(0), nodes: roots, queue: [] }
  const seen = new Set([JSON.stringify(first)])
  const left = [first]
  const ends = new Set<string>()
  for (let state = left.pop(); state !== undefined; state = left.pop()) {
    const next = successors(program, state)
    if (next.length === 0) ends.add(endText(program, state))
    for (const to of next) {
      const key = JSON.stringify(to)
      if (seen.has(key)) continue
      if (seen.size >= maxStates) throw new RangeError(`more than ${maxStates} states`)
      seen.add(key)
      left.push(to)
    }
  }
  return { states: seen.size, ends: [...ends].sort() }
}

function successors(program: Program, state: State): State[] {
  return state.nodes.flatMap((node, thread) => {
    const ended = (program.kind[node] as number) >= Kind.AwaitDeath
    return ended || state.queue.includes(thread) ? [] : [step(program, state, thread)]
  })
}

function step(program: Program, state: State, thread: number): State {
  const node = state.nodes[thread] as number
  const words = [...state.words]
  const nodes = [...state.nodes]
  const word = program.word[node] as number
  const value = words[word] as number
  const a = program.a[node] as number
  const b = program.b[node] as number
  const kind = program.kind[node] as Kind
  if (kind === Kind.Wait && value === a) return { ...state, queue: [...state.queue, thread] }
  if (kind === Kind.Notify) return notify(program, state, thread)
  if (kind === Kind.Wait) nodes[thread] = program.next(node, Woke.NotEqual)
  else {
    const stored = storedBy(kind, value, a, b)
    if (stored !== null) words[word] = stored | 0
    nodes[thread] = program.next(node, kind === Kind.Store ? 0 : value)
  }
  return { ...state, words, nodes }
}

function notify(program: Program, state: State, thread: number): State {
  const node = state.nodes[thread] as number
  const nodes = [...state.nodes]
  const word = program.word[node]
  const sleepers = state.queue.filter(sleeper => program.word[nodes[sleeper] as number] === word)
  const woken = sleepers.slice(0, program.a[node])
  for (const sleeper of woken) nodes[sleeper] = program.next(nodes[sleeper] as number, Woke.Ok)
  nodes[thread] = program.next(node, woken.length)
  return { ...state, nodes, queue: state.queue.filter(sleeper => !woken.includes(sleeper)) }
}

function storedBy(kind: Kind, value: number, a: number, b: number): number | null {
  switch (kind) {
    case Kind.Store:
    case Kind.StorePlain:
    case Kind.Exchange:
      return a
    case Kind.Add:
      return value + a
    case Kind.Sub:
      return value - a
    case Kind.And:
      return value & a
    case Kind.Or:
      return value | a
    case Kind.Xor:
      return value ^ a
    case Kind.CompareExchange:
      return value === a ? b : value
    default:
      return null
  }
}

function endText(program: Program, { words, nodes, queue }: State): string {
  const threads = nodes.map(node =>
    program.kind[node] === Kind.Fail ? program.error(node) : program.kind[node],
  )
  return `${words} | ${threads} | ${queue}`
}
