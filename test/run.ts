/*
 * Runs the tests of the tree, compiled, on the node that runs this file: once with the machine's
 * own arch and once with the portable one, lockdep on in both.
 *
 *     node dist/test/run.js [part of a path]... [--option for node --test]...
 *
 * Only tests whose source exists are run, so that what an older build left in dist/ is not. What
 * is printed last is the test runner's summary of the last run. HOTPLUG_ARCH=x runs just that one.
 *
 * Sweeps of kill.ts that do not kill at each operation begin where HOTPLUG_SWEEP says: by how many
 * commits there are, if it is not set, so that each commit is killed where the one before was not.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const FOLDERS = ['src', 'test', 'bench', 'demo']

process.exitCode = main(process.argv.slice(2))

function main(args: readonly string[]): number {
  const options = args.filter(arg => arg.startsWith('-'))
  const parts = args.filter(arg => !arg.startsWith('-'))
  const tests = FOLDERS.flatMap(testsIn).filter(
    path => parts.length === 0 || parts.some(part => path.includes(part)),
  )
  if (tests.length === 0) {
    console.error(`no test has ${parts.join(' or ')} in its path`)
    return 1
  }
  const sweep = process.env.HOTPLUG_SWEEP ?? nrCommits()
  const arches = process.env.HOTPLUG_ARCH ? [process.env.HOTPLUG_ARCH] : ['auto', 'portable']
  const failed = arches.filter(arch => !run([arch, sweep], tests, options))
  return failed.length === 0 ? 0 : 1
}

/** How many commits led here; '0' where there is no repository. */
function nrCommits(): string {
  const git = spawnSync('git', ['rev-list', '--count', 'HEAD'], { cwd: ROOT, encoding: 'utf8' })
  return git.status === 0 ? git.stdout.trim() : '0'
}

/** Compiled tests whose source is under `folder`, relative to the root. */
function testsIn(folder: string): string[] {
  if (!existsSync(ROOT + folder)) return []
  return readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.test.ts'))
    .map(path => `dist/${folder}/${path.replace(/\.ts$/, '.js')}`)
    .sort()
}

function run(
  [arch, sweep]: readonly [string, string],
  tests: readonly string[],
  options: readonly string[],
): boolean {
  const node = `Node ${process.version.slice(1)}`
  const set = `HOTPLUG_ARCH=${arch} HOTPLUG_SWEEP=${sweep}`
  console.log(`\n${tests.length} test files, ${node}, ${set}`)
  const flags = [
    '--test',
    '--enable-source-maps',
    '--test-reporter=spec',
    `--test-concurrency=${availableParallelism()}`,
  ]
  const child = spawnSync(process.execPath, [...flags, ...options, ...tests], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, HOTPLUG_ARCH: arch, HOTPLUG_LOCKDEP: '1', HOTPLUG_SWEEP: sweep },
  })
  return child.status === 0
}
