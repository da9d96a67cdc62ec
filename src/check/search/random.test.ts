/*
 * Random small programs, searched and compared with the naive explorer.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Kind, type SearchSpec, type ThreadSpec } from '../program.ts'
import {
  at,
  awaitDeath,
  type Body,
  barrierAll,
  GeneratedProgram,
  loadPlain,
  notify,
  type Op,
  op,
  specOf,
  storePlain,
  thread,
  wait,
} from './generators.test.fixture.ts'
import { endOf, searchTwice } from './naive.test.fixture.ts'
import { search } from './search.ts'
import { TooBig } from './store.ts'

const WORDS = 3

/** The naive explorer should not take long. */
const STATES_MAX = 1000

/** Operations that give a word no value above 3, however often they are done. */
const BOUNDED: readonly Kind[] = [
  Kind.Load,
  Kind.Store,
  Kind.And,
  Kind.Or,
  Kind.Xor,
  Kind.Exchange,
  Kind.CompareExchange,
]

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
    .tuple(fc.constantFrom(...BOUNDED), word(), value(), value())
    .map(([kind, w, a, b]) => op(kind, w, a, b))
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

/** A few operations. After each comes the next, or one that depends on the result. */
interface Script {
  readonly ops: readonly Op[]
  readonly jumps: readonly Jump[]
  readonly throws: boolean
}

type Jump = 'no' | 'ahead' | 'back'

const arbitraryJump: fc.Arbitrary<Jump> = fc.constantFrom('no', 'ahead', 'ahead', 'back')

const arbitraryScript: fc.Arbitrary<Script> = fc
  .array(fc.tuple(arbitraryOp, arbitraryJump), { minLength: 1, maxLength: 4 })
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
      i = target(i, jumps[i]!, Math.abs(result))
      if (throws && i > ops.length) throw new Error('too far')
    }
  }
}

function target(i: number, jump: Jump, result: number): number {
  if (jump === 'back') return result % 2 === 0 ? Math.max(0, i - result) : i + 1
  return jump === 'ahead' ? i + 1 + (result % 3) : i + 1
}

const arbitraryModel = fc.record({
  scripts: fc.array(arbitraryScript, { minLength: 1, maxLength: 4 }),
  deaths: fc.integer({ min: 0, max: 2 }),
  timeouts: fc.boolean(),
  spurious: fc.boolean(),
  watched: fc.option(fc.tuple(word(), value())),
  daemon: fc.boolean(),
  lastDies: fc.boolean(),
})

type RandomModel = typeof arbitraryModel extends fc.Arbitrary<infer T> ? T : never

/** Its first thread may be a daemon, its last may be one that does not die. */
function threadsOf({ scripts, daemon, lastDies }: RandomModel): ThreadSpec[] {
  return scripts.map((_, t) => {
    if (daemon && t === 0) return thread(`t${t}`, { daemon })
    return thread(`t${t}`, { mortal: lastDies || t < scripts.length - 1 })
  })
}

/** Passes over models that are too big for the naive explorer. */
function unlessTooBig<T>(act: () => T): T | null {
  try {
    return act()
  } catch (error) {
    if (error instanceof TooBig) return null
    throw error
  }
}

test('random programs: the naive explorer sees the same states and the same failures', () => {
  const check = fc.property(arbitraryModel, model => {
    const program = new GeneratedProgram(WORDS, model.scripts.map(bodyOf))
    const { deaths, timeouts, spurious, watched } = model
    const threads = threadsOf(model)
    const never: SearchSpec['never'] =
      watched === null
        ? undefined
        : state => state.word(watched[0]) === 2 && state.word(watched[1]) === 1
    unlessTooBig(() => {
      searchTwice(
        program,
        specOf(program, { threads, deaths, timeouts, spurious, never, maxStates: STATES_MAX }),
      )
    })
  })
  fc.assert(check, { numRuns: 300 })
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
    const spec = specOf(program, { threads, deaths, timeouts, spurious, maxStates: STATES_MAX })
    const result = unlessTooBig(() => searchTwice(program, spec))
    if (result !== null && result.failure !== null) {
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
    const threads = threadsOf(model)
    const spec = specOf(program, {
      threads,
      deaths,
      timeouts,
      spurious,
      livelock: livelock && mode !== 'preemptions',
      maxStates: STATES_MAX,
      memory: memory as 'tso' | 'arm',
      mode: { kind: mode, bound } as SearchSpec['mode'],
    })
    unlessTooBig(() => searchTwice(program, spec))
  })
  fc.assert(check, { numRuns: 300 })
})

test('random programs: what nobody notices can be left out', () => {
  const check = fc.property(arbitraryModel, fc.boolean(), (model, livelock) => {
    const program = new GeneratedProgram(WORDS, model.scripts.map(bodyOf))
    const { deaths, timeouts, spurious, watched } = model
    const threads = threadsOf(model)
    const never: SearchSpec['never'] =
      watched === null
        ? undefined
        : state => state.word(watched[0]) === 2 && state.word(watched[1]) === 1
    const more = { threads, deaths, timeouts, spurious, never, livelock, maxStates: STATES_MAX }
    const all = unlessTooBig(() => search(program, specOf(program, more)))
    if (all === null) return
    const reduced = search(program, specOf(program, { ...more, reduce: true }))

    equal(reduced.verdict, all.verdict)
    deepEqual(reduced.failure, all.failure)
    ok(reduced.states <= all.states)
  })
  fc.assert(check, { numRuns: 1000 })
})
