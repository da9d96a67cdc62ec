/*
 * A schedule on real threads: each thread of the model is a worker that imports the same check
 * file and runs the same body, with real Atomics on a real SharedArrayBuffer.
 *
 * Every operation waits for its turn: a control buffer holds the number of the step that is due.
 *
 *     STEP         the step that is due; whoever did it adds one
 *     WOKEN + i    what thread i is to wake with (1 + a `Woke`); 0: sleep on
 *     STATUS + i   what thread i is at
 *
 * A sleeper sleeps in a real `Atomics.wait` on the model's own word, and sleeps again if it was
 * woken out of turn; the notifier repeats its `Atomics.notify` until those have woken that the
 * schedule says. A death is a real `terminate()`. Where plain stores wait and what a plain load
 * finds is the hardware's choice, so schedules that choose it are refused.
 */
import { Worker } from 'node:worker_threads'
import { HotplugError } from '../lib/errors.ts'
import type { Description } from './describe.ts'
import { Kind, Move, type Step, Woke } from './program.ts'
import { type Played, playModel } from './run.ts'
import { formatSchedule } from './schedule.ts'
import { ASLEEP, Control, Status, type Turn, type WorkerInput } from './turns.ts'

const WATCHDOG_MS = 10_000
const POLL_MS = 100

const STATUS = ['running', 'before an operation', 'asleep', 'done', 'in an exception']

/** How a schedule ended on real threads. */
export interface Replayed {
  /** The shared words at the end, as in the model. */
  readonly words: Int32Array
  /** Names of the threads that were left asleep, and then terminated. */
  readonly asleep: readonly string[]
}

/**
 * Runs a schedule on real threads, step by step, and compares where it ends.
 *
 * @param file The module that exports the model.
 * @throws {HotplugError} `EINVAL`: it cannot be steered there, or went another way. `ETIMEDOUT`: a
 *   step did not happen.
 */
export async function replayOnWorkers(
  file: string,
  model: Description,
  steps: readonly Step[],
): Promise<Replayed> {
  const played = playModel(model, steps)
  const operation = `replay ${formatSchedule(steps)} on real threads`
  const turns = turnsOf(operation, played)
  const crew = new Crew(operation, model, played, turns)
  try {
    crew.start(file)
    for (let step = 0; step < turns.length; step++) await crew.until(step)
    return await crew.end()
  } finally {
    await crew.stop()
  }
}

const UNSTEERABLE: ReadonlySet<Move> = new Set([Move.Flush, Move.Stale, Move.Early])

/** Whether a schedule leaves nothing to the hardware; it has no plain stores then. */
export function isSteerable(steps: readonly Step[]): boolean {
  return steps.every(({ move }) => !UNSTEERABLE.has(move))
}

function turnsOf(operation: string, { program, steps }: Played): Turn[] {
  return steps.map(({ step, kind, node, result, woke }, i) => {
    if (UNSTEERABLE.has(step.move) || kind === Kind.StorePlain) {
      const reason = `step ${i + 1}: when a plain store reaches memory is the hardware's choice`
      throw new HotplugError('EINVAL', operation, reason)
    }
    const { word, a, b } = program
    const what = { kind, word: word[node]!, a: a[node]!, b: b[node]! }
    return { ...step, ...what, result: result ?? ASLEEP, woken: woke }
  })
}

function statusAt(kind: Kind): Status {
  if (kind === Kind.Done) return Status.Done
  return kind === Kind.Fail ? Status.Threw : Status.Waits
}

/** The workers of one replay. */
class Crew {
  private readonly operation: string
  private readonly model: Description
  private readonly played: Played
  private readonly turns: readonly Turn[]
  private readonly words: Int32Array
  private readonly control: Control
  private readonly workers: Worker[] = []
  private trouble: string | null = null

  constructor(operation: string, model: Description, played: Played, turns: readonly Turn[]) {
    this.operation = operation
    this.model = model
    this.played = played
    this.turns = turns
    this.words = new Int32Array(new SharedArrayBuffer(4 * model.layout.nrWords))
    this.words.set(model.layout.initial)
    this.control = new Control(Control.buffer(model.threads.length))
  }

  start(file: string): void {
    const { words, control, turns, model } = this
    for (const thread of model.threads.keys()) {
      const input: WorkerInput = {
        file,
        model: model.name,
        thread,
        words: words.buffer as SharedArrayBuffer,
        control: control.buffer,
        turns,
      }
      const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: input })
      worker.on('message', (trouble: string) => this.fail(trouble))
      worker.on('error', error => this.fail(`${model.threads[thread]!.name}: ${error.message}`))
      this.workers.push(worker)
    }
  }

  /** Waits until a step has been done; does it itself if it is the machine's. */
  async until(step: number): Promise<void> {
    const { thread, move } = this.turns[step] as Turn
    const name = this.model.threads[thread]!.name
    if (move === Move.Run) {
      await this.change(Control.STEP, step, `step ${step + 1} of ${name}`)
      return
    }
    if (move === Move.Die || move === Move.DieQueued) await this.kill(thread)
    else await this.wake(step, thread, move === Move.TimeOut ? Woke.TimedOut : Woke.Ok)
    this.control.advance(step)
  }

  /** Compares memory and threads with the model's end. */
  async end(): Promise<Replayed> {
    const { program, names, end } = this.played
    const asleep: string[] = []
    for (const [thread, { node, queue, dead }] of end.threads.entries()) {
      if (dead) continue
      const name = names.threads[thread] as string
      const status = this.control.status(thread)
      await this.change(status, Status.Runs, `${name} at the end`)
      const reached = Atomics.load(this.control.words, status)
      const expected = queue >= 0 ? Status.Asleep : statusAt(program.kind[node] as Kind)
      if (reached !== expected) {
        this.refuse(`${name} ends ${STATUS[reached]}, in the model ${STATUS[expected]}`)
      }
      if (reached === Status.Asleep) asleep.push(name)
    }
    for (const [i, expected] of end.words.entries()) {
      if (this.words[i] === expected) continue
      this.refuse(`${names.words[i]} ends as ${this.words[i]}, in the model as ${expected}`)
    }
    return { words: this.words, asleep }
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map(worker => worker.terminate()))
  }

  private async kill(thread: number): Promise<void> {
    const worker = this.workers[thread] as Worker
    const status = this.control.status(thread)
    await this.change(status, Status.Runs, `${this.model.threads[thread]!.name} before it dies`)
    worker.removeAllListeners('error')
    await worker.terminate()
  }

  private async wake(step: number, thread: number, woke: number): Promise<void> {
    const status = this.control.status(thread)
    this.control.set(this.control.woken(thread), 1 + woke)
    const { word } = this.turns[step] as Turn
    // It may not sleep yet.
    const again = setInterval(() => Atomics.notify(this.words, word), POLL_MS)
    try {
      Atomics.notify(this.words, word)
      await this.change(status, Status.Asleep, `waking of ${this.model.threads[thread]!.name}`)
    } finally {
      clearInterval(again)
    }
  }

  /** Waits until a control word is not `value` any more. */
  private async change(index: number, value: number, what: string): Promise<void> {
    using _alive = keepAlive() // a waitAsync alone does not
    const deadline = performance.now() + WATCHDOG_MS
    while (Atomics.load(this.control.words, index) === value) {
      if (this.trouble !== null) this.refuse(this.trouble)
      if (performance.now() > deadline) {
        throw new HotplugError(
          'ETIMEDOUT',
          this.operation,
          `${what}: nothing for ${WATCHDOG_MS} ms`,
        )
      }
      await Atomics.waitAsync(this.control.words, index, value, POLL_MS).value
    }
    if (this.trouble !== null) this.refuse(this.trouble)
  }

  private fail(trouble: string): void {
    this.trouble ??= trouble
  }

  private refuse(trouble: string): never {
    throw new HotplugError('EINVAL', this.operation, trouble)
  }
}

/** Keeps the event loop from running dry. */
function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 0x7fffffff)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
