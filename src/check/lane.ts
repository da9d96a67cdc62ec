/*
 * A process that checks one file after the other, as who asks it sees it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Request, Response } from './lane-protocol.ts'

const MAIN = fileURLToPath(new URL('./lane-main.js', import.meta.url))

/** The process. */
export class Lane {
  private readonly child: ChildProcess
  private readonly ended: Promise<Response>

  /** @param execArgv What node is given. */
  constructor(execArgv: readonly string[]) {
    this.child = fork(MAIN, { execArgv: [...execArgv] })
    this.ended = once(this.child, 'exit').then(([code, signal]) => {
      const how = signal ?? `exit status ${code}`
      return { text: `the process ended before it was done (${how})`, tally: null }
    })
  }

  get isAlive(): boolean {
    return this.child.connected
  }

  /** If the process ends over it, the response says so. */
  async ask(request: Request): Promise<Response> {
    const answered = once(this.child, 'message').then(([response]) => response as Response)
    this.child.send(request)
    return await Promise.race([answered, this.ended])
  }

  end(): void {
    if (this.isAlive) this.child.disconnect()
  }
}
