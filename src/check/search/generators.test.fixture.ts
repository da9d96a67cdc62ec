/*
 * Programs for tests of the search, from generator functions that yield operations.
 *
 * A body says where it is by the key of each operation: two histories with the same operation,
 * key and label are the same local state. Without a key the whole history is the key.
 */
import {
  BUFFER_MAX,
  Kind,
  NOTIFY_ALL,
  type Program,
  type SearchSpec,
  type ThreadSpec,
} from '../program.ts'

export interface Op {
  readonly kind: Kind
  readonly word: number
  readonly a: number
  readonly b: number
  readonly key: string | undefined
  readonly label: string
}

export type Body = () => Generator<Op, void, number>

export function op(kind: Kind, word: number, a = 0, b = 0): Op {
  return { kind, word, a, b, key: undefined, label: '' }
}

export const load = (word: number) => op(Kind.Load, word)
export const store = (word: number, value: number) => op(Kind.Store, word, value)
export const add = (word: number, delta: number) => op(Kind.Add, word, delta)
export const sub = (word: number, delta: number) => op(Kind.Sub, word, delta)
export const cas = (word: number, a: number, b: number) => op(Kind.CompareExchange, word, a, b)
export const wait = (word: number, value: number, finite = 0) => op(Kind.Wait, word, value, finite)
export const notify = (word: number, count = NOTIFY_ALL) => op(Kind.Notify, word, count)
export const loadPlain = (word: number) => op(Kind.LoadPlain, word)
export const storePlain = (word: number, value: number) => op(Kind.StorePlain, word, value)
export const barrierAll = () => op(Kind.BarrierAll, 0)
export const awaitDeath = () => op(Kind.AwaitDeath, 0)

/** Puts the operation under a label. */
export const under = (label: string, o: Op): Op => ({ ...o, label })

/** Names the local state before the operation. */
export const at = (key: string, o: Op): Op => ({ ...o, key })

interface Reached {
  readonly op: Op
  readonly error: string
  readonly stores: number[]
  readonly reads: number[]
}

export class GeneratedProgram implements Program {
  readonly nrThreads: number
  readonly nrWords: number
  readonly roots: readonly number[]
  nrNodes = 0
  nrEdges = 0
  kind = new Int32Array(0)
  word = new Int32Array(0)
  a = new Int32Array(0)
  b = new Int32Array(0)
  label = new Int32Array(0)
  thread = new Int32Array(0)
  readonly labels: string[] = ['']
  private readonly bodies: readonly Body[]
  private readonly histories: number[][] = []
  private readonly reached: Reached[] = []
  private readonly keys = new Map<string, number>()
  private readonly edges: Map<number, number>[] = []

  constructor(nrWords: number, bodies: readonly Body[]) {
    this.nrWords = nrWords
    this.nrThreads = bodies.length
    this.bodies = bodies
    this.roots = bodies.map((_, t) => this.node(t, []))
  }

  next(node: number, result: number): number {
    const known = this.known(node, result)
    if (known >= 0) return known
    const to = this.node(this.thread[node]!, [...this.histories[node]!, result])
    this.edges[node]!.set(result, to)
    this.nrEdges++
    return to
  }

  known(node: number, result: number): number {
    return this.edges[node]!.get(result) ?? -1
  }

  stores(node: number): readonly number[] {
    return this.reached[node]!.stores
  }

  reads(node: number): readonly number[] {
    return this.reached[node]!.reads
  }

  /** Text that is the same for nodes of different threads that stand at the same point. */
  describe(node: number): string {
    const { op: o, error, stores, reads } = this.reached[node]!
    const history = o.key === undefined && o.kind < Kind.Done ? this.histories[node]! : ''
    const operation = `${o.kind},${o.word},${o.a},${o.b}`
    return `${o.key} ${operation} ${o.label} ${error} ${stores} | ${reads} ${history}`
  }

  sites(): readonly [] {
    return []
  }

  error(node: number): string {
    return this.reached[node]!.error
  }

  private node(thread: number, history: number[]): number {
    const reached = runTo(this.bodies[thread]!, history)
    const { op: o, error, stores, reads } = reached
    const state = o.key === undefined && o.kind < Kind.Done ? `h ${history}` : `k ${o.key}`
    const where = `${o.kind},${o.word},${o.a},${o.b} ${o.label} ${error} ${stores} | ${reads}`
    const key = `${thread} ${state} ${where}`
    const known = this.keys.get(key)
    if (known !== undefined) return known
    const node = this.nrNodes++
    this.keys.set(key, node)
    this.histories.push(history)
    this.reached.push(reached)
    this.edges.push(new Map())
    if (!this.labels.includes(o.label)) this.labels.push(o.label)
    if (node >= this.kind.length) this.grow()
    this.kind[node] = o.kind
    this.word[node] = o.word
    this.a[node] = o.a
    this.b[node] = o.b
    this.label[node] = this.labels.indexOf(o.label)
    this.thread[node] = thread
    return node
  }

  private grow(): void {
    const grown = (old: Int32Array) => {
      const array = new Int32Array(Math.max(16, old.length * 2))
      array.set(old)
      return array
    }
    this.kind = grown(this.kind)
    this.word = grown(this.word)
    this.a = grown(this.a)
    this.b = grown(this.b)
    this.label = grown(this.label)
    this.thread = grown(this.thread)
  }
}

/** Runs a body until its history is used up. */
function runTo(body: Body, history: readonly number[]): Reached {
  let stores: number[] = []
  let reads: number[] = []
  const run = body()
  let o = op(Kind.Done, 0)
  let error = ''
  try {
    let result = run.next()
    for (const value of history) {
      o = result.value as Op
      if (o.kind === Kind.LoadPlain) {
        reads = setRead(reads, o.word, value)
      } else if (o.kind === Kind.StorePlain) {
        stores = [...stores, o.word, o.a].slice(-2 * BUFFER_MAX)
        reads = []
      } else {
        if (o.kind !== Kind.Load) stores = []
        reads = []
      }
      result = run.next(value)
    }
    o = result.done ? op(Kind.Done, 0) : result.value
  } catch (thrown) {
    o = op(Kind.Fail, 0)
    error = (thrown as Error).message
  }
  return { op: o, error, stores, reads }
}

function setRead(reads: readonly number[], word: number, value: number): number[] {
  const others = reads.filter((_, i) => reads[i - (i % 2)] !== word)
  return [...others, word, value]
}

/** A search of all states, with nothing special, that `more` adds to. */
export function specOf(program: Program, more: Partial<SearchSpec> = {}): SearchSpec {
  return {
    threads: Array.from({ length: program.nrThreads }, (_, t) => thread(`t${t}`)),
    initial: new Int32Array(program.nrWords),
    deaths: 0,
    timeouts: false,
    spurious: false,
    memory: 'tso',
    livelock: false,
    reduce: false,
    mode: { kind: 'all' },
    maxStates: 1e8,
    ...more,
  }
}

export function thread(name: string, more: Partial<ThreadSpec> = {}): ThreadSpec {
  const { daemon = false } = more
  return { name, group: -1, daemon, mortal: !daemon, ...more }
}

/** The futex mutex: 0 free, 1 held, 2 held and somebody may sleep. */
export function* lock(site: string, word: number, label = ''): Generator<Op, void, number> {
  let c = yield under(label, at(`${site}a`, cas(word, 0, 1)))
  while (c !== 0) {
    if (c === 2 || (yield under(label, at(`${site}b`, cas(word, 1, 2)))) !== 0) {
      yield under(label, at(`${site}c`, wait(word, 2)))
    }
    c = yield under(label, at(`${site}d`, cas(word, 0, 2)))
  }
}

export function* unlock(site: string, word: number, label = ''): Generator<Op, void, number> {
  if ((yield under(label, at(`${site}e`, sub(word, 1)))) !== 1) {
    yield under(label, at(`${site}f`, store(word, 0)))
    yield under(label, at(`${site}g`, notify(word, 1)))
  }
}

const LOCK = 0
const COUNT = 1
const WRITER = 2
const PRIVATE = 3
const DATA = 4
const WAKE = 4

/**
 * The counter form of the memory hotplug lock: readers count themselves under a mutex, writers
 * take a mutex of their own first (if `fixed`) and wait for the count to reach 0.
 */
export function counterLock(readers: number, writers: number, fixed = true): GeneratedProgram {
  function* get(site: string, me: number, label: string): Generator<Op, void, number> {
    if ((yield under(label, at(`${site}w`, load(WRITER)))) === me) return
    yield* lock(`${site}l`, LOCK, label)
    yield under(label, at(`${site}i`, add(COUNT, 1)))
    yield* unlock(`${site}u`, LOCK, label)
  }
  function* put(site: string, me: number, label: string): Generator<Op, void, number> {
    if ((yield under(label, at(`${site}w`, load(WRITER)))) === me) return
    yield* lock(`${site}l`, LOCK, label)
    if ((yield under(label, at(`${site}d`, sub(COUNT, 1)))) === 1) {
      const writer = yield under(label, at(`${site}r`, load(WRITER)))
      if (writer !== 0) {
        yield under(label, at(`${site}s`, add(WAKE + writer, 1)))
        yield under(label, at(`${site}n`, notify(WAKE + writer, 1)))
      }
    }
    yield* unlock(`${site}u`, LOCK, label)
  }
  const reader = (me: number): Body =>
    function* () {
      yield* get('g', me, '')
      yield under('R', at('data', load(DATA)))
      yield* put('p', me, '')
    }
  const writer = (me: number): Body =>
    function* () {
      if (fixed) yield* lock('P', PRIVATE)
      yield at('set', store(WRITER, me))
      for (;;) {
        yield* lock('L', LOCK)
        if ((yield at('count', load(COUNT))) === 0) break
        const sequence = yield at('seq', load(WAKE + me))
        yield* unlock(`U${sequence}`, LOCK)
        yield at('sleep', wait(WAKE + me, sequence))
      }
      yield* get('wg', me, 'W')
      yield under('W', at('data', load(DATA)))
      yield* put('wp', me, 'W')
      yield at('clear', store(WRITER, 0))
      yield* unlock('V', LOCK)
      if (fixed) yield* unlock('Q', PRIVATE)
    }
  const ids = Array.from({ length: readers + writers }, (_, i) => i + 1)
  const bodies = ids.map(id => (id <= readers ? reader(id) : writer(id)))
  return new GeneratedProgram(WAKE + 1 + ids.length, bodies)
}
