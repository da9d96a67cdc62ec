import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import * as shape from './shape.ts'
import { repository, treeOf } from './tree.ts'

const long = (lines: number): string => `function f() {\n${'  g()\n'.repeat(lines - 2)}}\n`

test('files have at most 500 lines of at most 100 characters', () => {
  deepEqual(shape.fileSizes(repository()), [])
  deepEqual(shape.lineSizes(repository()), [])
})

test('a file of 501 lines is found', () => {
  deepEqual(shape.fileSizes(treeOf({ 'a.ts': 'f()\n'.repeat(501) })), ['a.ts: 501 lines'])
})

test('a line of 101 characters is found, unless a literal of a test makes it so long', () => {
  const literal = `\nf('${'x'.repeat(98)}')`
  const tree = treeOf({
    'a.ts': `\n// ${'x'.repeat(98)}`,
    'b.ts': literal,
    'c.test.ts': literal,
    'd.test.ts': `\n// ${'x'.repeat(98)}`,
  })

  deepEqual(shape.lineSizes(tree), [
    'a.ts:2: 101 characters',
    'b.ts:2: 103 characters',
    'd.test.ts:2: 101 characters',
  ])
})

test('functions have at most 70 lines and 4 parameters', () => {
  deepEqual(shape.functionSizes(repository()), [])
})

test('a function of 71 lines and one of 5 parameters are found, by name', () => {
  const tree = treeOf({
    'a.ts': long(70),
    'b.ts': `\n${long(71)}`,
    'c.ts': 'const add = (a, b, c, d, e) => 0\nclass K { m(a, b, c, d, e) {} }',
  })

  deepEqual(shape.functionSizes(tree), [
    'b.ts:2: f has 71 lines',
    'c.ts:1: add has 5 parameters',
    'c.ts:2: m has 5 parameters',
  ])
})

test('there is no default export, enum, any or parameter property', () => {
  deepEqual(shape.forms(repository()), [])
})

test('a default export, an enum, an any and a parameter property are found', () => {
  const tree = treeOf({
    'a.ts': [
      'export default 1',
      'enum E { A }',
      'let x: any',
      'class K { constructor(private a: number) {} }',
    ].join('\n'),
  })

  deepEqual(shape.forms(tree), [
    'a.ts:1: a default export',
    'a.ts:2: an enum',
    'a.ts:3: any',
    'a.ts:4: a parameter property',
  ])
})

test('every export has a docstring', () => {
  deepEqual(shape.docstrings(repository()), [])
})

test('an export without a docstring is found, a line comment does not do', () => {
  const tree = treeOf({
    'a.ts': '/** Yes. */\nexport const A = 1\nexport type A = 1\nexport { b } from "./b.ts"',
    'c.ts': '// no\nexport function f() {}\n/* no */\nexport class K {}',
  })

  deepEqual(shape.docstrings(tree), ['c.ts:2: no docstring', 'c.ts:4: no docstring'])
})

test('a file whose protocol is checked opens with an essay that names the check', () => {
  deepEqual(shape.essays(repository()), [])
})

test('a missing essay, and one that does not name its check, are found', () => {
  const tree = treeOf({
    'src/a.ts': '/** Not an essay. */',
    'src/a.check.ts': '',
    'src/b.ts': '/*\n * One.\n * Two.\n * Three.\n * Four.\n */',
    'src/b.check.ts': '',
    'src/c.ts': '',
  })

  deepEqual(shape.essays(tree), [
    'src/a.ts: no essay on its protocol',
    'src/b.ts: its essay does not name b.check.ts',
  ])
})

test('every file of locking/ has its test beside it', () => {
  deepEqual(shape.testsBeside(repository()), [])
})

test('a file of locking/ without a test is found', () => {
  const tree = treeOf({
    'src/locking/a.ts': '',
    'src/locking/a.test.ts': '',
    'src/locking/b.ts': '',
    'src/locking/b.check.ts': '',
  })

  deepEqual(shape.testsBeside(tree), ['src/locking/b.ts: no test beside it'])
})

test('titles of tests are sentences, and no test is left out', () => {
  deepEqual(shape.testTitles(repository()), [])
})

test('a title of one word and a test that is left out are found', () => {
  const skip = `test.${'skip'}`
  const tree = treeOf({ 'a.test.ts': `test('mutex', f)\n${skip}('it works', f)\ntest('it is', f)` })

  deepEqual(shape.testTitles(tree), [
    'a.test.ts:1: its title is no sentence: mutex',
    'a.test.ts:2: a skip',
  ])
})
