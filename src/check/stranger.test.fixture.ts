/*
 * A stranger's project for tests: a folder of its own that depends on this package.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootOf } from './mutate/tree.ts'

const ROOT = rootOf(import.meta.dirname)
const FLAGS = ['--conditions=check', '--import', 'hotplug/check/register']
const LIMIT_MS = 60_000
/** The command, in a stranger's folder. */
export const CLI = 'node_modules/hotplug/dist/src/check/cli.js'
const TSCONFIG = JSON.stringify({
  compilerOptions: {
    ...{ target: 'ES2022', module: 'NodeNext', strict: true, types: ['node'] },
    lib: ['ES2024', 'ESNext.Disposable'],
  },
})

/** What the command said. */
export interface Said {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `hotplug-check` in a folder with the given files, without a detour over another process. */
export function hotplugCheck(files: Readonly<Record<string, string>>, ...args: string[]): Said {
  return runNode(files, ...FLAGS, CLI, ...args)
}

/** Compiles TypeScript as a stranger would, and runs `main.js` of it. */
export function runTypeScript(files: Readonly<Record<string, string>>): Said {
  return inFolder({ ...files, 'tsconfig.json': TSCONFIG }, run => {
    const compiled = run('node_modules/typescript/bin/tsc')
    return compiled.status === 0 ? run('main.js') : compiled
  })
}

/** Runs node in a folder with the given files. */
export function runNode(files: Readonly<Record<string, string>>, ...args: string[]): Said {
  return inFolder(files, run => run(...args))
}

function inFolder(
  files: Readonly<Record<string, string>>,
  body: (run: (...args: string[]) => Said) => Said,
): Said {
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-stranger-'))
  const env = { ...process.env, HOTPLUG_LOCKDEP: '' }
  const options = { cwd: folder, encoding: 'utf8', timeout: LIMIT_MS, env } as const
  try {
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(ROOT, join(folder, 'node_modules/hotplug'))
    for (const name of ['typescript', '@typescript', '@types', 'undici-types']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
    }
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    return body((...args) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, args, options)
      return { status, stdout, stderr }
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
