import { equal, match, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { rootOf } from './mutate/tree.ts'
import { hotplugCheck } from './stranger.test.fixture.ts'

const page = readFileSync(join(rootOf(import.meta.dirname), 'docs/checking.md'), 'utf8')

/** The page's blocks of code in a language. */
function blocks(language: string): string[] {
  return [...page.matchAll(/^```(\w+)\n(.*?)^```/gms)]
    .filter(([, of]) => of === language)
    .map(([, , text]) => text as string)
}

const [broken, check, fixed] = blocks('js') as [string, string, string]

test('the lock of docs/checking.md fails with the trace that the page shows', () => {
  const { status, stdout } = hotplugCheck({ 'lock.js': broken, 'lock.check.js': check })

  equal(status, 1)
  match(stdout, /lock: 2 threads +2 locker +[\d,]+ +[\d,]+ +\d+ +proved/)
  match(stdout, /lock: 3 threads +3 locker +[\d,]+ +[\d,]+ +\d+ +FAILS/)
  const [trace] = blocks('text') as [string]
  ok(stdout.includes(trace), `the page shows\n${trace}\nthe command said\n${stdout}`)
})

test('the repaired lock of docs/checking.md is proved', () => {
  const { status, stdout } = hotplugCheck({ 'lock.js': fixed, 'lock.check.js': check })

  equal(status, 0, stdout)
  equal(stdout.match(/proved/g)?.length, 2)
})
