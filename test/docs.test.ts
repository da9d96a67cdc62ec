import { equal, match, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { runNode, runTypeScript } from '../src/check/stranger.test.fixture.ts'

function page(name: string): string {
  return readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
}

/** The page's blocks of code in a language. */
function blocks(name: string, language: string): string[] {
  return [...page(name).matchAll(/^```(\w+)\n(.*?)^```/gms)]
    .filter(([, of]) => of === language)
    .map(([, , text]) => text!)
}

const RETURNED = /^(\d+) bytes went back to the operating system\n$/

test('the example of the README runs as it stands, and memory goes back', () => {
  const [main, reader] = blocks('README.md', 'ts') as [string, string]

  const { status, stdout, stderr } = runTypeScript({ 'main.ts': main, 'reader.ts': reader })

  equal(stderr, '')
  match(stdout, RETURNED)
  equal(status, 0)
  if (process.env.HOTPLUG_ARCH === 'portable') return
  ok(Number(RETURNED.exec(stdout)![1]) > 100 * 2 ** 20, stdout)
})

test('the example of docs/memory.md runs as it stands', () => {
  const [main, reader] = blocks('docs/memory.md', 'js') as [string, string]

  const { status, stdout, stderr } = runNode({ 'main.js': main, 'reader.js': reader }, 'main.js')

  equal(stderr, '')
  match(stdout, RETURNED)
  equal(status, 0)
})

test('the README fits on one screen and a half', () => {
  ok(page('README.md').split('\n').length <= 75)
})

test('the example of docs/locking.md prints what the page says', () => {
  const [main, worker] = blocks('docs/locking.md', 'js') as [string, string]
  const [said] = blocks('docs/locking.md', 'text') as [string]

  const { status, stdout, stderr } = runNode({ 'main.js': main, 'worker.js': worker }, 'main.js')

  equal(stderr, '')
  equal(stdout, said)
  equal(status, 0)
})
