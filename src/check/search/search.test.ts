import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { test } from 'node:test'
import type { SearchSpec } from '../program.ts'
import {
  add,
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
  specOf,
  store,
  storePlain,
  thread,
  under,
  unlock,
  wait,
} from './generators.test.fixture.ts'
import { endOf, searchTwice } from './naive.test.fixture.ts'
import { search } from './search.ts'

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
  const two = counterLock(1, 1)
  const four = counterLock(2, 2)

  equal(searchTwice(two, specOf(two)).verdict, 'proved')
  equal(search(four, specOf(four)).states, 156_476)
})

test('store buffering: two plain stores may both be late, for loads of either kind', () => {
  const side = (mine: number, other: number, seen: number, look: typeof load): Body =>
    function* () {
      yield storePlain(mine, 1)
      const value = yield look(other)
      yield store(seen, value + 1)
    }
  const never: SearchSpec['never'] = state => state.word(2) === 1 && state.word(3) === 1

  for (const look of [loadPlain, load]) {
    const program = new GeneratedProgram(4, [side(0, 1, 2, look), side(1, 0, 3, look)])
    equal(searchTwice(program, specOf(program, { never })).failure?.kind, 'never')
  }
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

/** Takes a lock, and frees it. */
const locks: Body = function* () {
  while ((yield at('try', cas(0, 0, 1))) !== 0) yield at('sleep', wait(0, 1))
  yield at('free', store(0, 0))
  yield at('wake', notify(0, 1))
}

test('a daemon that waits for deaths may recover, and need not end', () => {
  const reaper: Body = function* () {
    for (;;) {
      yield at('await', awaitDeath())
      yield at('free', store(0, 0))
      yield at('wake', notify(0))
    }
  }
  const program = new GeneratedProgram(1, [locks, locks, locks, reaper])
  const threads = [thread('a'), thread('b'), thread('c'), thread('reaper', { daemon: true })]

  equal(searchTwice(program, specOf(program, { deaths: 1, threads })).verdict, 'proved')
  equal(searchTwice(program, specOf(program, { deaths: 2, threads })).verdict, 'proved')
})

test('only who is mortal dies: the states are shared out by who does', () => {
  const reaper: Body = function* () {
    yield at('await', awaitDeath())
    yield at('free', store(0, 0))
    yield at('wake', notify(0))
  }
  const program = new GeneratedProgram(1, [locks, locks, reaper])
  const states = (deaths: number, ...mortal: string[]): number => {
    const threads = ['a', 'b', 'reaper'].map(name =>
      thread(name, { daemon: name === 'reaper', mortal: mortal.includes(name) }),
    )
    const result = searchTwice(program, specOf(program, { deaths, threads }))
    equal(result.verdict, 'proved')
    return result.states
  }

  equal(states(1), states(0))
  equal(states(1, 'a') + states(1, 'b') - states(0), states(1, 'a', 'b'))
})

test('threads that wait for each other politely for ever are a livelock', () => {
  const polite = (mine: number, other: number): Body =>
    function* () {
      for (;;) {
        yield at('want', store(mine, 1))
        if ((yield at('look', load(other))) === 0) break
        yield at('yield', store(mine, 0))
      }
    }
  const program = new GeneratedProgram(2, [polite(0, 1), polite(1, 0)])

  const result = searchTwice(program, specOf(program, { livelock: true }))

  equal(result.failure?.kind, 'livelock')
  equal(result.failure?.message, 't0 can go on for ever, and all that must end never can')
})

test('a thread that spins until another is done is no livelock', () => {
  const program = new GeneratedProgram(1, [
    function* () {
      while ((yield at('spin', load(0))) === 0);
    },
    function* () {
      yield store(0, 1)
    },
  ])

  equal(searchTwice(program, specOf(program, { livelock: true })).verdict, 'proved')
})

test('a daemon that never rests is no livelock, unless others wait for it', () => {
  const restless: Body = function* () {
    for (;;) yield at('spin', load(0))
  }
  const short: Body = function* () {
    yield store(1, 1)
  }
  const waiting: Body = function* () {
    yield wait(0, 0)
  }
  const threads = [thread('restless', { daemon: true }), thread('other')]
  const fine = new GeneratedProgram(2, [restless, short])
  const stuck = new GeneratedProgram(2, [restless, waiting])

  equal(searchTwice(fine, specOf(fine, { threads, livelock: true })).verdict, 'proved')
  equal(
    searchTwice(stuck, specOf(stuck, { threads, livelock: true })).failure?.message,
    'restless can go on for ever, and all that must end never can',
  )
})

test('symmetric threads are merged, and their schedules are real ones', () => {
  const program = new GeneratedProgram(2, [locker, locker, locker])
  const threads = ['a', 'b', 'c'].map(name => thread(name, { group: 0 }))
  const atEnd: SearchSpec['atEnd'] = state => state.word(0) !== 0

  const all = search(program, specOf(program))
  const merged = searchTwice(program, specOf(program, { threads }))
  const failed = searchTwice(program, specOf(program, { threads, atEnd }))

  ok(merged.states < all.states / 3, `${merged.states} of ${all.states} states`)
  deepEqual(endOf(program, specOf(program), failed.failure!.steps).words[0], 0)
})

test('threads declared symmetric that differ are refused', () => {
  const program = new GeneratedProgram(2, [
    function* () {
      if ((yield load(0)) === 1) yield store(1, 5)
    },
    function* () {
      if ((yield load(0)) === 1) yield store(1, 6)
    },
    function* () {
      yield store(0, 1)
    },
  ])
  const threads = [thread('a', { group: 0 }), thread('b', { group: 0 }), thread('c')]

  throws(() => search(program, specOf(program, { threads })), {
    name: 'Refusal',
    message:
      'a (thread 0) and b (thread 1) are declared symmetric but differ: ' +
      'Store(word 1, 5, 0), Store(word 1, 6, 0)',
  })
})

test('a model that tells symmetric threads apart by their death is refused', () => {
  const dier: Body = function* () {
    yield store(0, 1)
  }
  const reaper: Body = function* () {
    yield awaitDeath()
  }
  const program = new GeneratedProgram(1, [dier, dier, reaper])
  const threads = [
    thread('a', { group: 0 }),
    thread('b', { group: 0 }),
    thread('reaper', { daemon: true }),
  ]

  throws(() => search(program, specOf(program, { threads, deaths: 1 })), { name: 'Refusal' })
})

test('a word may take more values than a byte, and too many are an overflow', () => {
  const counting = (limit: number): Body =>
    function* () {
      while ((yield at('count', add(0, 1))) < limit);
    }
  const few = new GeneratedProgram(1, [counting(1000)])
  const many = new GeneratedProgram(1, [counting(Infinity)])

  equal(search(few, specOf(few)).states, 1002)
  equal(search(many, specOf(many)).failure?.kind, 'overflow')
})

test('more states than allowed are an error that says what to do', () => {
  const program = counterLock(2, 2)

  throws(() => search(program, specOf(program, { maxStates: 10_000 })), {
    code: 'ETOOBIG',
    message: /more than 10000 states: allow more .* 'fingerprints', 'preemptions' or 'pct'/,
  })
})

test('more threads than a state can hold are an error', () => {
  const body: Body = function* () {
    yield load(0)
  }
  const program = new GeneratedProgram(1, Array<Body>(32).fill(body))

  throws(() => search(program, specOf(program)), /at most 31 threads, not 32/)
})

/** A reader leaves by a plain store after a plain load; the data is overwritten once it left. */
function leaving(): GeneratedProgram {
  return new GeneratedProgram(3, [
    function* () {
      const data = yield loadPlain(0)
      yield storePlain(1, 1)
      if (data === 7) yield store(2, 1)
    },
    function* () {
      if ((yield load(1)) === 1) yield store(0, 7)
    },
  ])
}

test('on arm64 a store overtakes the load before it, on x86-64 it does not', () => {
  const program = leaving()
  const never: SearchSpec['never'] = state => state.word(2) === 1

  equal(searchTwice(program, specOf(program, { never })).verdict, 'proved')
  equal(searchTwice(program, specOf(program, { never, memory: 'arm' })).failure?.kind, 'never')
})

test('on arm64 a load that decides about a store is not overtaken', () => {
  const program = new GeneratedProgram(2, [
    function* () {
      if ((yield loadPlain(0)) === 0) yield storePlain(1, 1)
    },
    function* () {
      if ((yield load(1)) === 1) yield store(0, 1)
    },
    function* () {
      yield store(0, 2)
    },
  ])
  const never: SearchSpec['never'] = state => state.word(1) === 1 && state.word(0) === 3

  equal(searchTwice(program, specOf(program, { never, memory: 'arm' })).verdict, 'proved')
})

test('sleepers are woken first come first, and those behind move up', () => {
  const sleeper: Body = function* () {
    yield wait(0, 0)
  }
  const program = new GeneratedProgram(2, [
    sleeper,
    sleeper,
    sleeper,
    function* () {
      const two = yield notify(0, 2)
      const one = yield notify(0, 1)
      yield store(1, two * 10 + one)
    },
  ])
  const never: SearchSpec['never'] = state => state.word(1) === 21

  equal(searchTwice(program, specOf(program, { never })).failure?.kind, 'never')
})

test('a dead sleeper that is still queued swallows a wake-up', () => {
  const sleeper: Body = function* () {
    while ((yield at('look', load(0))) === 0) yield at('sleep', wait(0, 0))
  }
  const waker: Body = function* () {
    yield store(0, 1)
    yield notify(0, 1)
  }
  const program = new GeneratedProgram(1, [sleeper, sleeper, waker])
  const threads = [thread('a'), thread('b'), thread('waker')]

  const result = searchTwice(program, specOf(program, { threads, deaths: 1 }))

  equal(result.failure?.kind, 'deadlock')
})
