/*
 * Several check files at once: as many processes as there are cores, each given the next file when
 * it is done with one, the largest first. The table of a file appears when its process is done with
 * it, so that tables stay whole.
 */
import { statSync } from 'node:fs'
import { relative } from 'node:path'
import type { BatchOptions } from './batch.ts'
import { Lane } from './lane.ts'
import { summary, type Tally, total } from './tally.ts'

/** How many at a time, and how. */
export interface ParallelOptions extends BatchOptions {
  readonly jobs: number
}

/**
 * Checks files in several processes.
 *
 * @param execArgv What node is given so that a process can check.
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
  let nrBroken = 0
  const print = (file: string, text: string): void => {
    process.stdout.write(`${relative('.', file)}\n${text}\n\n`)
  }
  /** Also a process that ends by itself, after it has answered, is not as it must be. */
  const end = async (lane: Lane): Promise<void> => {
    const how = await lane.end()
    if (how === null || lane.files.length === 0) return
    nrBroken++
    print(lane.files.at(-1)!, `the process that checked it, or others before, ended (${how})`)
  }
  const work = async (): Promise<void> => {
    let lane = new Lane(execArgv)
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const request = { file, options: { workers, identity } }
      let response = await lane.ask(request)
      if (lane.isOver) {
        const isNew = lane.files.length === 0
        await end(lane)
        lane = new Lane(execArgv)
        if (!isNew) response = await lane.ask(request) // it may not have been this file's doing
      }
      print(file, response.text)
      if (response.tally !== null) tallies.push(response.tally)
    }
    await end(lane)
  }
  await Promise.all(Array.from({ length: nrLanes }, work))
  const all = { ...total(tallies), ms: performance.now() - started }
  process.stdout.write(`${summary(all)}; ${files.length} files, ${nrLanes} at a time\n`)
  const nrUnchecked = files.length - tallies.length
  if (nrUnchecked > 0) process.stdout.write(`${nrUnchecked} files could not be checked\n`)
  return all.failed + nrUnchecked + nrBroken === 0 ? 0 : 1
}
