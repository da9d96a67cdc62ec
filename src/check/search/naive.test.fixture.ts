/*
 * A naive explorer that tests compare the search with: the semantics of program.ts once more,
 * on states that are plain objects, written without a thought for speed.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import {
  BUFFER_MAX,
  type FailureKind,
  Kind,
  Move,
  type SearchResult,
  type SearchSpec,
  type StateView,
  type Step,
  Woke,
} from '../program.ts'
import type { GeneratedProgram } from './generators.test.fixture.ts'
import { replay } from './replay.ts'
import { search } from './search.ts'

/** Searches, and asserts that the naive explorer says the same. */
export function searchTwice(program: GeneratedProgram, spec: SearchSpec): SearchResult {
  const result = search(program, spec)
  const naive = naiveSearch(program, spec)
  if (result.failure === null) {
    deepEqual([...naive.kinds], [])
    equal(result.states, naive.states)
    equal(result.transitions, naive.transitions)
  } else {
    equal(result.failure.steps.length, naive.depth)
    ok(naive.kinds.has(result.failure.kind), `${result.failure.kind}, not ${[...naive.kinds]}`)
  }
  return result
}

/** Replays a schedule; how it ended. */
export function endOf(program: GeneratedProgram, spec: SearchSpec, steps: readonly Step[]) {
  const replaying = replay(program, spec, steps)
  for (;;) {
    const { done, value } = replaying.next()
    if (done) return value
  }
}

interface Thread {
  node: number
  asleep: boolean
  dead: boolean
  /** Plain stores not in memory yet, oldest first. */
  buffer: [word: number, value: number][]
  told: number
  /** A store made early, that must come up. */
  early: [word: number, value: number] | null
}

interface State {
  words: number[]
  threads: Thread[]
  /** Sleepers of all words, in order. Dead ones may be among them. */
  queue: { thread: number; word: number }[]
  /** Who ran last, and how often somebody did instead of who could go on. */
  last: number
  preemptions: number
}

interface Successor {
  step: Step
  state: State
  wayOut: boolean
}

export interface NaiveResult {
  states: number
  transitions: number
  /** The kinds of failure at the least depth, and that depth. */
  kinds: Set<FailureKind>
  depth: number
}

export function naiveSearch(program: GeneratedProgram, spec: SearchSpec): NaiveResult {
  const first = firstState(program, spec)
  const states = [first]
  const numbers = new Map([[keyOf(first, program, spec), 0]])
  const depths = [0]
  const edges: number[][] = []
  const ends = new Set<number>()
  const result: NaiveResult = { states: 0, transitions: 0, kinds: new Set(), depth: Infinity }
  const fail = (kind: FailureKind, depth: number) => {
    if (depth > result.depth) return
    if (depth < result.depth) result.kinds.clear()
    result.depth = depth
    result.kinds.add(kind)
  }
  for (let i = 0; i < states.length && depths[i]! <= result.depth; i++) {
    const state = states[i]!
    const depth = depths[i]!
    if (state.threads.some(t => !t.dead && program.kind[t.node] === Kind.Fail)) {
      fail('exception', depth)
    }
    if (spec.never?.(viewOf(state, program)) === true) fail('never', depth)
    const all = successorsOf(state, program, spec)
    const successors = withinBound(all, state, spec)
    const done = state.threads.every((t, j) => {
      return spec.threads[j]!.daemon || t.dead || program.kind[t.node]! >= Kind.Done
    })
    if (done) ends.add(i)
    if (!all.some(s => s.wayOut)) {
      if (!done) fail('deadlock', depth)
      else if (spec.atEnd?.(viewOf(state, program)) === false) fail('atEnd', depth)
    }
    result.transitions += successors.length
    edges[i] = []
    for (const { state: to, wayOut } of successors) {
      const key = keyOf(to, program, spec)
      let number = numbers.get(key)
      if (number === undefined) {
        numbers.set(key, (number = states.length))
        states.push(to)
        depths.push(depth + 1)
      }
      if (wayOut) edges[i]!.push(number)
    }
  }
  result.states = states.length
  if (spec.livelock && result.kinds.size === 0) {
    const trapped = firstTrapped(edges, ends)
    if (trapped >= 0) fail('livelock', depths[trapped]!)
  }
  return result
}

/** Counts preemptions, if they are bounded, and leaves out what has too many. */
function withinBound(
  all: Successor[],
  { last, preemptions }: State,
  spec: SearchSpec,
): Successor[] {
  const { mode } = spec
  if (mode.kind !== 'preemptions') return all
  const lastCan = all.some(({ step }) => step.move === Move.Run && step.thread === last)
  for (const { step, state } of all) {
    if (step.move !== Move.Run) continue
    state.last = step.thread
    if (lastCan && step.thread !== last) state.preemptions = preemptions + 1
  }
  return all.filter(({ state }) => state.preemptions <= mode.bound)
}

function firstTrapped(edges: readonly number[][], ends: Set<number>): number {
  const good = new Set(ends)
  for (let size = -1; size !== good.size; ) {
    size = good.size
    for (const [i, to] of edges.entries()) if (to.some(j => good.has(j))) good.add(i)
  }
  return edges.findIndex((_, i) => !good.has(i))
}

function firstState(program: GeneratedProgram, spec: SearchSpec): State {
  const threads = program.roots.map(node => ({
    node,
    asleep: false,
    dead: false,
    buffer: [],
    told: 0,
    early: null,
  }))
  return { words: [...spec.initial], threads, queue: [], last: -1, preemptions: 0 }
}

function copyOf(state: State): State {
  const threads = state.threads.map(t => ({ ...t, buffer: [...t.buffer] }))
  return { ...state, words: [...state.words], threads, queue: [...state.queue] }
}

/** Text that is the same for states that need not be told apart. */
function keyOf(state: State, program: GeneratedProgram, spec: SearchSpec): string {
  const groups = spec.threads.map(t => t.group)
  const grouped = groups.some(g => g >= 0)
  const parts = state.threads.map((t, i) => {
    const word = state.queue.find(q => q.thread === i)?.word
    const others = state.queue.filter(q => q.word === word)
    const rank = others.findIndex(q => q.thread === i)
    const told = program.kind[t.node]! >= Kind.Done ? 0 : t.told
    const node = t.dead ? 'dead' : grouped ? program.describe(t.node) : t.node
    return JSON.stringify([node, t.asleep, t.dead, t.buffer, told, t.early, word, rank])
  })
  if (!grouped) return `${state.words} ${parts} ${state.last} ${state.preemptions}`
  const sorted = groups.map((group, i) => {
    if (group < 0) return parts[i]
    const members = parts.filter((_, j) => groups[j] === group).sort()
    return members[groups.slice(0, i).filter(g => g === group).length]
  })
  return `${state.words} ${sorted}`
}

function viewOf(state: State, program: GeneratedProgram): StateView {
  return {
    word: index => state.words[index]!,
    label: t => (state.threads[t]!.dead ? 0 : program.label[state.threads[t]!.node]!),
    isDead: t => state.threads[t]!.dead,
  }
}

function successorsOf(state: State, program: GeneratedProgram, spec: SearchSpec): Successor[] {
  const found: Successor[] = []
  const nrDead = state.threads.filter(t => t.dead).length
  for (const [t, { mortal }] of spec.threads.entries()) {
    const consider = (move: Move, wayOut: boolean, act: (to: State, me: Thread) => boolean) => {
      const to = copyOf(state)
      if (act(to, to.threads[t]!)) found.push({ step: { thread: t, move }, state: to, wayOut })
    }
    const me = state.threads[t]!
    const { node } = me
    const kind = program.kind[node]!
    consider(Move.Run, true, to => !me.dead && !me.asleep && runs(to, t, program))
    consider(Move.Flush, true, (to, mine) => {
      const oldest = mine.buffer.shift()
      if (oldest !== undefined) to.words[oldest[0]] = oldest[1]
      return oldest !== undefined
    })
    if (me.dead) continue
    const plainLoad = kind === Kind.LoadPlain
    if (plainLoad) consider(Move.Stale, false, to => readsStale(to, t, program))
    if (plainLoad && spec.memory === 'arm') {
      consider(Move.Early, false, to => storesEarly(to, t, program))
    }
    if (me.asleep && spec.timeouts && program.b[node] === 1) {
      consider(Move.TimeOut, true, to => wakes(to, t, program, Woke.TimedOut))
    }
    if (me.asleep && spec.spurious) {
      consider(Move.Spurious, false, to => wakes(to, t, program, Woke.Ok))
    }
    if (nrDead >= spec.deaths || !mortal || kind >= Kind.Done) continue
    consider(Move.Die, false, (to, mine) => {
      to.queue = to.queue.filter(q => q.thread !== t)
      return dies(mine)
    })
    if (me.asleep) consider(Move.DieQueued, false, (_, mine) => dies(mine))
  }
  return found
}

function dies(me: Thread): boolean {
  me.dead = true
  me.asleep = false
  me.told = 0
  me.early = null
  return true
}

function wakes(to: State, t: number, program: GeneratedProgram, result: number): boolean {
  const me = to.threads[t]!
  to.queue = to.queue.filter(q => q.thread !== t)
  if (me.dead) return true
  me.asleep = false
  me.node = program.next(me.node, result)
  return true
}

function runs(to: State, t: number, program: GeneratedProgram): boolean {
  const me = to.threads[t]!
  const kind = program.kind[me.node]!
  const word = program.word[me.node]!
  const a = program.a[me.node]!
  if (kind >= Kind.Done) return false
  if (kind === Kind.LoadPlain || kind === Kind.Load) {
    const own = me.buffer.filter(([w]) => w === word).at(-1)
    return goes(me, program, own === undefined ? to.words[word]! : own[1])
  }
  if (kind === Kind.StorePlain) {
    if (me.buffer.length === BUFFER_MAX) return false
    me.buffer.push([word, a])
    return goes(me, program, a)
  }
  if (me.buffer.length > 0) return false
  if (kind === Kind.BarrierAll) {
    const clean = to.threads.every(u => u.buffer.length === 0 && u.early === null)
    return clean && goes(me, program, 0)
  }
  if (kind === Kind.AwaitDeath) {
    const dead = to.threads.findIndex((u, i) => u.dead && (me.told & (1 << i)) === 0)
    if (dead < 0) return false
    me.told |= 1 << dead
    return goes(me, program, dead)
  }
  if (kind === Kind.Wait) {
    if (to.words[word] !== a) return goes(me, program, Woke.NotEqual)
    me.asleep = true
    to.queue.push({ thread: t, word })
    return true
  }
  if (kind === Kind.Notify) {
    const first = to.queue.filter(q => q.word === word).slice(0, a)
    for (const { thread } of first) wakes(to, thread, program, Woke.Ok)
    return goes(me, program, first.length)
  }
  return operates(to, me, program)
}

function operates(to: State, me: Thread, program: GeneratedProgram): boolean {
  const word = program.word[me.node]!
  const a = program.a[me.node]!
  const b = program.b[me.node]!
  const before = to.words[word]!
  const kind = program.kind[me.node]! as Kind
  const after = {
    [Kind.Store]: a,
    [Kind.Add]: (before + a) | 0,
    [Kind.Sub]: (before - a) | 0,
    [Kind.And]: before & a,
    [Kind.Or]: before | a,
    [Kind.Xor]: before ^ a,
    [Kind.Exchange]: a,
    [Kind.CompareExchange]: before === a ? b : before,
  }[kind as number]!
  to.words[word] = after
  return goes(me, program, kind === Kind.Store ? a : before)
}

/** Goes on after an operation; false if a store made early does not come up. */
function goes(me: Thread, program: GeneratedProgram, result: number): boolean {
  me.node = program.next(me.node, result)
  if (me.early === null) return true
  const [word, value] = me.early
  const kind = program.kind[me.node]!
  if (kind === Kind.LoadPlain && program.word[me.node] !== word) return true
  const comes = program.word[me.node] === word && program.a[me.node] === value
  if (kind !== Kind.StorePlain || !comes) return false
  me.early = null
  me.node = program.next(me.node, value)
  return true
}

function readsStale(to: State, t: number, program: GeneratedProgram): boolean {
  const me = to.threads[t]!
  const word = program.word[me.node]!
  const reads = program.reads(me.node)
  const i = reads.findIndex((w, j) => j % 2 === 0 && w === word)
  if (i < 0 || reads[i + 1] === to.words[word]) return false
  if (me.buffer.some(([w]) => w === word)) return false
  return goes(me, program, reads[i + 1]!)
}

function storesEarly(to: State, t: number, program: GeneratedProgram): boolean {
  const me = to.threads[t]!
  if (me.buffer.length > 0 || me.early !== null) return false
  const targets = new Set<string>()
  const loaded: number[] = []
  const look = (node: number, left: number) => {
    const kind = program.kind[node]
    if (kind === Kind.StorePlain) targets.add(`${left},${program.word[node]},${program.a[node]}`)
    else if (kind !== Kind.LoadPlain || left === 0) targets.add('other')
    else {
      loaded.push(program.word[node]!)
      for (let value = -3; value < 8; value++) {
        const next = program.known(node, value)
        if (next >= 0) look(next, left - 1)
      }
    }
  }
  look(me.node, 2)
  if (targets.size !== 1 || targets.has('other')) return false
  const [, word, value] = [...targets][0]!.split(',').map(Number)
  if (loaded.includes(word!)) return false
  me.early = [word!, value!]
  to.words[word!] = value!
  return true
}
