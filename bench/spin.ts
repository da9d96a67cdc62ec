/*
 * The same protocol in SPIN: bench/spin/NAME.pml, partial order reduction on. Building the
 * verifier is not counted.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MODELS = fileURLToPath(new URL('../../bench/spin/', import.meta.url))
const CC = ['-O3', '-DSAFETY', '-DNOBOUNDCHECK', '-DMEMLIM=16000', '-o', 'pan', 'pan.c']
/** Longest path, and 2^n slots of the hash table: enough for every model here. */
const PAN = ['-m10000', '-w26']

/** What SPIN's verifier did. */
export interface SpinFigure {
  readonly states: number
  readonly transitions: number
  readonly ms: number
}

/** A verifier, built. */
export class Spin {
  private readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Builds the verifier of `name`.pml; null where there is no spin or no compiler. */
  static build(name: string, defines: readonly string[]): Spin | null {
    const folder = mkdtempSync(join(tmpdir(), 'hotplug-spin-'))
    const options = { cwd: folder, stdio: 'pipe' } as const
    try {
      copyFileSync(`${MODELS}${name}.pml`, join(folder, 'model.pml'))
      execFileSync('spin', [...defines.map(define => `-D${define}`), '-a', 'model.pml'], options)
      execFileSync('cc', CC, options)
      return new Spin(folder)
    } catch {
      rmSync(folder, { recursive: true })
      return null
    }
  }

  /**
   * Verifies once.
   *
   * @throws {Error} the verifier found an error in the model, or did not finish.
   */
  run(): SpinFigure {
    const begin = performance.now()
    const text = execFileSync('./pan', PAN, { cwd: this.folder, encoding: 'utf8' })
    const ms = performance.now() - begin
    const errors = /errors: (\d+)/.exec(text)?.[1]
    if (errors !== '0' || /not complete/i.test(text)) throw new Error(`pan:\n${text}`)
    const figure = (what: RegExp): number => Number(what.exec(text)?.[1])
    return {
      states: figure(/([\d.e+]+) states, stored/),
      transitions: figure(/([\d.e+]+) transitions/),
      ms,
    }
  }

  /** Removes the verifier. */
  remove(): void {
    rmSync(this.folder, { recursive: true })
  }
}
