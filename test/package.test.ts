import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Modules that leave out what keeps threads apart, or stop them: for this repository's tests. */
const TWINS = ['lib/broken', 'atomics/fault']
const IMPORT = /^(?:import|export)\b[^'"]*from '(\.[^']+)'|\bimport\('(\.[^']+)'\)/gm

const PROGRAM = `
  import { Machine } from 'hotplug'
  const machine = await Machine.boot({ memory: '4MiB', maxMemory: '4MiB', blockSize: '4MiB' })
  console.log(machine.map('m', { codec: 'utf8' }).set('key', 'value').get('key'))
  await machine.shutdown()
`

let listed: readonly string[] | undefined

/** What a user of the package gets. */
function packed(): readonly string[] {
  listed ??= pack()
  return listed
}

function pack(): string[] {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts']
  const env = { ...process.env, npm_config_update_notifier: 'false' }
  const { stdout, stderr, status } = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8', env })
  equal(status, 0, stderr)
  const [report] = JSON.parse(stdout) as [{ files: { path: string }[] }]
  return report.files.map(({ path }) => path)
}

/** A project that has the package as it is packed. */
function project(t: TestContext): (...args: string[]) => ReturnType<typeof spawnSync> {
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-package-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  for (const path of packed()) {
    cpSync(join(ROOT, path), join(folder, 'node_modules/hotplug', path), { recursive: true })
  }
  for (const name of ['acorn', 'koffi']) {
    const from = join(ROOT, 'node_modules', name)
    if (existsSync(from)) symlinkSync(from, join(folder, 'node_modules', name))
  }
  writeFileSync(join(folder, 'main.mjs'), PROGRAM)
  const options = { cwd: folder, encoding: 'utf8' } as const
  return (...args) => spawnSync(process.execPath, args, options)
}

test('what is published has no twin that switches protections off, and no test', () => {
  for (const twin of TWINS) {
    ok(existsSync(`${ROOT}dist/src/${twin}.js`), `${twin} is not built`)
    deepEqual(
      packed().filter(path => path.includes(twin)),
      [],
    )
  }
  deepEqual(
    packed().filter(path => /\.(test|check)\./.test(path)),
    [],
  )
})

test('what is published has every module that it loads', () => {
  const files = new Set(packed())
  const modules = packed().filter(path => path.endsWith('.js'))

  const missing = modules.flatMap(path => {
    const found = [...readFileSync(ROOT + path, 'utf8').matchAll(IMPORT)]
    const targets = found.map(([, from, dynamic]) =>
      posix.join(posix.dirname(path), from ?? dynamic!),
    )
    return targets.filter(target => !files.has(target)).map(target => `${path}: ${target}`)
  })

  ok(modules.length > 50)
  deepEqual(missing, [])
})

test('the published package runs, and with a test condition it does not begin to', t => {
  const run = project(t)

  const plain = run('main.mjs')
  equal(plain.stderr, '')
  equal(plain.stdout, 'value\n')

  for (const condition of ['broken', 'fault']) {
    const { status, stdout, stderr } = run(`--conditions=${condition}`, 'main.mjs')
    equal(status, 1)
    equal(stdout, '')
    match(String(stderr), /ERR_MODULE_NOT_FOUND/)
  }
})
