import { equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { CLI, runNode, type Said } from './stranger.test.fixture.ts'

/** A check file with one model: a counter that two threads count up, in one step or in two. */
function counter(name: string, count: string): string {
  return `import { model } from 'hotplug/check'
    export const one = model({
      name: '${name}',
      shared: t => ({ m: t.int32({ COUNT: 0 }) }),
      threads: [{ name: 'counter', count: 2, body: ({ m }) => { ${count} } }],
      atEnd: s => s.m.COUNT === 2,
    })`
}

const RIGHT = 'Atomics.add(m, 0, 1)'
const WRONG = 'Atomics.store(m, 0, Atomics.load(m, 0) + 1)'

function check(files: Readonly<Record<string, string>>): Said {
  return runNode(files, CLI, '--jobs', '2')
}

test('files are checked in several processes, and added up', () => {
  const files = Object.fromEntries(
    ['a', 'b', 'c', 'd', 'e'].map(name => [`${name}.check.js`, counter(name, RIGHT)]),
  )

  const { status, stdout } = check(files)

  equal(status, 0)
  for (const name of Object.keys(files)) match(stdout, new RegExp(`^${name}\nmodel `, 'm'))
  equal(stdout.match(/2 counter .* proved$/gm)?.length, 5)
  match(stdout, /^5 models, all as they must be: \d+ states in [\d,]+ ms; 5 files, 2 at a time$/m)
})

test('a file that fails, is no module, has no model or ends its process fails alone', () => {
  const { status, stdout } = check({
    'right.check.js': counter('right', RIGHT),
    'wrong.check.js': counter('wrong', WRONG),
    'broken.check.js': 'export const x = (',
    'none.check.js': 'export const models = []',
    'ends.check.js': 'process.exit(3)',
    'also-right.check.js': counter('also right', RIGHT),
  })

  equal(status, 1)
  equal(stdout.match(/2 counter .* proved$/gm)?.length, 2)
  match(stdout, /^wrong +2 counter .* FAILS\n\natEnd: .*shortest schedule, 4 steps/m)
  match(stdout, /^broken\.check\.js\nSyntaxError: /m)
  match(stdout, /^none\.check\.js\nHotplugError: check .*none\.check\.js: it has no models/m)
  match(stdout, /^ends\.check\.js\nthe process ended before it was done \(exit status 3\)$/m)
  match(stdout, /^3 models, 1 not as they must be: .*\n3 files could not be checked$/m)
})

test('a process that ends after it has answered is told of, and costs no other file its check', () => {
  const late = `${counter('late', RIGHT)}; setTimeout(() => { throw new Error('late') }, 0)`
  const others = ['b', 'c', 'd'].map(name => [`${name}.check.js`, counter(name, RIGHT)])

  const { status, stdout, stderr } = check({ 'a.check.js': late, ...Object.fromEntries(others) })

  equal(status, 1)
  match(stderr, /Error: late/)
  match(stdout, /^a\.check\.js\nthe process that checked it, or others before, ended/m)
  equal(stdout.match(/2 counter .* proved$/gm)?.length, 4)
})
