import { equal, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { hotplugCheck, runNode } from '../src/check/stranger.test.fixture.ts'

function page(name: string): string {
  return readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
}

/** The page's blocks of code in a language. */
function blocks(name: string, language: string): string[] {
  return [...page(name).matchAll(/^```(\w+)\n(.*?)^```/gms)]
    .filter(([, of]) => of === language)
    .map(([, , text]) => text!)
}

test('the example of the README fails with the schedule that it shows', () => {
  const [example] = blocks('README.md', 'js') as [string]
  const [trace] = blocks('README.md', 'text') as [string]

  const { status, stdout } = hotplugCheck({ 'count.check.js': example })

  equal(status, 1)
  ok(stdout.includes(trace), stdout)
})

test('the README fits on one screen and a half', () => {
  ok(page('README.md').split('\n').length <= 70)
})

test('the example of docs/locking.md prints what the page says', () => {
  const [main, worker] = blocks('docs/locking.md', 'js') as [string, string]
  const [said] = blocks('docs/locking.md', 'text') as [string]

  const { status, stdout, stderr } = runNode({ 'main.js': main, 'worker.js': worker }, 'main.js')

  equal(stderr, '')
  equal(stdout, said)
  equal(status, 0)
})
