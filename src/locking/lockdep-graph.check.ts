/*
 * The order graph under threads that insert and name at the same time, and die in the middle.
 *
 * Edges are of kind EN. Texts are one letter, so a record is two words.
 */
import { add, load, store } from '#atomics'
import { model, mustFail } from '../check/model.ts'
import { type Edge, LockdepGraph } from './lockdep-graph.ts'

const EN = 0
/** Three names: who comes second writes its own in vain, but no name is written twice by one. */
const NAMES_WORDS = 6
const SURE = 1

/** The words of a graph of two classes. */
const TWO = {
  OFF: 0,
  USED: 1,
  CLASS: [2, 4],
  AB: 8,
  BA: 12,
  TEXT: [20, 36],
} as const
/** Of three classes. */
const THREE = { USED: 1, AB: 9, BC: 25, CA: 29, TEXT: [41, 57] } as const

/** Looks for a path before it tells of its edge, and not afterwards. */
class LooksTooEarly extends LockdepGraph {
  override insert(from: number, to: number, kind: number, text: string): Edge[] | null {
    const path = this.search(to, from, kind)
    if (path !== null) return path
    const reference = this.write(text)
    store(this.words, this.at(from, to, kind), (reference << 1) | SURE)
    return null
  }
}

/** Leaves an edge that it reports. */
class NeverWithdraws extends LockdepGraph {
  override insert(from: number, to: number, kind: number, text: string): Edge[] | null {
    const reference = this.write(text)
    store(this.words, this.at(from, to, kind), (reference << 1) | SURE)
    return this.search(to, from, kind)
  }
}

/** Stores a name where it saw an empty place. */
class NamesBlindly extends LockdepGraph {
  override classOf(name: string): number {
    const known = load(this.words, 2)
    if (known !== 0 && this.read(known) === name) return 0
    const index = known === 0 ? 0 : 1
    const reference = this.write(name)
    store(this.words, 2 + index, reference)
    return index
  }
}

/** Inserts an edge, and counts it if it is reported. What is not is sure from then on. */
function insertInto(graph: LockdepGraph, reports: Int32Array, from: number, to: number): void {
  const path = graph.insert(from, to, EN, 'o')
  if (path !== null) add(reports, 0, 1)
  else if (!graph.isSure(from, to, EN)) throw new Error('neither reported nor sure')
}

/** Nobody died: what is there is sure. */
function isSettled(edge: number): boolean {
  return edge === 0 || (edge & SURE) !== 0
}

/** `count` threads take a before b, as many b before a. */
function twoOrders(name: string, Graph: typeof LockdepGraph, deaths: number, count = 1) {
  const ids = Array.from({ length: 2 * count }, (_, id) => id)
  return model({
    name,
    shared: t => ({
      g: t.int32(TWO),
      r: t.int32({ REPORTS: 0 }),
    }),
    threads: [
      {
        name: 'forth',
        count,
        symmetric: true,
        body({ g, r }) {
          const graph = new Graph(g, 2)
          insertInto(graph, r, 0, 1)
        },
      },
      {
        name: 'back',
        count,
        symmetric: true,
        body({ g, r }) {
          const graph = new Graph(g, 2)
          insertInto(graph, r, 1, 0)
        },
      },
    ],
    never: s => (s.g.AB & s.g.BA & SURE) !== 0,
    atEnd: s =>
      ids.some(id => s.dead(id)) || (s.r.REPORTS > 0 && isSettled(s.g.AB) && isSettled(s.g.BA)),
    deaths,
  })
}

/** For test/litmus/long-checks.ts. */
export const oneOfFourDies = () =>
  twoOrders('lockdep: a -> b and b -> a by two each, one dies', LockdepGraph, 1, 2)

export const models = [
  model({
    name: 'lockdep: one alone is told of its own reverse',
    shared: t => ({ g: t.int32(TWO), r: t.int32({ REPORTS: 0 }) }),
    threads: [
      {
        name: 'alone',
        body({ g, r }) {
          const graph = new LockdepGraph(g, 2)
          insertInto(graph, r, 0, 1)
          insertInto(graph, r, 1, 0)
        },
      },
    ],
    atEnd: s => s.r.REPORTS === 1 && isSettled(s.g.AB) && s.g.BA === 0,
  }),

  twoOrders('lockdep: a -> b and b -> a at once', LockdepGraph, 0),

  twoOrders('lockdep: a -> b and b -> a at once, one dies', LockdepGraph, 1),

  twoOrders('lockdep: a -> b and b -> a at once, by two each', LockdepGraph, 0, 2),

  mustFail(twoOrders('lockdep: looks only before it tells', LooksTooEarly, 0), {
    kind: 'never',
    steps: 24,
  }),

  mustFail(twoOrders('lockdep: leaves what it reports', NeverWithdraws, 0), {
    kind: 'never',
    steps: 12,
  }),

  model({
    name: 'lockdep: whoever comes after a death is told',
    shared: t => ({ g: t.int32(TWO) }),
    threads: [
      {
        name: 'back',
        body({ g }) {
          const graph = new LockdepGraph(g, 2)
          graph.insert(1, 0, EN, 'b')
        },
      },
      {
        name: 'both',
        body({ g }) {
          const graph = new LockdepGraph(g, 2)
          const forth = graph.insert(0, 1, EN, 'f')
          const back = graph.insert(1, 0, EN, 'b')
          if (forth === null && back === null) throw new Error('both orders, and no report')
        },
      },
    ],
    never: s => (s.g.AB & s.g.BA & SURE) !== 0,
    deaths: 1,
  }),

  model({
    name: 'lockdep: one order by two threads, and its reverse',
    shared: t => ({
      g: t.int32(TWO),
      r: t.int32({ REPORTS: 0 }),
    }),
    threads: [
      {
        name: 'forth',
        count: 2,
        symmetric: true,
        body({ g, r }) {
          const graph = new LockdepGraph(g, 2)
          insertInto(graph, r, 0, 1)
        },
      },
      {
        name: 'back',
        body({ g, r }) {
          const graph = new LockdepGraph(g, 2)
          insertInto(graph, r, 1, 0)
        },
      },
    ],
    never: s => (s.g.AB & s.g.BA & SURE) !== 0,
    atEnd: s => s.r.REPORTS > 0 && isSettled(s.g.AB) && isSettled(s.g.BA),
  }),

  model({
    name: 'lockdep: three orders that are one cycle',
    shared: t => ({
      g: t.int32(THREE),
      r: t.int32({ REPORTS: 0 }),
    }),
    threads: [
      {
        name: 'order',
        count: 3,
        body({ g, r, id }) {
          const graph = new LockdepGraph(g, 3)
          insertInto(graph, r, id, (id + 1) % 3)
        },
      },
    ],
    never: s => (s.g.AB & s.g.BC & s.g.CA & SURE) !== 0,
    atEnd: s => s.r.REPORTS > 0,
  }),

  model({
    name: 'lockdep: turned off by two threads',
    shared: t => ({ g: t.int32(TWO), r: t.int32({ WARNINGS: 0 }) }),
    threads: [
      {
        name: 'full',
        count: 2,
        body({ g, r }) {
          const graph = new LockdepGraph(g, 2)
          const isFirst = graph.turnOff()
          if (isFirst) add(r, 0, 1)
          if (!graph.isOff()) throw new Error('it is on')
        },
      },
    ],
    atEnd: s => s.r.WARNINGS === 1,
  }),

  names('lockdep: one name by two threads, another by a third', LockdepGraph, 0),

  names('lockdep: names, and one who names dies', LockdepGraph, 1),

  mustFail(names('lockdep: names without compare and exchange', NamesBlindly, 0), {
    kind: 'never',
    steps: 20,
  }),
]

function names(name: string, Graph: typeof LockdepGraph, deaths: number) {
  const nameTwice = (graph: LockdepGraph, name: string): number => {
    const index = graph.classOf(name)
    const again = graph.classOf(name)
    if (again !== index || graph.className(index) !== name) throw new Error('another class')
    return index
  }
  return model({
    name,
    shared: t => ({
      g: t.int32(TWO),
      r: t.int32({ X: [0, 2], Y: 2 }, { init: words => words.fill(9) }),
    }),
    threads: [
      {
        name: 'x',
        count: 2,
        body({ g, r, id }) {
          const index = nameTwice(new Graph(g, 2), 'x')
          store(r, id, index)
        },
      },
      {
        name: 'y',
        body({ g, r }) {
          const graph = new Graph(g, 2)
          const index = graph.classOf('y')
          store(r, 2, index)
        },
      },
    ],
    never: s => s.g.USED > NAMES_WORDS,
    atEnd: s => {
      const [one, other, y] = [s.r[0]!, s.r[1]!, s.r[2]!]
      const isOne = s.dead(0) || s.dead(1) || one === other
      return isOne && (s.dead(2) || (y < 2 && y !== one && y !== other))
    },
    deaths,
  })
}
