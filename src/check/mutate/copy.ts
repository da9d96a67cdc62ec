/*
 * A copy of the compiled tree, to be broken in one place at a time and run in processes.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Ran, Task } from './one.ts'

/** What a process left: results, or why there are none. */
export type Left = readonly Ran[] | { readonly died: string } | 'late'

/** A copy of a package's compiled sources. */
export class Copy {
  private readonly folder: string

  constructor(root: string) {
    this.folder = mkdtempSync(join(tmpdir(), 'hotplug-mutate-'))
    cpSync(join(root, 'package.json'), join(this.folder, 'package.json'))
    cpSync(join(root, 'dist'), join(this.folder, 'dist'), {
      recursive: true,
      filter: path => !path.endsWith('.d.ts'),
    })
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
  }

  /** Replaces a file, by its path from the root. */
  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text)
  }

  /** Runs models in a process of their own, for `limitMs` at most. */
  run({ files, models }: Task, limitMs: number): Promise<Left> {
    const paths = files.map(file => join(this.folder, file))
    const register = join(this.folder, 'dist/src/check/register.js')
    const script = join(this.folder, 'dist/src/check/mutate/one.js')
    const task = JSON.stringify({ files: paths, models })
    const argv = ['--conditions=check', '--import', register, script, task]
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk))
    let late = false
    const timer = setTimeout(() => (late = child.kill('SIGKILL')), limitMs)
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', code => {
        clearTimeout(timer)
        if (late) resolve('late')
        else if (code === 0) resolve(JSON.parse(out) as Ran[])
        else resolve({ died: err.split('\n').find(line => /Error/.test(line)) ?? `exit ${code}` })
      })
    })
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
