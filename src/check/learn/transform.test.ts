import { equal, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { importPlain, importTransformed } from './module.test.fixture.ts'
import { transform } from './transform.ts'

/** Each is a function body; what it returns must not change. */
const PROGRAMS: Record<string, string> = {
  'operators keep their order of evaluation': `
    const log = []
    const f = x => { log.push(x); return x }
    const o = { a: 1, f }
    const r = [f(1) + f(2) * f(3), o.f(4) + o['f'](5), f(6) < f(7), [f(8), ...[f(9)], f(10)], \`\${f(11)}-\${f(12)}\`]
    o.a += f(13) + f(14)
    o[f('b')] = f(15)
    return [log, r, o.a, o.b]`,
  'optional calls and chains are cut short': `
    const a = { b: { c: x => x, n: null } }, log = []
    const f = x => { log.push(x); return x }
    return [a?.b.c(1), a.x?.c(f(2)), a.b.n?.c.d(f(3)), a.b.c?.(f(4)), a.b.zz?.(f(5)), a?.b?.n?.x[f(6)], a?.['b'].c(f(7)), log]`,
  'this reaches methods': `
    const o = { x: 5, get() { return this.x }, in: { get() { return this.y }, y: 6 } }
    const f = x => x
    return [o.get(), (o.get)(), o['get'](), o.in.get(f(1)), o.get.call({ x: 7 }), (0, o.get).call({ x: 8 })]`,
  'new in all its forms': `
    class A { constructor(...a) { this.a = a; this.t = new.target === A } }
    const ns = { A, get() { return A } }, f = x => x
    return [new A, new A(), new A(1), new A(1,), new ns.A(f(2), f(3)), new (ns.get())(4), new (ns.get()), new ns.A]`,
  'classes keep fields, accessors, statics and private members': `
    const f = x => x
    class A {
      #p = f(1); static #s = f(2); q = () => this.#p; static t = f(3); #m() { return this.#p + A.#s }
      get p() { return this.#p } set p(v) { this.#p = v } static { A.u = f(4) } [f('k')]() { return this.#m() }
      has(o) { return #p in o }
    }
    class B extends A { constructor(x) { f(x); super(); this.x = x } m() { return super.p + super.k() } }
    const b = new B(9); b.p = 10
    return [b, b.q(), b.p, b.m(), A.t, A.u, b.has(b), b.has({}), Object.keys(b), JSON.stringify(b), B.name, A.name]`,
  'functions keep their names and lengths': `
    const a = () => 1, b = function () {}, c = function d() {}, e = class {}, o = { f: () => {}, g() {}, h: function () {}, get i() { return 1 } }
    let j; j = () => {}
    const { k = () => {} } = {}
    function l(a, b = 1, ...c) {}
    class M { n = () => {} }
    const anon = (() => () => {})()
    return [a, b, c, e, o.f, o.g, o.h, j, k, l, new M().n, anon].map(f => [f.name, f.length])`,
  'arrows return what they did': `
    const a = x => ({ x }), b = x =>
      x + 1, c = x => (x, x + 2), d = x => y => x + y, e = async x => x, g = (x) => [x, x].map(y => y * 2)
    return [a(1), b(1), c(1), d(1)(2), g(3), (() => 4)()]`,
  'loops, labels and switches go as before': `
    const log = [], f = x => { log.push(x); return x }
    outer: for (let i = 0; i < f(3); i++) { for (const j of [f(1), f(2)]) { if (j === 2) continue outer; log.push(i, j) } }
    for (const k in { a: 1, b: f(2) }) log.push(k)
    let n = 3; while (n-- > 0) f(n); do f('do'); while (n++ < 0)
    for (;;) if (n++ > 2) break
    for (const { x = f('d'), ...r } of [{ y: 1 }, { x: 2 }]) log.push(x, r)
    switch (f('s')) { case f('t'): log.push('no'); default: log.push('default'); case f('u'): log.push('u'); break; case 'v': { log.push('v') } }
    for (const x of f([1, 2])) for (const y of new Set([x])) f(y)
    const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i); log.push(fs.map(f => f()))
    return log`,
  'try, catch and finally leave as before': `
    const log = [], f = x => { log.push(x); return x }
    const a = () => { try { return f(1) } finally { f(2) } }
    const b = () => { try { throw f(3) } catch (e) { return f(e + 1) } finally { f(5) } }
    const c = () => { for (const i of [1, 2]) { try { if (i === 1) continue; break } finally { f('c' + i) } } return 'c' }
    const d = () => { try { try { throw new Error('x') } finally { f(6) } } catch (e) { return e.message } }
    const e = () => { try { return f(7) } finally { return f(8) } }
    const g = () => { try { return } catch { return 1 } finally { f(9) } }
    const h = () => { try { return f(1), f(10) } finally {} }
    const i = () => { try { null.x } catch { throw 5 } finally { f(11) } }
    const j = () => { l: try { try { break l } finally { f(12) } } finally { f(13) } return 'j' }
    let thrown; try { i() } catch (x) { thrown = x }
    return [a(), b(), c(), d(), e(), g(), h(), thrown, j(), log]`,
  'generators, async functions and tagged templates are left alone': `
    const f = x => x
    function* g(n) { for (let i = 0; i < n; i++) { const x = yield f(i); if (x) f(x) } return f('end') }
    const tag = (s, ...v) => s.raw.join('|') + v.join()
    async function h() { await f(1); return f(2) }
    return [[...g(3)], tag\`a\${f(1)}b\${f(2)}\\n\`, f(tag)\`x\`, h() instanceof Promise]`,
  'parameters keep defaults, patterns and arguments': `
    const f = x => x
    function a(x = f(1), { y = f(2), z: [w = f(3)] = [] } = {}, ...r) { return [x, y, w, r, arguments.length] }
    function b() { 'use strict'; return [this, arguments.length] }
    function c(x, g = () => x) { x = 5; return g() }
    return [a(), a(9, { y: 8, z: [7] }, 6, 5), b(1, 2, 3), c(1)]`,
  'held values are the values of their time': `
    let x = 1; const o = { v: 1, list: [1, 2] }
    const bump = () => { x++; o.v++; o.list = [9]; return 10 }
    const r = [x + bump(), o.v + bump(), [x, bump(), x], o.list[bump() && 0], x++ + bump() + x]
    x += bump(); o.v += bump(); const { a = bump(), b = x } = { b: undefined }
    return [r, x, o.v, a, b, \`\${x}\${bump()}\${x}\`, { x, y: bump(), z: x }]`,
  'hoisted functions can be called before their variables have values': `
    const early = (() => { try { return g() } catch (e) { return e.name } })()
    const k = 5
    function g() { return h(k) } function h(x) { return x }
    { function inner() { return k } var kept = inner() }
    return [early, g(), kept, typeof later]
    var later`,
  'statements without semicolons or braces': `
    const log = []
    const f = x => { log.push(x) }
    if (log) for (const x of [1]) f(x)
    else f(2)
    let i = 0
    while (i < 2) f(i++)
    do i--
    while (i > 0)
    const y = f
    ;[3].forEach(y)
    const g = () => {
      f('g')
    }

    [4].forEach(y)
    const o = { a: {}, f: x => x }
    y(7)
    o.a.b = o.f(8)
    o.a.c = o.f(9)
    class P {
      a = () => 1
      ['b'] = () => 2
      static c
      d
    }
    log.push(new P(), o)
    const h = o => { throw o.a
    }
    try { h(o) } catch (e) { f(e) } finally { f(10) }
    for (var z = 0; z < 1; z++) var w = () => z
    g()
    if (!log) f(4); else if (i) f(5)
    else f(6)
    return log`,
}

for (const [title, body] of Object.entries(PROGRAMS)) {
  test(`transformed, ${title}`, async () => {
    const code = `export function run() {${body}\n}`

    const plain = await importPlain<{ run(): unknown }>(code)
    const transformed = await importTransformed<{ run(): unknown }>(code)

    equal(inspect(transformed.run(), { depth: 9 }), inspect(plain.run(), { depth: 9 }))
  })
}

test('each line stays where it is', () => {
  const path = fileURLToPath(new URL('./publish.js', import.meta.url))
  const code = readFileSync(path, 'utf8')

  const lines = transform(code, `file://${path}`).split('\n')

  for (const [i, line] of code.split('\n').entries()) {
    const words = line.match(/\w+/g) ?? []
    let from = 0
    for (const word of words) {
      const found = (lines[i] as string).indexOf(word, from)
      ok(found >= 0, `line ${i + 1} lost ${word}`)
      from = found + word.length
    }
  }
})

test('transforming twice is transforming once', () => {
  const once = transform('export const f = x => g(x)', 'file:///a.js')

  equal(transform(once, 'file:///a.js'), once)
})

test('a hoisted function works before its module was evaluated', async () => {
  const code = 'export function early() { return helper(1) }\nconst helper = x => x\n'

  const { early } = await importTransformed<{ early(): number }>(code)

  equal(early(), 1)
})

test('code of a CommonJS module keeps its directive', () => {
  const code = "'use strict'\nmodule.exports = function f() { 'use strict'; return g(this) }\n"

  const text = transform(code, 'file:///a.cjs', true)

  ok(text.startsWith("'use strict';\n"))
  ok(text.includes("{ 'use strict';;const $d"))
})
