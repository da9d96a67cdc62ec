/*
 * Several check files at once: as many processes as there are cores, each given the next file when
 * it is done with one, the largest first. What each prints of a file appears when it is done with
 * it, so that tables stay whole.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Answer, lost, type Order } from './answer.ts'
import { type BatchOptions, summary, type Tally } from './batch.ts'

const LANE = fileURLToPath(new URL('./lane.js', import.meta.url))

/** How many at a time, and how. */
export interface ParallelOptions extends BatchOptions {
  readonly jobs: number
}

/**
 * Checks files in processes of their own.
 *
 * @param execArgv What node is given.
 * @returns The exit status: 0 if all is as it must be.
 */
export async function checkInParallel(
  files: readonly string[],
  execArgv: readonly string[],
  { jobs, workers, identity }: ParallelOptions,
): Promise<number> {
  const started = performance.now()
  const waiting = files.toSorted((a, b) => statSync(b).size - statSync(a).size)
  const nrLanes = Math.min(jobs, files.length)
  const tallies: Tally[] = []
  const work = async (): Promise<void> => {
    let lane: Lane | null = null
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      lane ??= new Lane(execArgv)
      const { text, tally } = await lane.ask({ file, options: { workers, identity } })
      process.stdout.write(`${relative('.', file)}\n${text}\n\n`)
      tallies.push(tally)
      if (!lane.isAlive) lane = null
    }
    lane?.end()
  }
  await Promise.all(Array.from({ length: nrLanes }, work))
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((n, one) => n + of(one), 0)
  const [models, failed, states] = [sum(t => t.models), sum(t => t.failed), sum(t => t.states)]
  const all = summary({ models, failed, states, ms: performance.now() - started })
  process.stdout.write(`${all}; ${files.length} files, ${nrLanes} at a time\n`)
  return failed === 0 ? 0 : 1
}

/** A process that checks one file after the other. */
class Lane {
  private readonly child: ChildProcess
  private readonly ended: Promise<Answer>

  constructor(execArgv: readonly string[]) {
    this.child = fork(LANE, { execArgv: [...execArgv] })
    this.ended = once(this.child, 'exit').then(([code, signal]) => {
      return lost(`the process ended before it was done (${signal ?? `exit status ${code}`})`)
    })
  }

  get isAlive(): boolean {
    return this.child.connected
  }

  /** If the process ends over it, the answer says so. */
  async ask(order: Order): Promise<Answer> {
    const answered = once(this.child, 'message').then(([answer]) => answer as Answer)
    this.child.send(order)
    return await Promise.race([answered, this.ended])
  }

  end(): void {
    this.child.disconnect()
  }
}
