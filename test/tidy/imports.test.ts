import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { importDirection, importedPackages, importsExist, noCycles } from './imports.ts'
import { repository, treeOf } from './tree.ts'

test('folders import only folders that stand before them', () => {
  deepEqual(importDirection(repository()), [])
})

test('an import upwards, and one of the checker, are found', () => {
  const tree = treeOf({
    'src/lib/a.ts': `import { load } from '#atomics'`,
    'src/locking/b.ts': `import type { X } from '../check/model.ts'`,
    'src/locking/b.check.ts': `import { model } from '../check/model.ts'`,
    'src/locking/b.test.ts': `import { model } from '../check/model.ts'`,
    'src/check/c.ts': `export { x } from '../locking/b.ts'`,
    'src/new/d.ts': '',
  })

  deepEqual(importDirection(tree), [
    'src/lib/a.ts: lib imports atomics (src/atomics/native.ts)',
    'src/locking/b.ts: locking imports check (src/check/model.ts)',
    'src/check/c.ts: check imports locking (src/locking/b.ts)',
    'src/new/d.ts: no layer is known for it',
  ])
})

test('code that ships imports only the packages that have a reason', () => {
  deepEqual(importedPackages(repository()), [])
})

test('a package of the tests, and one in the wrong folder, are found in code that ships', () => {
  const tree = treeOf({
    'src/lib/a.ts': `import fc from 'fast-check'`,
    'src/locking/b.ts': `import koffi from 'koffi'`,
    'src/arch/c.ts': `import koffi from 'koffi'\nimport fs from 'node:fs'`,
  })

  deepEqual(importedPackages(tree), [
    'src/lib/a.ts: imports fast-check',
    'src/locking/b.ts: imports koffi',
  ])
})

test('every import names a file that exists', () => {
  deepEqual(importsExist(repository()), [])
})

test('an import of what is not there is found', () => {
  deepEqual(importsExist(treeOf({ 'src/lib/a.ts': `import './b.ts'` })), [
    'src/lib/a.ts: imports src/lib/b.ts, which does not exist',
  ])
})

test('no module loads itself by way of others', () => {
  deepEqual(noCycles(repository()), [])
})

test('a cycle of three is found once, one of types is none', () => {
  const tree = treeOf({
    'src/lib/a.ts': `import './b.ts'`,
    'src/lib/b.ts': `import './c.ts'`,
    'src/lib/c.ts': `export * from './a.ts'`,
    'src/lib/d.ts': `import { type E, e } from './e.ts'`,
    'src/lib/e.ts': `import type { D } from './d.ts'\nexport type { F } from './d.ts'`,
  })

  deepEqual(noCycles(tree), ['src/lib/a.ts -> src/lib/b.ts -> src/lib/c.ts -> src/lib/a.ts'])
})
