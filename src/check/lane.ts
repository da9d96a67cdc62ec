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
  /** Whether it has ended. */
  isOver = false
  /** The files that it has answered for. */
  readonly files: string[] = []
  private readonly child: ChildProcess
  /** How it ended. */
  private readonly ended: Promise<string>

  /** @param execArgv What node is given. */
  constructor(execArgv: readonly string[]) {
    this.child = fork(MAIN, { execArgv: [...execArgv] })
    this.child.on('error', () => {}) // what could not be sent is lost with the process
    this.ended = once(this.child, 'exit').then(
      ([code, signal]) => this.over(signal ?? `exit status ${code}`),
      (error: Error) => this.over(error.message),
    )
  }

  /** If the process ends over it, the response says so. */
  async ask(request: Request): Promise<Response> {
    const answered = once(this.child, 'message').then(([response]) => response as Response)
    this.child.send(request, () => {})
    const lost = this.ended.then((how): Response => {
      return { text: `the process ended before it was done (${how})`, tally: null }
    })
    const response = await Promise.race([answered, lost])
    if (!this.isOver) this.files.push(request.file)
    return response
  }

  /** Resolves when it has ended, with how if that is not as it should. */
  async end(): Promise<string | null> {
    if (this.child.connected) this.child.disconnect()
    const how = await this.ended
    return how === 'exit status 0' ? null : how
  }

  private over(how: string): string {
    this.isOver = true
    return how
  }
}
