import { equal, match, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Kind, Refusal } from '../program.ts'
import { learn } from './automaton.ts'
import type { Body, Identity } from './capture.ts'
import { importPlain, importTransformed } from './module.test.fixture.ts'

const SEAM = new URL('../atomics.js', import.meta.url)

interface Culprit {
  /** A module that exports `run([m])`; the culprit's line ends in `// here`. */
  readonly code: string
  readonly message: RegExp
}

/** What a body must not do. */
const REFUSED: Record<string, Culprit> = {
  'a word read past the seam': {
    code: `export function run([m]) {
      return m[0] // here
    }`,
    message: /touches shared memory outside the seam: \[0\] is read/,
  },
  'a word written past the seam': {
    code: `export function run([m]) {
      m[1] = 5 // here
    }`,
    message: /touches shared memory outside the seam: \[1\] is written/,
  },
  'a method that goes over the words': {
    code: `export function run([m]) {
      m.fill(0) // here
    }`,
    message: /touches shared memory outside the seam: fill\(\)/,
  },
  'words spread into an array': {
    code: `export function run([m]) {
      return [...m] // here
    }`,
    message: /touches shared memory outside the seam: Symbol\(Symbol.iterator\)\(\)/,
  },
  'a view of its own over the shared memory': {
    code: `export function run([m]) {
      const mine = new Int32Array(m.buffer) // here
      mine[0] = 1
    }`,
    message: /a view is built over the shared memory of the model/,
  },
  'a view of bytes over the shared memory': {
    code: `export function run([m]) {
      const mine = new Uint8Array(m.buffer, 0, 4) // here
      return mine[0]
    }`,
    message: /a view is built over the shared memory of the model/,
  },
  'shared memory that the model does not declare': {
    code: `const mine = new Int32Array(new SharedArrayBuffer(4))
    export function run() {
      Atomics.load(mine, 0) // here
    }`,
    message: /shared memory that the model does not declare/,
  },
  'words of another width': {
    code: `export function run() {
      Atomics.load(new BigInt64Array(new SharedArrayBuffer(8)), 0) // here
    }`,
    message: /an operation on something but an Int32Array/,
  },
  'an index out of bounds': {
    code: `export function run([m]) {
      Atomics.load(m, 99) // here
    }`,
    message: /index 99 is not within the view's 4 words/,
  },
  'an asynchronous wait': {
    code: `export function run([m]) {
      Atomics.waitAsync(m, 0, 0) // here
    }`,
    message: /Atomics.waitAsync/,
  },
  'a loop that never ends and calls nothing': {
    code: `export function run([m]) {
      for (;;) {} // here
    }`,
    message: /the body never ends/,
  },
  'a loop that never ends and only calls': {
    code: `const f = x => x
    export function run([m]) {
      while (f(true)); // here
    }`,
    message: /the body never ends/,
  },
  'operations that always lead to new states': {
    code: `export function run([m]) {
      for (let i = 0; ; i++) {
        Atomics.store(m, 0, i) // here
      }
    }`,
    message: /the body never ends: more than 2000 operations/,
  },
  'the time of day': {
    code: `export function run([m]) {
      return Date.now() // here
    }`,
    message: /Date.now is not the same in every run/,
  },
  'a date of now': {
    code: `export function run([m]) {
      return new Date() // here
    }`,
    message: /new Date\(\) is not the same in every run/,
  },
  'a random number': {
    code: `export function run([m]) {
      Atomics.store(m, 0, Math.random()) // here
    }`,
    message: /Math.random is not the same in every run/,
  },
  'a clock of the process': {
    code: `export function run([m]) {
      return process.hrtime.bigint() + performance.now() // here
    }`,
    message: /process.hrtime.bigint is not the same in every run/,
  },
  'random bytes': {
    code: `export function run([m]) {
      return crypto.getRandomValues(new Uint8Array(4)) // here
    }`,
    message: /crypto.getRandomValues is not the same in every run/,
  },
  'a timer': {
    code: `export function run([m]) {
      setTimeout(() => {}, 1) // here
    }`,
    message: /setTimeout is not the same in every run/,
  },
  'a variable of the module that functions assign': {
    code: `let count = 0
    export function run([m]) {
      count++ // here
      Atomics.load(m, 0)
    }`,
    message: /`count` is a variable of the module, which the checker cannot put back/,
  },
  'a WeakMap of the module': {
    code: `const kept = new WeakMap()
    export function run([m]) {
      kept.set(m, 1) // here
    }`,
    message: /`kept` is a WeakMap of the module/,
  },
  'a variable around the body that it assigns': {
    code: `function make() {
      let n = 0
      return ([m]) => {
        n++
        Atomics.store(m, 0, n) // here
      }
    }
    export const run = make()`,
    message: /the body is not the same in every run/,
  },
  'an operation in a callback of the engine': {
    code: `export function run([m]) {
      const list = [0, 1]
      list.forEach(i => { Atomics.load(m, i) }) // here
    }`,
    message: /an operation in a callback of Array.forEach.*write a loop/,
  },
  'an operation in a getter': {
    code: `export function run([m]) {
      const o = { get v() { return Atomics.load(m, 0) } }
      return o.v // here
    }`,
    message: /not reached by calls alone/,
  },
  'an operation in a conversion, after another call on its line': {
    code: `const f = x => x
    export function run([m]) {
      const o = { valueOf() { return Atomics.load(m, 0) } }
      return f(1) + o // here
    }`,
    message: /not reached by calls alone/,
  },
  'an operation in a generator': {
    code: `function* all(m) {
      yield Atomics.load(m, 0) // here
    }
    export function run([m]) {
      for (const v of all(m)) {}
    }`,
    message: /not reached by calls alone/,
  },
  'an operation in a default parameter': {
    code: `function f(m,
      v = Atomics.load(m, 0)) { return v } // here
    export function run([m]) {
      f(m)
    }`,
    message: /not reached by calls alone/,
  },
  'an operation in a field': {
    code: `export function run([m]) {
      class A {
        v = Atomics.load(m, 0) // here
      }
      new A()
    }`,
    message: /not reached by calls alone/,
  },
  'an async body': {
    code: `export async function run([m]) {
      Atomics.load(m, 0) // here
    }`,
    message: /not reached by calls alone/,
  },
  'an iterator that is held': {
    code: `export function run([m]) {
      const values = new Set([1, 2]).values()
      Atomics.load(m, 0) // here
      values.next()
    }`,
    message: /`values` holds an iterator \(Set Iterator\), whose position the checker cannot see/,
  },
  'a promise that is held': {
    code: `export function run([m]) {
      const later = Promise.resolve(1)
      Atomics.load(m, 0) // here
      return { later }
    }`,
    message: /`later` holds a promise, whose state the checker cannot see/,
  },
  'a WeakMap that is held, deep inside': {
    code: `export function run([m]) {
      const o = { list: [new WeakMap()] }
      Atomics.load(m, 0) // here
      o.list
    }`,
    message: /`o` holds a WeakMap/,
  },
  'an object with private fields of the engine': {
    code: `export function run([m]) {
      const url = new URL('file:///a')
      Atomics.load(m, 0) // here
      url.href
    }`,
    message: /`url` holds an object of class URL, whose private fields the checker cannot see/,
  },
  'a bound function': {
    code: `export function run([m]) {
      const f = ((a, b) => a + b).bind(null, 1)
      Atomics.load(m, 0) // here
      f(2)
    }`,
    message: /`f` holds the function `bound `, whose arguments/,
  },
  'a variable behind another one of its name': {
    code: `export function run([m]) {
      const v = Atomics.load(m, 0)
      {
        const v = 1
        Atomics.load(m, v) // here
      }
      return v
    }`,
    message: /`v` holds a value that has no name of its own/,
  },
  'a value in the middle of an optional chain': {
    code: `export function run([m]) {
      const o = { a: { f: x => x } }
      return o?.a.f(Atomics.load(m, 0)) // here
    }`,
    message: /an expression around it holds a value that has no name of its own/,
  },
  'an object that is another one in each run': {
    code: `export function run([m]) {
      const f = eval('() => 1')
      Atomics.load(m, 0) // here
      f()
    }`,
    message: /not the same in every run.*`f` was f\d+ once, then f\d+/,
  },
}

/** Learns a thread's first operation, and follows result 0 as far as it goes. */
function learnAll(body: Body, identity: Identity = 'frames'): void {
  const automaton = learn({
    initial: new Int32Array(4),
    views: [{ start: 0, length: 4 }],
    bodies: [body],
    identity,
  })
  let node = 0
  while ((automaton.kind[node] as number) < Kind.Done) node = automaton.next(node, 0)
}

function refusal(run: () => void): Refusal {
  try {
    run()
  } catch (error) {
    ok(error instanceof Refusal, String(error))
    return error
  }
  throw new Error('it was not refused')
}

for (const [title, { code, message }] of Object.entries(REFUSED)) {
  test(`${title}: refused, with its line`, async () => {
    const { run, path } = await importTransformed<{ run: Body }>(code)
    const line = code.split('\n').findIndex(text => text.endsWith('// here')) + 1

    const { message: text } = refusal(() => learnAll(run))

    match(text, message)
    ok(text.startsWith(`${path}:${line}: `), text)
  })
}

test('a module may do what it likes as long as no body does it', async () => {
  const code = `let count = 0
    export function unrelated() { count++ }
    export function run([m]) { Atomics.load(m, 0) }`

  const { run, unrelated } = await importTransformed<{ run: Body; unrelated(): void }>(code)
  unrelated()

  learnAll(run)
})

test('a body may have memory of its own', async () => {
  const code = `export function run([m]) {
      const mine = new Int32Array(2), bytes = new Uint8Array(m.length)
      Atomics.add(mine, 0, 2)
      bytes.set([1])
      Atomics.store(m, 0, Atomics.load(mine, 0) + bytes[0])
    }`

  const { run } = await importTransformed<{ run: Body }>(code)

  learnAll(run)
})

test('a refusal cannot be caught by the body', async () => {
  const code = `export function run([m]) {
      try { m[0] } catch {}
      Atomics.load(m, 0)
    }`

  const { run } = await importTransformed<{ run: Body }>(code)

  match(refusal(() => learnAll(run)).message, /:2: touches shared memory/)
})

test('code that was not transformed is refused with frames and learned with histories', async () => {
  const code = `export function run([m]) {
      ;[0, 1].forEach(i => Atomics.load(m, i))
    }`
  const { run } = await importPlain<{ run: Body }>(code)

  const { message } = refusal(() => learnAll(run))
  learnAll(run, 'history')

  match(message, /:2: an operation in code that was not loaded through hotplug\/check\/register/)
})

test('an operation whose function was taken from Atomics too early is refused', async () => {
  const early = Object.getPrototypeOf(Int32Array.prototype)
  const code = `const { fill } = Object.getPrototypeOf(Int32Array.prototype)
    export function run([m]) {
      fill.call(m, 0)
    }`
  const { run } = await importTransformed<{ run: Body }>(code)

  equal(typeof early.fill, 'function')
  match(refusal(() => learnAll(run)).message, /:3: an operation went past the checker/)
})

test('outside a body everything works as ever', async () => {
  const { run } = await importTransformed<{ run: Body }>(
    'export function run([m]) { Atomics.load(m, 0) }',
  )
  learnAll(run)
  const words = new Int32Array(new SharedArrayBuffer(8))
  const seam: typeof import('../atomics.ts') = await import(SEAM.href)

  equal(Atomics.add(words, 0, 2) + Atomics.load(words, 0), 2)
  equal(Atomics.wait(words, 0, 1), 'not-equal')
  equal(seam.wait(words, 0, 2, 0), 'timed-out')
  equal(seam.notify(words, 0), 0)
  equal(await seam.waitAsync(words, 0, 1, 5), 'not-equal')
  seam.fillPlain(words, 0, 7, 2)
  equal(Atomics.load(words, 1), 7)
  ok(Date.now() > 0 && new Date() instanceof Date && Math.random() < 1)
})
