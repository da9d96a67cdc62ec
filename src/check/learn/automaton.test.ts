import { deepEqual, equal, match, ok, throws } from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { Kind, NOTIFY_ALL, type Refusal, Woke } from '../program.ts'
import { type Automaton, learn } from './automaton.ts'
import type { Body, Identity } from './capture.ts'
import { explore } from './explore.test.fixture.ts'
import { importPlain, importTransformed } from './module.test.fixture.ts'

const SEAM = new URL('../atomics.js', import.meta.url)
const VIEWS = [
  { start: 0, length: 4 },
  { start: 4, length: 4 },
]

/** Learns threads that run `run`, or `run0`, `run1`, ... of a module, over two views. */
function learnModule(module: Record<string, Body>, nrThreads: number, identity: Identity) {
  const bodies = Array.from(
    { length: nrThreads },
    (_, i) => module[`run${i}`] ?? (module.run as Body),
  )
  return learn({ initial: new Int32Array(8), views: VIEWS, bodies, identity })
}

async function learnCode(code: string, nrThreads = 1) {
  const module = await importTransformed<Record<string, Body>>(code)
  return { path: module.path, learn: () => learnModule(module, nrThreads, 'frames') }
}

/** Follows results from a thread's first node. */
function follow(automaton: Automaton, ...results: number[]): number {
  return results.reduce((node, result) => automaton.next(node, result), 0)
}

/** What a node stands before. */
function operation(automaton: Automaton, node: number): (number | undefined)[] {
  return [automaton.kind[node], automaton.word[node], automaton.a[node], automaton.b[node]]
}

const MUTEX = `
class Mutex {
  constructor(words) { this.words = words }
  lock() {
    let seen = Atomics.compareExchange(this.words, 0, 0, 1)
    if (seen === 0) return
    if (seen !== 2) seen = Atomics.exchange(this.words, 0, 2)
    while (seen !== 0) { Atomics.wait(this.words, 0, 2); seen = Atomics.exchange(this.words, 0, 2) }
  }
  unlock() {
    if (Atomics.sub(this.words, 0, 1) === 1) return
    Atomics.store(this.words, 0, 0); Atomics.notify(this.words, 0, 1)
  }
}
`

/** Bodies whose automata must lead to the same ends, however moments are told apart. */
const SAME: Record<string, string> = {
  'a mutex around a counter': `${MUTEX}
    export function run([m]) {
      const mutex = new Mutex(m)
      mutex.lock(); const v = Atomics.load(m, 1); Atomics.store(m, 1, v + 1); mutex.unlock() }`,
  'values held without a name': `
    const get = (m, i) => Atomics.load(m, i)
    export function run0([m]) { Atomics.store(m, 2, get(m, 0) + get(m, 1) * 10 + (get(m, 0) || 5)) }
    export function run1([m]) { Atomics.add(m, 0, 1); Atomics.add(m, 1, 1) }`,
  'held objects, templates, arrays and compound assignments': `
    const get = m => Atomics.load(m, 0)
    export function run0([m]) {
      const o = { n: 1, list: [get(m), get(m)] }
      o.n += get(m) * 10
      const text = \`\${get(m)}\${get(m)}\`
      const [a, b = get(m)] = [get(m)]
      Atomics.store(m, 2, o.n * 1000 + o.list[0] + o.list[1] + text.length + a + b) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'private fields': `
    class Counter { #n = 0; static #made = 0; up(m) { this.#n += Atomics.load(m, 0); return this.#n } }
    export function run0([m]) { const c = new Counter(); c.up(m); c.up(m); Atomics.load(m, 1); Atomics.store(m, 2, c.up(m)) }
    export function run1([m]) { Atomics.add(m, 0, 1); Atomics.add(m, 0, 1) }`,
  'closures over variables that change': `
    function counter(m) { let n = 0; const up = () => { n += Atomics.load(m, 0); return n }; return { up, peek() { return n } } }
    export function run0([m]) { const c = counter(m); c.up(); c.up(); Atomics.load(m, 1); Atomics.store(m, 2, c.peek()) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'functions that call each other before their variables are set': `
    export function run0([m]) { const g = () => f() + k; const k = Atomics.load(m, 0); Atomics.load(m, 1); Atomics.store(m, 2, g()); function f() { return k * 10 } }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'equal elements of a loop': `
    export function run0([m]) { let last = 0; for (const x of [1, 1, 1]) { last = Atomics.load(m, 0) } for (const k in { a: 1, b: 1 }) Atomics.add(m, 1, 1); Atomics.store(m, 2, last) }
    export function run1([m]) { for (const x of [1, 1]) Atomics.add(m, 0, 1) }`,
  'what a finally must not forget': `
    function f(m) { try { const v = Atomics.load(m, 0); if (v === 1) throw new Error('one'); return v } finally { Atomics.add(m, 1, 1) } }
    function g(m) { for (let i = 0; i < 2; i++) { try { if (Atomics.load(m, 0) === 1) continue; break } finally { Atomics.add(m, 3, 1) } } }
    export function run0([m]) { let r; try { r = f(m) } catch (e) { r = e.message.length + 10 } g(m); Atomics.store(m, 2, r) }
    export function run1([m]) { Atomics.store(m, 0, 1); Atomics.store(m, 0, 2) }`,
  'a finally after nothing special, a throw, and a break': `
    function f(m) { try { if (Atomics.load(m, 0) === 1) throw new Error() } finally { Atomics.add(m, 1, 1) } return 1 }
    function g(m) { let r = 1; for (const i of [1, 1]) { try { if (Atomics.load(m, 0) === 2) break } finally { Atomics.add(m, 1, 1) } r++ } return r }
    function h(m) { try { for (;;) { if (Atomics.load(m, 0) === 2) break; else break } Atomics.load(m, 1) } finally { Atomics.load(m, 1) } }
    export function run0([m]) { let r = 10; try { r = f(m) } catch {} h(m); Atomics.store(m, 2, r + 100 * g(m)) }
    export function run1([m]) { Atomics.store(m, 0, 1); Atomics.store(m, 0, 2) }`,
  'maps, sets, dates, bigints, typed arrays and sharing': `
    export function run0([m]) {
      const o = { v: Atomics.load(m, 0) }, map = new Map([[o, 1]]), set = new Set([o.v]), bytes = new Uint8Array(300)
      const pair = Atomics.load(m, 0) === 0 ? [o, o] : [o, { ...o }]
      bytes[299] = o.v
      Atomics.load(m, 1); pair[0].v++
      Atomics.store(m, 2, pair[1].v + 10 * map.get(o) + 100 * set.size + 1000 * bytes[299] + Number(BigInt(o.v))) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'inheritance, accessors without operations, and symbols': `
    const S = Symbol('s')
    class A { constructor(m) { this.m = m; this[S] = Atomics.load(m, 0) } get s() { return this[S] } }
    class B extends A { constructor(m) { super(m); this.b = Atomics.load(m, 0) } sum() { return super.s * 10 + this.b } }
    export function run0([m]) { const b = new B(m); Atomics.load(m, 1); Atomics.store(m, 2, b.sum()) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'a closure that nothing names': `
    const reader = m => { const v = Atomics.load(m, 0); return () => { Atomics.load(m, 1); return v } }
    export function run0([m]) { Atomics.store(m, 2, reader(m)()) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'what a constructor made before its last operation': `
    class A { f = 3; constructor(m) { this.v = Atomics.load(m, 0); Atomics.load(m, 1) } }
    class B extends A {}
    class C extends B { constructor(m) { const l = Atomics.load(m, 0); super(m); this.l = l; Atomics.load(m, 1) } }
    function D(m) { this.v = Atomics.load(m, 0); Atomics.load(m, 1) }
    export function run0([m]) { Atomics.store(m, 2, new B(m).v + 10 * new C(m).l + 100 * new D(m).v) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'arguments of super, and patterns that call': `
    const get = (m, i = 0) => Atomics.load(m, i)
    class A { add(x) { return this.v + x } }
    class B extends A { sum(m) { return super.add(get(m, 1)) } }
    export function run0([m]) {
      const b = new B(); b.v = get(m)
      let x, y, sum = b.sum(m)
      ;[x, y = get(m)] = [get(m), undefined]
      for (const { z = get(m, 1) } of [{}, { z: 1 }]) sum += z
      Atomics.store(m, 2, sum + 10 * x + 100 * y) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'a variable that a closure changes while its value is held': `
    export function run0([m]) {
      let n = Atomics.load(m, 0)
      const up = () => { n = 7; Atomics.load(m, 1); return 0 }
      Atomics.store(m, 2, n + up()) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'old values of compound assignments': `
    export function run0([m]) {
      let n = Atomics.load(m, 0)
      const o = { v: Atomics.load(m, 0) }, reset = () => { o.v = 0; return Atomics.load(m, 1) }
      o.v += reset()
      Atomics.store(m, 2, 10 * o.v + (n += Atomics.load(m, 1))) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'classes derived from built-in ones': `
    class List extends Array { extra = 0 } class Names extends Map { #p = 0; up(v) { this.#p += v; return this.#p } }
    export function run0([m]) {
      const list = new List(), names = new Names()
      list.extra = Atomics.load(m, 0); names.up(Atomics.load(m, 0)); names.o = Atomics.load(m, 0)
      Atomics.load(m, 1)
      Atomics.store(m, 2, list.extra + 10 * names.up(0) + 100 * names.o) }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
  'a switch with variables, and labels': `
    export function run0([m]) {
      switch (Atomics.load(m, 0)) { case 0: let x = Atomics.load(m, 0); case 1: Atomics.load(m, 1); if (m === null) Atomics.store(m, 2, x) }
      outer: for (;;) { for (let i = 0; i < 3; i++) { if (Atomics.load(m, 0) === i) break outer } } }
    export function run1([m]) { Atomics.add(m, 0, 1) }`,
}

for (const [title, code] of Object.entries(SAME)) {
  test(`frames and histories lead to the same ends: ${title}`, async () => {
    const frames = (await learnCode(code, 2)).learn()
    const histories = learnModule(await importPlain(code), 2, 'history')

    const byFrames = explore(frames)
    const byHistories = explore(histories)

    deepEqual(byFrames.ends, byHistories.ends)
    ok(byFrames.states <= byHistories.states)
    frames.audit({ rounds: 4, seed: 1 })
  })
}

test('a spin loop closes: its moments are told apart by variables, not by rounds', async () => {
  const code = `export function run0([m]) { while (Atomics.load(m, 0) === 0) {} }
    export function run1([m]) { Atomics.store(m, 0, 1) }`

  const automaton = (await learnCode(code, 2)).learn()
  explore(automaton)

  equal(automaton.nrNodes, 4)
})

test('a variable that is not used any more does not tell moments apart', async () => {
  const code = `export function run([m]) { const v = Atomics.load(m, 0); if (v > 1) m; Atomics.load(m, 1) }`

  const automaton = (await learnCode(code)).learn()

  equal(follow(automaton, 0), follow(automaton, 1))
})

test('operations say their word, operands and timeouts', async () => {
  const code = `export function run([m, n], { awaitDeath }) {
    Atomics.compareExchange(n, 1, 2, 3); Atomics.wait(n, 0, 7); Atomics.wait(m, 0, 7, 50)
    Atomics.wait(m, 0, 7, Infinity); Atomics.notify(n, 3); Atomics.notify(n.subarray(2), 1, 2)
    Atomics.sub(m, 0, -1); awaitDeath() }`

  const automaton = (await learnCode(code)).learn()
  const nodes = [0]
  for (let i = 0; i < 8; i++) nodes.push(automaton.next(nodes[i] as number, 0))

  deepEqual(
    nodes.map(node => operation(automaton, node)),
    [
      [Kind.CompareExchange, 5, 2, 3],
      [Kind.Wait, 4, 7, 0],
      [Kind.Wait, 0, 7, 1],
      [Kind.Wait, 0, 7, 0],
      [Kind.Notify, 7, NOTIFY_ALL, 0],
      [Kind.Notify, 7, 2, 0],
      [Kind.Sub, 0, -1, 0],
      [Kind.AwaitDeath, 0, 0, 0],
      [Kind.Done, 0, 0, 0],
    ],
  )
})

test('results come back as JavaScript has them', async () => {
  const code = `export function run([m]) {
    const woken = Atomics.wait(m, 0, 0, 5), stored = Atomics.store(m, 0, 3.7), free = Atomics.isLockFree(4)
    throw new RangeError([woken, stored, free, Atomics.notify(m, 0)].join()) }`

  const automaton = (await learnCode(code)).learn()
  const end = follow(automaton, Woke.TimedOut, 0, 2)

  equal(automaton.kind[end], Kind.Fail)
  equal(automaton.error(end), 'RangeError: timed-out,3,true,2')
})

test('a node says where it stands, innermost call first, in the lines of the source', async () => {
  const code = `const f = m =>
      Atomics.load(m,
        1)
    export function run([m]) {

      if (m) f(m)
    }`

  const { path, learn } = await learnCode(code)
  const sites = learn().sites(0)

  deepEqual(
    sites.map(({ file, line, text }) => [basename(file), line, text]),
    [
      [basename(path), 2, 'Atomics.load(m, 1)'],
      [basename(path), 6, 'f(m)'],
    ],
  )
})

test('with histories the places are the same', async () => {
  const code = `const f = m => Atomics.load(m, 0)
    export function run([m]) {
      f(m)
    }`
  const module = await importTransformed<Record<string, Body>>(code)

  const byFrames = learnModule(module, 1, 'frames').sites(0)
  const byHistories = learnModule(module, 1, 'history').sites(0)

  equal(byFrames.length, 2)
  deepEqual(byHistories, byFrames)
})

test('an exception says where it came from', async () => {
  const { path, learn } = await learnCode(`export function run([m]) {
      Atomics.load(m, 0)
      throw new Error('broken')
    }`)

  const automaton = learn()
  const sites = automaton.sites(follow(automaton, 0))

  deepEqual([basename(sites[0]?.file ?? ''), sites[0]?.line], [basename(path), 3])
})

test('labels belong to the operations that follow', async () => {
  const code = `export function run([m], { cs }) { cs('W'); Atomics.load(m, 0); cs(''); Atomics.load(m, 0) }`

  const automaton = (await learnCode(code)).learn()
  const labels = [0, follow(automaton, 0), follow(automaton, 0, 0)].map(
    node => automaton.labels[automaton.label[node] as number],
  )

  deepEqual(labels, ['W', '', ''])
})

test('a catch, a finally and what they call cannot hide the end of a run', async () => {
  const code = `
    let rounds = { n: 0 }
    const count = () => { rounds.n++ }
    export const lost = rounds
    export function run([m]) {
      for (let i = 0; i < 3; i++) { try { Atomics.load(m, i) } catch { count() } finally { count() } } }`

  const automaton = (await learnCode(code)).learn()

  equal(explore(automaton).ends.length, 1)
  equal(automaton.nrNodes, 4)
})

test('plain stores and loads are told until an atomic operation', async () => {
  const code = `import { loadPlain as load, storePlain as store } from '${SEAM}'
    export function run([m]) { for (let i = 0; i < 5; i++) store(m, 1, i); load(m, 3); load(m, 2); load(m, 3); Atomics.load(m, 0); Atomics.add(m, 0, 1); load(m, 0) }`

  const automaton = (await learnCode(code)).learn()
  const before = follow(automaton, 0, 0, 0, 0, 0, 9, 8, 7)

  deepEqual(automaton.stores(before), [1, 1, 1, 2, 1, 3, 1, 4])
  deepEqual(automaton.reads(before), [2, 8, 3, 7])
  const loaded = automaton.next(before, 0)
  deepEqual(automaton.stores(loaded), [1, 1, 1, 2, 1, 3, 1, 4]) // x86-64 loads empty no buffer
  deepEqual(automaton.reads(loaded), [])
  deepEqual(automaton.stores(automaton.next(loaded, 0)), [])
})

test('edges beyond the second are found again', async () => {
  const code = 'export function run([m]) { const v = Atomics.load(m, 0); Atomics.store(m, 1, v) }'

  const automaton = (await learnCode(code)).learn()
  const nodes = [5, 6, 7, 8].map(result => automaton.next(0, result))

  deepEqual(
    [5, 6, 7, 8].map(result => automaton.known(0, result)),
    nodes,
  )
  equal(automaton.known(0, 9), -1)
  equal(automaton.edges(0).length, 4)
})

test('a run goes on while operations can only result in one thing', async () => {
  const code = `export function run0([m]) {
      Atomics.load(m, 0); Atomics.store(m, 1, 7); Atomics.load(m, 2); Atomics.notify(m, 3); Atomics.load(m, 1) }
    export function run1([m]) { Atomics.add(m, 0, 1); Atomics.store(m, 2, 1) }`
  const automaton = (await learnCode(code, 2)).learn()
  const runs = automaton.codeRuns

  const last = follow(automaton, 5, 7, 0, 0)

  equal(automaton.codeRuns, runs + 1)
  deepEqual(operation(automaton, last), [Kind.Load, 1, 0, 0])
  equal(automaton.known(last, 0), -1) // somebody writes that word
  const written = automaton.next(follow(automaton, 5, 7), 1)
  deepEqual(operation(automaton, written), [Kind.Notify, 3, NOTIFY_ALL, 0])
  automaton.audit({ rounds: 2, seed: 1 })
})

test('what is refused beyond what was asked for is refused when it is asked for', async () => {
  const code = `export function run([m]) { Atomics.load(m, 0); Atomics.store(m, 1, 1); m[2] }`
  const automaton = (await learnCode(code)).learn()

  const stores = automaton.next(0, 0)

  throws(() => automaton.next(stores, 1), { code: 'ENOTCHECKABLE' })
})

test('what is refused beyond what was asked for is not forgotten', async () => {
  const code = `const state = { started: false }
    function clock() { if (!state.started) { state.started = true; performance.now() } }
    export function run([m]) { Atomics.load(m, 0); Atomics.store(m, 1, 1); clock(); Atomics.store(m, 2, 2) }`
  const automaton = (await learnCode(code)).learn()
  const stores = automaton.next(0, 0)

  throws(() => automaton.next(stores, 1), /performance\.now/)
})

test('methods that a spread puts in the place of others', async () => {
  const code = `export function run([m]) {
      const base = { run() { Atomics.add(m, 0, 1) } }
      const o = { run() { Atomics.add(m, 1, 1) }, ...base }
      o.run()
      function twice() { Atomics.add(m, 2, 1) }
      function twice() { Atomics.add(m, 3, 1) }
      twice() }`
  const automaton = (await learnCode(code)).learn()

  deepEqual(operation(automaton, 0), [Kind.Add, 0, 1, 0])
  deepEqual(operation(automaton, automaton.next(0, 0)), [Kind.Add, 3, 1, 0])
})

test('an operation far below constructors that are not written out', async () => {
  const code = `class C0 { constructor(m) { this.v = Atomics.load(m, 0) } }
    ${Array.from({ length: 20 }, (_, i) => `class C${i + 1} extends C${i} { v${i} = 0 }`).join('\n')}
    export function run([m]) { const { v } = new C20(m); Atomics.store(m, 1, v) }`
  const automaton = (await learnCode(code)).learn()

  deepEqual(operation(automaton, automaton.next(0, 5)), [Kind.Store, 1, 5, 0])
})

test('one run of the audit looks at all moments on its way', async () => {
  const code = `export function run([m]) { for (let i = 0; i < 9; i++) Atomics.add(m, 0, i) }`
  const automaton = (await learnCode(code)).learn()
  follow(automaton, 0, 0, 0, 0, 0, 0, 0, 0, 0)

  equal(automaton.audit({ rounds: 1, seed: 1 }).runs, 1)
})

test('the audit finds a moment in the middle that is another the next time', async () => {
  const { writeModule } = await import('./module.test.fixture.ts')
  const counts = writeModule('counts', 'let n = 0; export const next = () => n++')
  const { learn } = await learnCode(`import { next } from '${counts}'
    export function run([m]) {
      Atomics.load(m, 0)
      let x = next() > 5 ? 1 : 0
      Atomics.add(m, 1, 1)
      x = 0
      Atomics.add(m, 1, 1) }`)
  const automaton = learn()
  follow(automaton, 0, 0, 0)

  throws(() => {
    for (let i = 0; i < 9; i++) automaton.audit({ rounds: 1, seed: 1 })
  }, /not the same in every run: after Load of word 0 \(0, 0\) = 0 `x` was 0 once, then 1/)
})

test('the audit finds moments that only look the same', async () => {
  const { writeModule } = await import('./module.test.fixture.ts')
  const hidden = writeModule(
    'hidden',
    'const kept = new WeakMap(); export const set = (o, v) => { kept.set(o, v) }; export const get = o => kept.get(o)',
  )
  const { path, learn } = await learnCode(`import { get, set } from '${hidden}'
    export function run([m]) {
      const o = {}
      set(o, Atomics.load(m, 0))
      Atomics.load(m, 1)
      Atomics.store(m, 2, get(o)) }`)
  const automaton = learn()
  for (const result of [0, 1]) automaton.next(follow(automaton, result, 0), 0)

  throws(
    () => automaton.audit({ rounds: 20, seed: 1 }),
    (error: Refusal) => {
      match(error.message, /two moments look the same here and are not/)
      match(
        error.message,
        /after Load of word 0 \(0, 0\) = 0, and after Load of word 0 \(0, 0\) = 1/,
      )
      equal(`${error.site?.file.split('/').at(-1)}:${error.site?.line}`, `${basename(path)}:5`)
      return true
    },
  )
})

test('what was learned in a run that is never the same again is found without merges', async () => {
  const { learn } = await learnCode(`const state = { n: 0 }
    export function run([m]) {
      Atomics.load(m, 0); Atomics.store(m, 1, 1)
      if (state.n++ === 0) Atomics.store(m, 3, 7)
      Atomics.store(m, 2, 2) }`)
  const automaton = learn()
  automaton.next(0, 0)

  throws(() => automaton.auditNodes(), /the body is not the same in every run/)
})

test('the audit finds what bodies leave behind in a module', async () => {
  const { learn } = await learnCode(`const log = []
    export function run([m]) { log.push(1); Atomics.load(m, 0) }`)

  throws(() => learn().audit({ rounds: 1, seed: 1 }), /:1: the body changes `log`, which belongs/)
})
