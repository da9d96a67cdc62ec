import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Kind, type SearchSpec, type Step } from '../program.ts'
import {
  at,
  awaitDeath,
  type Body,
  barrierAll,
  cas,
  counterLock,
  GeneratedProgram,
  load,
  loadPlain,
  lock,
  notify,
  type Op,
  op,
  specOf,
  store,
  storePlain,
  thread,
  under,
  unlock,
  wait,
} from './generators.test.fixture.ts'
import { naiveSearch } from './naive.test.fixture.ts'
import { replay } from './replay.ts'
import { search } from './search.ts'

/** Searches, and asserts that the naive explorer says the same. */
function searchTwice(program: GeneratedProgram, spec: SearchSpec) {
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

/** Two threads are under a label at once. */
function bothIn(program: GeneratedProgram, label: string): NonNullable<SearchSpec['never']> {
  return state => {
    const index = program.labels.indexOf(label)
    let inside = 0
    for (let t = 0; t < program.nrThreads; t++) if (state.label(t) === index) inside++
    return index > 0 && inside > 1
  }
}

function* locker(): Generator<Op, void, number> {
  yield* lock('l', 0)
  yield under('in', at('in', load(1)))
  yield* unlock('u', 0)
}

test('two threads that store once have four states', () => {
  const writer: Body = function* () {
    yield store(0, 1)
  }
  const program = new GeneratedProgram(1, [writer, writer])

  const result = searchTwice(program, specOf(program))

  equal(result.verdict, 'proved')
  equal(result.states, 4)
})

test('a futex mutex excludes, and leaves the word free', () => {
  const program = new GeneratedProgram(2, [locker, locker, locker])
  const never = bothIn(program, 'in')

  const result = searchTwice(
    program,
    specOf(program, { never, atEnd: state => state.word(0) === 0 }),
  )

  equal(result.verdict, 'proved')
})

test('two threads inside are found by a shortest schedule', () => {
  function* careless(): Generator<Op, void, number> {
    const held = yield at('look', load(0))
    if (held === 0) {
      yield at('take', store(0, 1))
      yield under('in', at('in', load(1)))
    }
  }
  const program = new GeneratedProgram(2, [careless, careless])

  const result = searchTwice(program, specOf(program, { never: bothIn(program, 'in') }))

  equal(result.failure?.kind, 'never')
  equal(result.failure?.steps.length, 4)
})

test('a wake-up before the sleep is lost, and the sleeper named', () => {
  const program = new GeneratedProgram(2, [
    function* () {
      if ((yield load(0)) === 0) yield wait(1, 0)
    },
    function* () {
      yield store(0, 1)
      yield notify(1)
    },
  ])

  const result = searchTwice(program, specOf(program))

  equal(result.failure?.kind, 'deadlock')
  equal(result.failure?.message, 't0 sleeps on word 1')
})

test('a wrong end state is found', () => {
  const counter: Body = function* () {
    const count = yield load(0)
    yield store(0, count + 1)
  }
  const program = new GeneratedProgram(1, [counter, counter])

  const result = searchTwice(program, specOf(program, { atEnd: state => state.word(0) === 2 }))

  equal(result.failure?.kind, 'atEnd')
})

test('an exception is found, with its message', () => {
  const program = new GeneratedProgram(1, [
    function* () {
      if ((yield load(0)) === 7) throw new Error('seven')
    },
    function* () {
      yield store(0, 7)
    },
  ])

  const result = searchTwice(program, specOf(program))

  equal(result.failure?.kind, 'exception')
  equal(result.failure?.message, 't0 throws: seven')
})

test('the counter lock needs its second mutex', () => {
  const program = counterLock(0, 2, false)

  const result = searchTwice(program, specOf(program))

  equal(result.failure?.kind, 'deadlock')
  equal(result.failure?.steps.length, 10)
})

test('the counter lock with its second mutex is right', () => {
  const program = counterLock(1, 2)

  equal(searchTwice(program, specOf(program)).verdict, 'proved')
})

test('store buffering: two plain stores may both be late', () => {
  const side = (mine: number, other: number, seen: number): Body =>
    function* () {
      yield storePlain(mine, 1)
      const value = yield loadPlain(other)
      yield store(seen, value + 1)
    }
  const program = new GeneratedProgram(4, [side(0, 1, 2), side(1, 0, 3)])
  const never: SearchSpec['never'] = state => state.word(2) === 1 && state.word(3) === 1

  equal(searchTwice(program, specOf(program, { never })).failure?.kind, 'never')
})

test('store buffering: a barrier of all threads on one side is enough', () => {
  const plain: Body = function* () {
    yield storePlain(0, 1)
    const value = yield loadPlain(1)
    yield store(2, value + 1)
  }
  const dear: Body = function* () {
    yield store(1, 1)
    yield barrierAll()
    const value = yield loadPlain(0)
    yield store(3, value + 1)
  }
  const program = new GeneratedProgram(4, [plain, dear])
  const never: SearchSpec['never'] = state => state.word(2) === 1 && state.word(3) === 1

  equal(searchTwice(program, specOf(program, { never })).verdict, 'proved')
})

/** Message passing with plain words: 1 + data in word 2 once the flag was seen. */
function messagePassing(): GeneratedProgram {
  return new GeneratedProgram(3, [
    function* () {
      yield storePlain(0, 1)
      yield storePlain(1, 1)
    },
    function* () {
      const flag = yield loadPlain(1)
      const data = yield loadPlain(0)
      if (flag === 1) yield store(2, data + 1)
    },
  ])
}

test('message passing: plain stores stay in order', () => {
  const program = messagePassing()

  const result = searchTwice(program, specOf(program, { never: state => state.word(2) === 1 }))

  equal(result.verdict, 'proved')
})

test('a plain load may return what it returned before', () => {
  const program = new GeneratedProgram(3, [
    function* () {
      yield store(0, 1)
      yield store(1, 1)
    },
    function* () {
      yield loadPlain(0)
      const flag = yield loadPlain(1)
      const data = yield loadPlain(0)
      if (flag === 1) yield store(2, data + 1)
    },
  ])

  const result = searchTwice(program, specOf(program, { never: state => state.word(2) === 1 }))

  equal(result.failure?.kind, 'never')
})

test('a thread that dies with the lock blocks the others', () => {
  const program = new GeneratedProgram(2, [locker, locker])

  const result = searchTwice(program, specOf(program, { deaths: 1 }))

  equal(result.failure?.kind, 'deadlock')
  equal(result.failure?.message, 't1 sleeps on word 0')
})

test('a daemon that waits for deaths may recover, and need not end', () => {
  const simple: Body = function* () {
    while ((yield at('try', cas(0, 0, 1))) !== 0) yield at('sleep', wait(0, 1))
    yield at('free', store(0, 0))
    yield at('wake', notify(0, 1))
  }
  const reaper: Body = function* () {
    for (;;) {
      yield at('await', awaitDeath())
      yield at('free', store(0, 0))
      yield at('wake', notify(0))
    }
  }
  const program = new GeneratedProgram(1, [simple, simple, simple, reaper])
  const threads = [thread('a'), thread('b'), thread('c'), thread('reaper', { daemon: true })]

  equal(searchTwice(program, specOf(program, { deaths: 1, threads })).verdict, 'proved')
  equal(searchTwice(program, specOf(program, { deaths: 2, threads })).verdict, 'proved')
})

const WORDS = 3

const arbitraryOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: simpleOp() },
  { weight: 2, arbitrary: fc.tuple(word(), value(), bit()).map(([w, v, b]) => wait(w, v, b)) },
  {
    weight: 2,
    arbitrary: fc.tuple(word(), fc.integer({ min: 1, max: 2 })).map(([w, n]) => notify(w, n)),
  },
  { weight: 2, arbitrary: word().map(loadPlain) },
  { weight: 2, arbitrary: fc.tuple(word(), value()).map(([w, v]) => storePlain(w, v)) },
  { weight: 1, arbitrary: fc.constant(barrierAll()) },
  { weight: 1, arbitrary: fc.constant(awaitDeath()) },
)

function simpleOp(): fc.Arbitrary<Op> {
  return fc
    .tuple(fc.integer({ min: Kind.Load, max: Kind.CompareExchange }), word(), value(), value())
    .map(([kind, w, a, b]) => op(kind as Kind, w, a, b))
}

function word(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: WORDS - 1 })
}

function value(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 2 })
}

function bit(): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max: 1 })
}

/** A few operations, each followed by that at 1 + (its result modulo 3) from there, or the next. */
interface Script {
  readonly ops: readonly Op[]
  readonly jumps: readonly boolean[]
  readonly throws: boolean
}

const arbitraryScript: fc.Arbitrary<Script> = fc
  .array(fc.tuple(arbitraryOp, fc.boolean()), { minLength: 1, maxLength: 4 })
  .chain(pairs =>
    fc.boolean().map(throws => ({
      ops: pairs.map(([o]) => o),
      jumps: pairs.map(([, jump]) => jump),
      throws: throws && pairs.length > 3,
    })),
  )

function bodyOf({ ops, jumps, throws }: Script): Body {
  return function* () {
    for (let i = 0; i < ops.length; ) {
      const result: number = yield at(`${i}`, ops[i]!)
      i += jumps[i]! ? 1 + (Math.abs(result) % 3) : 1
      if (throws && i > ops.length) throw new Error('too far')
    }
  }
}

const arbitraryModel = fc.record({
  scripts: fc.array(arbitraryScript, { minLength: 1, maxLength: 3 }),
  deaths: fc.integer({ min: 0, max: 2 }),
  timeouts: fc.boolean(),
  spurious: fc.boolean(),
  watched: fc.option(fc.tuple(word(), value())),
  daemon: fc.boolean(),
})

test('random programs: the naive explorer sees the same states and the same failures', () => {
  const check = fc.property(arbitraryModel, model => {
    const program = new GeneratedProgram(WORDS, model.scripts.map(bodyOf))
    const { deaths, timeouts, spurious, watched, daemon } = model
    const threads = model.scripts.map((_, t) => thread(`t${t}`, { daemon: daemon && t === 0 }))
    const never: SearchSpec['never'] =
      watched === null
        ? undefined
        : state => state.word(watched[0]) === 2 && state.word(watched[1]) === 1
    searchTwice(program, specOf(program, { threads, deaths, timeouts, spurious, never }))
  })
  fc.assert(check, { numRuns: 400 })
})

test('random symmetric programs: the quotient is that of the naive explorer', () => {
  const check = fc.property(arbitraryModel, fc.integer({ min: 2, max: 3 }), (model, count) => {
    const ops = model.scripts[0]!.ops.filter(o => o.kind !== Kind.AwaitDeath)
    const script = { ...model.scripts[0]!, ops }
    const scripts = [...Array<Script>(count).fill(script), ...model.scripts.slice(1, 2)]
    const bodies = scripts.map(s => bodyOf({ ...s, ops: s.ops.filter(notAwait) }))
    const program = new GeneratedProgram(WORDS, bodies)
    const { deaths, timeouts, spurious } = model
    const threads = scripts.map((_, t) => thread(`t${t}`, { group: t < count ? 0 : -1 }))
    const result = searchTwice(program, specOf(program, { threads, deaths, timeouts, spurious }))
    if (result.failure !== null) {
      const { steps, kind } = result.failure
      const plain = specOf(program, { deaths, timeouts, spurious })
      const end = endOf(program, plain, steps)
      if (kind === 'deadlock') ok(end.threads.some(({ dead }) => !dead))
      equal(search(program, plain).failure?.steps.length, steps.length)
    }
  })
  fc.assert(check, { numRuns: 200 })
})

function notAwait(o: Op): boolean {
  return o.kind !== Kind.AwaitDeath
}

function endOf(program: GeneratedProgram, spec: SearchSpec, steps: readonly Step[]) {
  const replaying = replay(program, spec, steps)
  for (;;) {
    const { done, value } = replaying.next()
    if (done) return value
  }
}

test('random programs: livelocks, preemptions, fingerprints and arm64 agree with the naive', () => {
  const more = fc.record({
    livelock: fc.boolean(),
    bound: fc.integer({ min: 0, max: 3 }),
    mode: fc.constantFrom('all', 'fingerprints', 'preemptions'),
    memory: fc.constantFrom('tso', 'arm'),
  })
  const check = fc.property(arbitraryModel, more, (model, { livelock, bound, mode, memory }) => {
    const program = new GeneratedProgram(WORDS, model.scripts.map(bodyOf))
    const { deaths, timeouts, spurious } = model
    const spec = specOf(program, {
      deaths,
      timeouts,
      spurious,
      livelock: livelock && mode !== 'preemptions',
      memory: memory as 'tso' | 'arm',
      mode: { kind: mode, bound } as SearchSpec['mode'],
    })
    searchTwice(program, spec)
  })
  fc.assert(check, { numRuns: 400 })
})
