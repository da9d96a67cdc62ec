import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import * as text from './text.ts'
import { repository, treeOf } from './tree.ts'

test('links in the docs lead somewhere', () => {
  deepEqual(text.links(repository()), [])
})

test('a link to no file and one to no heading are found', () => {
  const tree = treeOf({
    'README.md': '# A page\n[a](docs/a.md) [b](docs/a.md#two-words) [c](#a-page) [d](https://x.y)',
    'docs/a.md': '# One\n[back](../README.md) `[code](no.md)`',
  })

  deepEqual(text.links(tree), ['README.md:2: dead link to docs/a.md#two-words'])
  deepEqual(text.links(treeOf({ 'a.md': '[x](b.md)' })), ['a.md:1: dead link to b.md'])
})

test('files and commands that the docs name exist', () => {
  deepEqual(text.namedFiles(repository()), [])
  deepEqual(text.namedScripts(repository()), [])
})

test('a file and a command that do not exist are found', () => {
  const tree = treeOf({
    'package.json': '{"scripts":{"test":"x"}}',
    'a.md': 'npm test\n`src/lib/a.ts`, `src/lib`\nnpm run build\n`src/lib/b.ts`\nnpm start',
    'src/lib/a.ts': '',
  })

  deepEqual(text.namedFiles(tree), ['a.md:4: there is no src/lib/b.ts'])
  deepEqual(text.namedScripts(tree), [
    'a.md:3: there is no npm run build',
    'a.md:5: there is no npm start',
  ])
})

test('nothing is left for later and no path of one machine is written down', () => {
  deepEqual(text.leftovers(repository()), [])
})

test('a note for later and a path of a machine are found', () => {
  const tree = treeOf({ 'a.ts': `\n// ${'TO'}DO: later`, 'b.md': `see /${'home'}/me` })

  deepEqual(text.leftovers(tree), [`a.ts:2: ${'TO'}DO`, `b.md:1: /${'home'}/`])
})

test('the lock file names no registry and nothing of ours runs at installation', () => {
  deepEqual(text.packageIsPlain(repository()), [])
})

test('an address in the lock file and an install script are found', () => {
  const tree = treeOf({
    'package-lock.json': '{"resolved": "https://registry/x.tgz"}',
    'package.json': '{"scripts":{"postinstall":"x"}}',
  })

  deepEqual(text.packageIsPlain(tree), [
    'package-lock.json: names a registry',
    'package.json: runs postinstall at installation',
  ])
})

test('the lock file knows the packages of all platforms', () => {
  deepEqual(text.lockIsWhole(repository()), [])
})

test('a package of another platform that the lock file leaves out is found', () => {
  const packages = {
    'node_modules/a': { optionalDependencies: { 'a-linux': '1', 'a-darwin': '1' } },
    'node_modules/a-linux': {},
  }
  const tree = treeOf({ 'package-lock.json': JSON.stringify({ packages }) })

  deepEqual(text.lockIsWhole(tree), [
    'package-lock.json: node_modules/a may need a-darwin, which is not there',
  ])
})

test('what package.json points at exists', () => {
  deepEqual(text.packageFiles(repository()), [])
})

test('an export without a source is found', () => {
  const tree = treeOf({
    'package.json': '{"exports":{".":{"types":"./dist/src/a.d.ts","default":"./dist/src/b.js"}}}',
    'src/a.ts': '',
  })

  deepEqual(text.packageFiles(tree), ['package.json: there is no src/b.ts'])
})

test('every dependency has its reason in ARCHITECTURE.md', () => {
  deepEqual(text.dependenciesHaveReasons(repository()), [])
})

test('a dependency without a reason is found', () => {
  const tree = treeOf({
    'package.json': '{"dependencies":{"a":"1","b":"1"}}',
    'ARCHITECTURE.md': '`a`: because',
  })

  deepEqual(text.dependenciesHaveReasons(tree), ['ARCHITECTURE.md: no reason for b'])
})
