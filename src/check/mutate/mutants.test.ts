import { deepEqual, match, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from 'acorn'
import { type Mutant, mutantsOf } from './mutants.ts'

function mutants(body: string): Mutant[] {
  const imports = `import { add, compareExchange as cas, load, notify, store, wait } from '#atomics'`
  return mutantsOf('x.ts', `${imports}\nclass C { f(w, g) {\n${body}\n} }\n`)
}

const ids = (body: string): string[] => mutants(body).map(({ id }) => id)

test('each call of the seam is dropped and weakened, and named by its place and count', () => {
  deepEqual(ids('notify(w, 0); return 1; notify(w, 0)'), [
    'x.ts C.f notify#1 drop',
    'x.ts C.f notify#1 one',
    'x.ts C.f notify#2 drop',
    'x.ts C.f notify#2 one',
  ])
  deepEqual(ids('return cas(w, 0, 1, 2)'), [
    'x.ts C.f compareExchange#1 drop',
    'x.ts C.f compareExchange#1 always',
    'x.ts C.f compareExchange#1 split',
  ])
})

test('calls of functions that are not the seam have no mutants', () => {
  deepEqual(ids('g.load(w, 0); g(w)'), [])
})

test('a statement changes places with the next one if neither needs the other', () => {
  const [swapped] = mutants('store(w, 0, 1)\nnotify(w, 0)').filter(({ id }) => id.endsWith('swap'))

  match(swapped?.text ?? '', /notify\(w, 0\)\nstore\(w, 0, 1\)/)
  deepEqual(
    ids('const a = load(w, 0)\nstore(w, 1, a)').filter(id => id.endsWith('swap')),
    [],
  )
})

test('a member that is called like a variable does not keep statements from being swapped', () => {
  deepEqual(
    ids('const a = load(w, 0)\ng(w.a)').filter(id => id.endsWith('swap')),
    ['x.ts C.f load#1 swap'],
  )
})

test('every mutant can be parsed and keeps the lines that follow it', () => {
  const body = 'if (cas(w, 0, 1, 2) === 1) return\nadd(w, 0, 1)\nwait(w, 0, 3)\nstore(w, 1, 4)\ng()'
  const all = mutants(body)

  ok(all.length > 10)
  for (const { text } of all) {
    parse(text, { ecmaVersion: 'latest', sourceType: 'module' })
    match(text.split('\n')[7] ?? '', /^} }$/)
  }
})
