/*
 * A thread of a replay: runs one body of one model, each operation when its turn has come.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { HotplugError } from '../lib/errors.ts'
import type { Description } from './describe.ts'
import { viewsOver } from './layout.ts'
import { type Driver, installAtomics, perform, setDriver } from './learn/driver.ts'
import { loadChecks } from './load.ts'
import { Kind, Move, Woke } from './program.ts'
import { bodyOf } from './run.ts'
import { ASLEEP, Control, Status, type Turn, type WorkerInput } from './turns.ts'

const NEVER = 0x7fffffff
const RETRY_MS = 1

/** Answers the operations of a body, by the schedule. */
class Follower implements Driver {
  private readonly thread: number
  private readonly words: Int32Array
  private readonly control: Control
  private readonly turns: readonly Turn[]
  private next = -1

  constructor({ thread, words, control, turns }: WorkerInput) {
    this.thread = thread
    this.words = new Int32Array(words)
    this.control = new Control(control)
    this.turns = turns
  }

  operate(kind: Kind, words: Int32Array, index: number, a: number, b: number): number {
    return this.unheard(() => this.take(kind, words.byteOffset / 4 + index, a, b))
  }

  refuse(): void {}

  awaitDeath(): number {
    return this.unheard(() => this.take(Kind.AwaitDeath, -1, 0, 0))
  }

  end(status: Status): void {
    this.control.set(this.control.status(this.thread), status)
  }

  /** What a turn itself does with `Atomics` is not for the driver. */
  private unheard(run: () => number): number {
    const before = setDriver(null)
    try {
      return run()
    } finally {
      setDriver(before)
    }
  }

  private take(kind: Kind, word: number, a: number, b: number): number {
    const turn = this.await()
    const isWord = kind < Kind.BarrierAll
    const same = !isWord || (turn.a === a && turn.b === b && turn.word === word)
    if (turn.kind !== kind || !same)
      return this.diverge(turn, `does ${kindName(kind)}(word ${word}, ${a}, ${b})`)
    if (kind === Kind.Wait && turn.result === ASLEEP) return this.sleep(word, a)
    const result = this.perform(turn)
    if (RESULTS.has(kind) && result !== turn.result) this.diverge(turn, `results in ${result}`)
    this.control.advance(this.next)
    return turn.result
  }

  /** Blocks until it is this thread's turn; for ever if the schedule has no more for it. */
  private await(): Turn {
    const { turns, thread, control } = this
    this.end(Status.Waits)
    const isMine = (turn: Turn): boolean => turn.thread === thread && turn.move === Move.Run
    this.next = turns.findIndex((turn, i) => i > this.next && isMine(turn))
    control.await(this.next < 0 ? NEVER : this.next)
    this.end(Status.Runs)
    return turns[this.next] as Turn
  }

  private perform({ kind, word, a, b, result, woken }: Turn): number {
    if (kind === Kind.AwaitDeath || kind === Kind.BarrierAll) return result
    if (kind !== Kind.Notify) return perform(kind, this.words, word, a, b)
    for (const thread of woken) this.control.set(this.control.woken(thread), 1 + Woke.Ok)
    for (const thread of woken) this.wake(thread, word, a)
    return result
  }

  /** A sleeper may not sleep yet, or another may be woken in its place: notifies until it is up. */
  private wake(thread: number, word: number, count: number): void {
    const status = this.control.status(thread)
    while (Atomics.load(this.control.words, status) === Status.Asleep) {
      perform(Kind.Notify, this.words, word, count, 0)
      Atomics.wait(this.control.words, status, Status.Asleep, RETRY_MS)
    }
  }

  /** Sleeps on the model's word, as often as it takes; elsewhere once that word has changed. */
  private sleep(word: number, value: number): number {
    const { control, thread } = this
    const woken = control.woken(thread)
    this.end(Status.Asleep)
    control.advance(this.next)
    let how = 0
    while ((how = Atomics.load(control.words, woken)) === 0) {
      const slept = perform(Kind.Wait, this.words, word, value, 0)
      if (slept === Woke.NotEqual) Atomics.wait(control.words, woken, 0)
    }
    Atomics.store(control.words, woken, 0)
    this.end(Status.Runs)
    return how - 1
  }

  private diverge(turn: Turn, what: string): never {
    const expected = `${kindName(turn.kind)}(word ${turn.word}, ${turn.a}, ${turn.b})`
    parentPort?.postMessage(`step ${this.next + 1} is ${expected} = ${turn.result}: it ${what}`)
    this.control.await(NEVER)
    throw new HotplugError('EINVAL', 'replay', what)
  }
}

const NAMES = Object.keys(Kind)

/** Operations whose result the thread sees. */
const RESULTS: ReadonlySet<Kind> = new Set([
  Kind.Load,
  Kind.Add,
  Kind.Sub,
  Kind.And,
  Kind.Or,
  Kind.Xor,
  Kind.Exchange,
  Kind.CompareExchange,
  Kind.Wait,
  Kind.LoadPlain,
])

function kindName(kind: Kind): string {
  return NAMES[kind] as string
}

async function findModel({ file, model }: WorkerInput): Promise<Description> {
  const checks = await loadChecks([file])
  const found = checks.find(({ check }) => check.name === model)
  if (found === undefined) throw new HotplugError('ENOENT', `replay ${model}`, `${file} has it not`)
  return found.check.description
}

const input: WorkerInput = workerData
const description = await findModel(input)
const follower = new Follower(input)
const views = Object.values(viewsOver(description.layout, input.words))
const body = bodyOf(description, description.threads[input.thread]!, input.thread)
installAtomics()
setDriver(follower)
try {
  body(views, { cs() {}, awaitDeath: () => follower.awaitDeath() })
  setDriver(null)
  follower.end(Status.Done)
} catch {
  setDriver(null)
  follower.end(Status.Threw)
}
