/*
 * Torture: threads that go in and out of one lock at random, die at random, and must never meet.
 *
 * A port of the kernel's locktorture: writers and readers, random holds, stutter (everybody pauses
 * now and then, so that the lock also sees quiet and sudden beginnings); where it takes CPUs away,
 * we kill threads, wherever they are, and start others in their places.
 *
 * A run passes if nobody met anybody inside, no half-made change went unannounced, and every
 * thread ended when told to. `seed` decides holds, kills and pauses; the machine decides the rest.
 */
import { setTimeout } from 'node:timers/promises'
import { Locks } from '../../src/locking.ts'
import { sharedWords, TestThread } from '../thread.ts'
import { Board } from './board.ts'
import { type Form, formNamed } from './forms.ts'
import { Random } from './random.ts'
import type { TortureData } from './thread.ts'
import { Stopwatch, type Times } from './times.ts'

const KILL_EVERY_MS_MAX = 120
/** Most kills shall hit a thread that is at the lock. */
const KILL_STARTING_ONE_IN = 10
const STUTTER_EVERY_MS_MAX = 400
const STUTTER_MS = 20
/** A thread that has not ended so long after it was told to never will. */
const PATIENCE_MS = 10_000
const BODY = new URL('./thread.js', import.meta.url)

/** A run of one form. */
export interface TortureOptions {
  readonly form: string
  readonly seconds: number
  readonly seed: number
  readonly nrWriters: number
  readonly nrReaders: number
  /** Whether threads are killed. */
  readonly kills: boolean
}

/** What came of a run. */
export interface TortureResult {
  readonly form: string
  /** How often each writer and each reader was inside. */
  readonly writes: readonly number[]
  readonly reads: readonly number[]
  readonly nrKilled: number
  readonly nrKilledInside: number
  /** How long it took until a thread that was to be killed was gone, and until the next ran. */
  readonly kills: Times
  readonly restarts: Times
  /** Writers that were told that the last owner had died. */
  readonly told: number
  readonly overlaps: number
  readonly untold: number
  /** Who did not end, and what it was doing. */
  readonly hung: readonly string[]
}

/** Whether nothing went wrong. */
export function hasPassed(result: TortureResult): boolean {
  return result.overlaps === 0 && result.untold === 0 && result.hung.length === 0
}

/**
 * Tortures one lock.
 *
 * @throws {Error} a thread threw.
 */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  await using locks = await Locks.boot()
  const run = new Run(options, locks)
  run.broken.catch(() => {}) // it is looked at in the races below
  try {
    run.start()
    await Promise.race([run.disturb(), run.broken])
    return await Promise.race([run.finish(), run.broken])
  } finally {
    await run.killAll()
  }
}

class Run {
  private readonly options: TortureOptions
  private readonly form: Form
  private readonly random: Random
  private readonly board: Board
  private readonly locks: Locks
  private readonly words: Int32Array
  private readonly threads: TestThread[] = []
  private readonly killed = new Set<TestThread>()
  private readonly nrThreads: number
  private nrKilledInside = 0
  private readonly kills = new Stopwatch()
  private readonly restarts = new Stopwatch()
  private break: (error: unknown) => void = () => {}
  /** Rejects when a thread throws. Never resolves. */
  readonly broken = new Promise<never>((_, reject) => (this.break = reject))

  constructor(options: TortureOptions, locks: Locks) {
    const { form, nrWriters, nrReaders, seed } = options
    this.options = options
    this.form = formNamed(form)
    this.random = new Random(seed)
    this.nrThreads = nrWriters + (this.form.hasReaders ? nrReaders : 0)
    this.board = new Board(sharedWords(Board.words(this.nrThreads)))
    this.locks = locks
    this.words = sharedWords(this.form.nrWords(locks.slot.slots.nrSlots))
    this.form.prepare?.(this.words, locks.capabilities.asymmetricFence)
  }

  start(): void {
    const { slot } = this.locks
    for (const lock of this.form.open(slot, this.words).recoverables) slot.slots.register(lock)
    for (let thread = 0; thread < this.nrThreads; thread++) this.startThread(thread)
  }

  /** Kills and pauses at random until the time is over. */
  async disturb(): Promise<void> {
    const endsAt = performance.now() + this.options.seconds * 1000
    let stutterAt = 0
    while (performance.now() < endsAt || this.mustGoOn(endsAt)) {
      await setTimeout(1 + this.random.below(KILL_EVERY_MS_MAX))
      if (this.options.kills) await this.killOne()
      if (performance.now() < stutterAt) continue
      this.board.setStutter(true)
      await setTimeout(STUTTER_MS)
      this.board.setStutter(false)
      stutterAt = performance.now() + this.random.below(STUTTER_EVERY_MS_MAX)
    }
  }

  /** On a busy machine the time may be over before everybody was inside once. */
  private mustGoOn(endsAt: number): boolean {
    const { nrThreads, board } = this
    const wasInside = (_: unknown, thread: number): boolean => board.countOf(thread) > 0
    const wereAllInside = Array.from({ length: nrThreads }, wasInside).every(Boolean)
    return !wereAllInside && performance.now() < endsAt + PATIENCE_MS
  }

  async finish(): Promise<TortureResult> {
    this.board.stop()
    const ended = Promise.allSettled(this.threads.map(thread => thread.result))
    await Promise.race([ended, setTimeout(PATIENCE_MS, undefined, { ref: false })])
    const { nrWriters, form } = this.options
    const counts = this.threads.map((_, thread) => this.board.countOf(thread))
    return {
      form,
      writes: counts.slice(0, nrWriters),
      reads: counts.slice(nrWriters),
      nrKilled: this.killed.size,
      nrKilledInside: this.nrKilledInside,
      kills: this.kills.times(),
      restarts: this.restarts.times(),
      told: this.board.told,
      overlaps: this.board.overlaps,
      untold: this.board.untold,
      hung: this.hung(),
    }
  }

  async killAll(): Promise<void> {
    await Promise.all(this.threads.map(thread => thread.kill()))
  }

  private hung(): string[] {
    return this.threads.flatMap((_, thread) => {
      const doing = this.board.doing(thread)
      return doing === 'ended' ? [] : [`${this.nameOf(thread)}: ${doing}`]
    })
  }

  private nameOf(thread: number): string {
    const { nrWriters } = this.options
    return thread < nrWriters ? `writer${thread}` : `reader${thread - nrWriters}`
  }

  private startThread(thread: number): TestThread {
    const data: TortureData = {
      form: this.options.form,
      thread,
      isWriter: thread < this.options.nrWriters,
      seed: this.random.below(2 ** 31),
      handle: this.locks.handle,
      words: this.words,
      board: this.board.words,
    }
    this.board.setDoing(thread, 'starting')
    this.board.setToken(thread, 0)
    const started = new TestThread(BODY, 'torture', data)
    started.result.catch(error => this.killed.has(started) || this.break(error))
    this.threads[thread] = started
    return started
  }

  /** Its death is found by this thread, by the service thread, or by the next to come. */
  private async killOne(): Promise<void> {
    const thread = this.random.below(this.nrThreads)
    const isStarting = this.board.doing(thread) === 'starting'
    if (isStarting && !this.random.oneIn(KILL_STARTING_ONE_IN)) return
    const victim = this.threads[thread]!
    this.killed.add(victim)
    const killed = this.kills.begin()
    await victim.kill()
    killed()
    if (this.board.diedInside(thread)) this.nrKilledInside++
    const restarted = this.restarts.begin()
    this.startThread(thread).worker.once('online', restarted)
  }
}
