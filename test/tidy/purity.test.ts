import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { atomicsOnlyInSeam, exceptionsAreNeeded, pureOutsideArch } from './purity.ts'
import { repository, treeOf } from './tree.ts'

test('only the seam and the checker say Atomics', () => {
  deepEqual(atomicsOnlyInSeam(repository()), [])
})

test('Atomics outside the seam is found, in comments it is not', () => {
  const tree = treeOf({
    'src/lib/a.ts': `// Atomics\nexport const load = Atomics.load`,
    'src/lib/b.ts': `const { add } = Atomics`,
    'src/lib/c.test.ts': `Atomics.notify(words, 0)`,
  })

  deepEqual(atomicsOnlyInSeam(tree), [
    `src/lib/a.ts:2: uses Atomics; the seam is '#atomics'`,
    `src/lib/b.ts:1: uses Atomics; the seam is '#atomics'`,
  ])
})

test('no clock, timer, random number or thread outside arch/', () => {
  deepEqual(pureOutsideArch(repository()), [])
})

test('a clock, a timer, a random number and a thread are found', () => {
  const tree = treeOf({
    'src/lib/a.ts': `const now = Date.now()\nsetTimeout(() => {}, Math.random())`,
    'src/mm/b.ts': `import { Worker } from 'node:worker_threads'`,
    'src/arch/c.ts': `import { Worker } from 'node:worker_threads'`,
    'src/lib/d.ts': `export const x = { Date: 1, ...y.performance }`,
  })

  deepEqual(pureOutsideArch(tree), [
    'src/lib/a.ts:1: uses Date; that belongs to arch/',
    'src/lib/a.ts:2: uses setTimeout; that belongs to arch/',
    'src/lib/a.ts:2: uses Math.random; that belongs to arch/',
    'src/mm/b.ts:1: uses node:worker_threads; that belongs to arch/',
  ])
})

test('every exception to these rules is still needed', () => {
  deepEqual(exceptionsAreNeeded(repository()), [])
  deepEqual(exceptionsAreNeeded(treeOf({ 'src/atomics/native.ts': 'setInterval(f, 1)' })), [
    'src/atomics/native.ts: may use clearInterval, but does not',
    'src/locking.ts: may use node:worker_threads, but does not',
    'src/locking/acquire.ts: may use AbortSignal.timeout, but does not',
  ])
})
