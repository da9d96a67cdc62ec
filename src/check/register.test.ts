import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const folder = mkdtempSync(join(tmpdir(), 'hotplug-register-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const LEARN = new URL('./learn/automaton.js', import.meta.url).href
const REGISTER = new URL('./register.js', import.meta.url).href
const MUTEX = new URL('../locking/mutex.js', import.meta.url).href
const SLOTS = new URL('../locking/slots.js', import.meta.url).href

/** Prints the places of the first node of a body that a file exports. */
const MAIN = `
import { learn } from '${LEARN}'
const { run } = await import(process.argv[2])
const view = (start, length) => ({ start, length })
const options = { initial: new Int32Array(64), views: [view(0, 2), view(2, 48)], bodies: [run], identity: 'frames' }
try {
  const automaton = learn(options)
  console.log(JSON.stringify(automaton.sites(0)))
} catch (error) { console.log(JSON.stringify(error.message)) }
`

/** What running node with the hook prints, from JSON. */
function runRegistered(file: string, main = MAIN): unknown {
  const script = join(folder, 'main.mjs')
  writeFileSync(script, main)
  const flags = ['--conditions=check', '--import', REGISTER]
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, script, file], {
    encoding: 'utf8',
    cwd: folder,
  })
  ok(stdout !== '', stderr)
  return JSON.parse(stdout)
}

function write(name: string, code: string): string {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, code)
  return path
}

test('a module that is loaded through the hook can be learned', () => {
  const file = write('body.mjs', 'export function run([m]) {\n  Atomics.load(m, 0)\n}\n')

  deepEqual(runRegistered(file), [{ file: 'body.mjs', line: 2, text: 'Atomics.load(m, 0)' }])
})

test("the project's own compiled modules are seen in the lines of their sources", () => {
  const code = `import { Mutex } from '${MUTEX}'
import { Slot, Slots } from '${SLOTS}'
export function run([m, s]) {
  new Mutex(new Slot(new Slots(s), 0, 0), m, 0).lock()
}
`

  const sites = runRegistered(write('lock.mjs', code)) as { file: string; line: number }[]

  const [first, last] = sites
  match(first?.file ?? '', /src\/locking\/mutex\.ts$/)
  const line = readFileSync(first?.file ?? '', 'utf8').split('\n')[(first?.line ?? 0) - 1]
  match(line ?? '', /compareExchange\(this\.words, this\.index, 0,/)
  deepEqual([last?.file, last?.line], ['lock.mjs', 4])
})

test('modules of other packages stay as they are', () => {
  write('node_modules/other/package.json', '{ "type": "module", "exports": "./index.js" }')
  write('node_modules/other/index.js', 'export function read(m) { return Atomics.load(m, 0) }')
  const file = write(
    'uses.mjs',
    "import { read } from 'other'\nexport const run = ([m]) => read(m)\n",
  )

  match(runRegistered(file) as string, /index\.js:1: an operation in code that was not loaded/)
})

test('a module that does not parse fails as it would without the hook', () => {
  const main = `try { await import(process.argv[2]) } catch (error) { console.log(JSON.stringify(error.name)) }`

  equal(runRegistered(write('broken.mjs', 'export const = 1'), main), 'SyntaxError')
})

test('threads load their modules through the hook too', () => {
  const main = `import { Worker } from 'node:worker_threads'
    const worker = new Worker(new URL('thread.mjs', import.meta.url), { argv: [process.argv[2]] })
    worker.on('error', error => console.log(JSON.stringify(error.message)))`
  write('thread.mjs', MAIN)

  const file = write('threaded.mjs', 'export function run([m]) { Atomics.load(m, 0) }\n')

  deepEqual(runRegistered(file, main), [
    { file: 'threaded.mjs', line: 1, text: 'Atomics.load(m, 0)' },
  ])
})

const { typescript } = process.features as { typescript?: unknown }

test('TypeScript that node runs itself is learned where node does so', () => {
  const code = `export function run([m]: Int32Array[]): void {
  const words: Int32Array =
    m as Int32Array
  Atomics.load(words, 0)
}
`

  const main = typescript ? MAIN : 'console.log("[]")'
  const sites = runRegistered(write('typed.ts', code), main)

  const site = { file: 'typed.ts', line: 4, text: 'Atomics.load(words, 0)' }
  deepEqual(sites, typescript ? [site] : [])
})

test('CommonJS is learned where its loading can be hooked', () => {
  const code = "'use strict'\nexports.run = function ([m]) {\n  Atomics.load(m, 0)\n}\n"

  const sites = runRegistered(write('common.cjs', code))

  const site = { file: 'common.cjs', line: 3, text: 'Atomics.load(m, 0)' }
  if ('registerHooks' in module) deepEqual(sites, [site])
  else match(sites as string, /common\.cjs:3: an operation in code that was not loaded/)
})
