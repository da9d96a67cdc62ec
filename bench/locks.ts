/*
 * What a lock costs beside those of C and of other libraries.
 *
 * Every lock is measured in a process of its own, by threads of that process; rounds of all of
 * them alternate, so that a disturbance of the machine hits all alike, and medians are compared
 * within one run. The figure is wall time divided by all pairs of all threads.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median } from './median.ts'
import { SUBJECTS } from './subjects.ts'

const ROUND_NS = 50e6
const WARM_UP_ROUNDS = 4
const THREADS = [1, 2]
const C_SOURCE = fileURLToPath(new URL('../../bench/c/locks.c', import.meta.url))
const SUBJECT = fileURLToPath(new URL('./subject.js', import.meta.url))

/** Nanoseconds that a pair took, per lock and number of threads. */
export interface LockFigure {
  readonly name: string
  readonly nrThreads: number
  readonly ns: number
}

/** Something that takes and releases a lock as often as told. */
interface Runner {
  readonly name: string
  readonly nrThreads: number
  /** @returns Nanoseconds from the first thread's beginning to the last one's end. */
  run(nrPairs: number): Promise<number>
  stop(): void
}

/** Measures every lock. @param nrRounds Of which the median is taken. */
export async function measureLocks(nrRounds: number): Promise<LockFigure[]> {
  const c = compileC()
  const runners = [...(c?.runners ?? []), ...(await startSubjects())]
  try {
    const figures = []
    const lengths = []
    for (const runner of runners) lengths.push(await warmUp(runner))
    const rounds: number[][] = runners.map(() => [])
    for (let i = 0; i < nrRounds; i++) {
      for (const [r, runner] of runners.entries()) {
        const nrPairs = lengths[r]!
        rounds[r]!.push((await runner.run(nrPairs)) / nrPairs / runner.nrThreads)
      }
    }
    for (const [r, { name, nrThreads }] of runners.entries()) {
      figures.push({ name, nrThreads, ns: median(rounds[r]!) })
    }
    return figures
  } finally {
    for (const runner of runners) runner.stop()
    if (c !== null) rmSync(c.folder, { recursive: true })
  }
}

/** Runs ever longer rounds until one is long enough; gives the compiler time as well. */
async function warmUp(runner: Runner): Promise<number> {
  let nrPairs = 1000
  for (let nrLong = 0; nrLong < WARM_UP_ROUNDS; ) {
    const ns = await runner.run(nrPairs)
    if (ns >= ROUND_NS / 2) nrLong++
    nrPairs = Math.ceil(nrPairs * Math.min(8, Math.max(0.5, ROUND_NS / ns)))
  }
  return nrPairs
}

function compileC(): { folder: string; runners: Runner[] } | null {
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-bench-'))
  const program = join(folder, 'locks')
  try {
    execFileSync('cc', ['-O2', '-pthread', '-o', program, C_SOURCE])
  } catch {
    rmSync(folder, { recursive: true })
    return null
  }
  const runners = ['rwlock', 'mutex'].flatMap(kind =>
    THREADS.map(nrThreads => ({
      name: `pthread_${kind}`,
      nrThreads,
      run: async (nrPairs: number) =>
        Number(execFileSync(program, [kind, String(nrThreads), String(nrPairs)], ENCODING)),
      stop: () => {},
    })),
  )
  return { folder, runners }
}

const ENCODING = { encoding: 'utf8' } as const

async function startSubjects(): Promise<Runner[]> {
  const runners: Runner[] = []
  for (const [name, subject] of Object.entries(SUBJECTS)) {
    if (subject.isThere?.() === false) continue
    for (const nrThreads of subject.isLocal ? [1] : THREADS) {
      const child = fork(SUBJECT, [name, String(nrThreads)], {
        execArgv: [...(subject.flags ?? [])],
      })
      await answer(child)
      runners.push(subjectRunner(name, nrThreads, child))
    }
  }
  return runners
}

function subjectRunner(name: string, nrThreads: number, child: ChildProcess): Runner {
  const run = async (nrPairs: number): Promise<number> => {
    child.send(nrPairs)
    return (await answer(child)) as number
  }
  return { name, nrThreads, run, stop: () => child.disconnect() }
}

async function answer(child: ChildProcess): Promise<unknown> {
  const gone = new AbortController()
  const died = (): void => gone.abort(new Error(`${child.spawnargs.slice(-2).join(' ')} died`))
  child.once('exit', died)
  try {
    return (await once(child, 'message', { signal: gone.signal }))[0]
  } catch {
    throw gone.signal.reason
  } finally {
    child.off('exit', died)
  }
}
