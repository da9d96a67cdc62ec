import { deepEqual, equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { hotplugCheck, runNode, type Said } from './stranger.test.fixture.ts'

/** One thread with the given body, its words `m`; `above` stands at the top of the file. */
function checkBody(body: string, { above = '', ...more } = {}): Said {
  const options = Object.entries(more).map(([key, value]) => `${key}: ${value},`)
  const text = `import { model } from 'hotplug/check'
${above}
export const one = model({
  name: 'one',
  shared: t => ({ m: t.int32({ A: 0, B: 1 }, { bits: 8 }) }),
  ${options.join('\n')}
  threads: [{ name: 'one', body({ m, cs, id }) {
${body}
  } }],
})
`
  return hotplugCheck({ 'one.check.js': text })
}

function refuses({ status, stdout, stderr }: Said, message: RegExp): void {
  equal(status, 1, stdout + stderr)
  match(stdout + stderr, message)
}

const PLACE = /one\.check\.js:\d+/

test('a body without fault is proved', () => {
  const { status, stdout } = checkBody('Atomics.add(m, 0, 1)')

  equal(status, 0)
  match(stdout, /proved/)
})

test('a body that indexes shared memory is refused with its line', () => {
  refuses(checkBody('m[0] = 1'), /one\.check\.js:8/)
  refuses(checkBody('if (m[0] === 0) Atomics.store(m, 0, 1)'), /one\.check\.js:8/)
})

test('a body that makes its own view of shared memory is refused with its line', () => {
  refuses(checkBody('Atomics.load(new Int32Array(m.buffer), 0)'), /one\.check\.js:8/)
})

test('shared memory that the model does not declare is refused', () => {
  const above = 'const other = new Int32Array(new SharedArrayBuffer(4))'

  refuses(checkBody('Atomics.load(other, 0)', { above }), PLACE)
})

test('Atomics that were taken apart when the file was loaded are followed', () => {
  const body = 'if (compareExchange(m, 0, 0, 1) === 1) throw new Error("twice")'
  const above = 'const { compareExchange } = Atomics'
  const said = checkBody(`${body}\n${body}`, { above })

  refuses(said, /exception: .*twice.*2 steps/)
})

test('a body that never ends is refused', () => {
  refuses(checkBody('for (;;) cs("x")'), PLACE)
})

test('a body that is not deterministic is refused', () => {
  refuses(checkBody('Atomics.store(m, 0, Math.floor(Math.random() * 9))'), /Math\.random/)
  refuses(checkBody('Atomics.store(m, 0, Date.now() & 255)'), /Date/)
  refuses(checkBody('Atomics.store(m, 0, count++ & 127)', { above: 'let count = 0' }), PLACE)
})

test('a word that outgrows its declared width is found, with the schedule', () => {
  const { status, stdout } = checkBody('Atomics.store(m, 0, 255)\nAtomics.add(m, 0, 1)')

  equal(status, 1)
  match(stdout, /overflow: A is 256, and holds 0 to 255: shortest schedule, 2 steps; replay: 00/)
})

test('a model without threads is refused', () => {
  const text = `import { model } from 'hotplug/check'
    export const none = model({ name: 'none', shared: t => ({ m: t.int32(1) }), threads: [] })`
  const { status, stderr } = hotplugCheck({ 'none.check.js': text })

  equal(status, 1)
  match(stderr, /model none: it has no threads \(EINVAL\)/)
})

test('an exception in a body is found, with what was thrown', () => {
  const { status, stdout } = checkBody('Atomics.add(m, 0, 1)\nthrow new Error("broken")')

  equal(status, 1)
  match(stdout, /exception: .*broken.*replay: 0\n/)
})

test('a schedule that does not fit is refused', () => {
  const text = `import { model } from 'hotplug/check'
    export const one = model({
      name: 'one',
      shared: t => ({ m: t.int32(1) }),
      threads: [{ name: 'one', body({ m }) { Atomics.load(m, 0) } }],
    })`
  const replay = (schedule: string): string =>
    hotplugCheck({ 'one.check.js': text }, '--replay', schedule).stderr

  match(replay('1'), /there is no thread 1, the model has 1 \(EINVAL\)/)
  match(replay('00'), /replay step 2, .*: one has ended \(EINVAL\)/)
  match(replay('0!'), /one cannot do that here \(EINVAL\)/)
  match(replay('?'), /'\?' is no thread/)
})

test('a file, a folder and a name that are not there are said', () => {
  const text = `import { model } from 'hotplug/check'
    export const one = model({
      name: 'the one',
      shared: t => ({ m: t.int32(1) }),
      threads: [{ name: 'one', body({ m }) { Atomics.load(m, 0) } }],
    })`
  const files = { 'one.check.js': text }

  match(hotplugCheck(files, 'two.check.js').stderr, /check two.check.js: there is no such file/)
  match(hotplugCheck(files, '--only', 'two').stderr, /no model is called so:\n {2}the one/)
  match(hotplugCheck({}).stderr, /no file exports a model/)
  deepEqual(hotplugCheck(files, '--only', 'the').status, 0)
})

test('the command starts itself with the conditions that it needs', () => {
  const text = `import { model } from 'hotplug/check'
    export const one = model({
      name: 'one',
      shared: t => ({ m: t.int32(1) }),
      threads: [{ name: 'one', count: 2, body({ m }) { Atomics.add(m, 0, 1) } }],
    })`
  const cli = 'node_modules/hotplug/dist/src/check/cli.js'
  const { status, stdout } = runNode({ 'one.check.js': text }, cli)

  equal(status, 0)
  match(stdout, /1 model, all as they must be/)
  match(runNode({}, cli, '--help').stdout, /Exit status/)
  match(runNode({}, cli, '--nonsense').stderr, /Unknown option '--nonsense'/)
})

test('two models of a file with one name are refused', () => {
  const text = `import { model } from 'hotplug/check'
    const one = body => model({
      name: 'one',
      shared: t => ({ m: t.int32(1) }),
      threads: [{ name: 'one', body }],
    })
    export const both = [one(({ m }) => Atomics.load(m, 0)), one(({ m }) => Atomics.add(m, 0, 1))]`

  match(hotplugCheck({ 'one.check.js': text }).stderr, /two models are called 'one' \(EEXIST\)/)
})
