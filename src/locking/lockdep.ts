/*
 * lockdep: finds deadlocks in the order of acquisitions, before any of them happens.
 *
 * Each acquisition that may wait is told beforehand (`willWait`), with what is held meanwhile:
 *
 *     the same lock is held            refused, unless both only read and may do so
 *     another of its class is held     refused likewise: nothing orders the two (see `nest`)
 *     it closes a cycle of classes     refused (lockdep-graph.ts), with the stacks of all its edges
 *     else                             its edges join the graph, then it may wait
 *
 * An acquisition that only tries cannot be what somebody waits in, so it adds no edge to what it
 * takes; what it took is held like any other. That is also how a cycle is broken: try, and when it
 * fails let go of everything and start over.
 *
 * A thread that blocks is ordered also after what its own operations only stand in line for: that
 * may be handed to it meanwhile, and would stay with it. Of one lock, the lock itself refuses that.
 *
 * Waiting for anything else, the end of a grace period, a completion, the last user of an object,
 * is a `LockdepMap`: those who will be waited for are inside it while they are at work, and the
 * waiter takes it for a moment. Who waits holding what they need has closed a cycle.
 *
 * A report is an exception, thrown before anything has changed; the order that it refuses is not
 * added. When a table of the graph is full, checking ends in all threads with one warning.
 */
import type { Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { Held } from './acquire.ts'
import { kindOf, LockdepGraph, Mode } from './lockdep-graph.ts'
import {
  type AnyFunction,
  HeldLocks,
  isSame,
  placeOf,
  type Taking,
  type Tracked,
} from './lockdep-held.ts'
import {
  cycleReport,
  initReport,
  nestedReport,
  orderText,
  releaseReport,
} from './lockdep-report.ts'
import type { Slot } from './slots.ts'
import { requireWords } from './words.ts'

/** Classes that one machine can have. */
const LOCKDEP_CLASSES_MAX = 128
const TEXT_WORDS = 1 << 18

/** Whether lockdep is asked for: by the option, or else by `HOTPLUG_LOCKDEP=1`. */
export function wantsLockdep(option?: boolean): boolean {
  return option ?? process.env.HOTPLUG_LOCKDEP === '1'
}

/** What a lock is to lockdep, when it begins to be tracked. */
export interface TrackOptions {
  /** Shared by all threads, and by all locks that obey one order. */
  readonly className: string
  readonly memory: object
  readonly byteOffset: number
  readonly ownerMayRead?: boolean
  readonly isRegion?: boolean
}

/** The orders of acquisition of all threads, as one thread uses them. */
export class Lockdep {
  private readonly slot: Slot
  private readonly graph: LockdepGraph
  private readonly held = new HeldLocks()
  private readonly classes = new Map<string, number>()

  /** Words of shared memory that lockdep needs, zeroed: 1.25 MiB, touched as it fills. */
  static readonly WORDS = LockdepGraph.words(LOCKDEP_CLASSES_MAX, TEXT_WORDS)

  /**
   * @param slot The calling thread's own.
   * @param words Shared memory, the same in every thread.
   * @param nrClasses The same in every thread.
   * @throws {HotplugError} `EINVAL`: the memory is not shared, or too small.
   */
  constructor(slot: Slot, words: Words, nrClasses: number = LOCKDEP_CLASSES_MAX) {
    requireWords('lockdep', words, 0, LockdepGraph.words(nrClasses, 1))
    this.slot = slot
    this.graph = new LockdepGraph(words, nrClasses)
  }

  /** Whether a table was full: nothing is checked any more, in any thread. */
  isOff(): boolean {
    return this.graph.isOff()
  }

  /** Makes a lock known. */
  track(options: TrackOptions): Tracked {
    return {
      className: options.className,
      class: this.classOf(options.className),
      memory: options.memory,
      byteOffset: options.byteOffset,
      ownerMayRead: options.ownerMayRead ?? false,
      isRegion: options.isRegion ?? false,
    }
  }

  /** @throws {HotplugError} `EDEADLK`: this thread holds it, and makes it anew. */
  requireFree(lock: Tracked, above: AnyFunction): void {
    const held = this.held.find(lock, null)
    if (held !== undefined && !this.isOff()) throw initReport(held, placeOf(above))
  }

  /** The same lock under another class, for a second one of its class (see `nest`). */
  subclass(lock: Tracked, subclass: number): Tracked {
    const className = `${lock.className}/${subclass}`
    return { ...lock, className, class: this.classOf(className) }
  }

  /**
   * Call before an acquisition that may wait.
   *
   * @param operation Whose it is; null if the thread blocks.
   * @throws {HotplugError} `EDEADLK`: it could wait for ever. The message has the cycle and stacks.
   */
  willWait(asked: Taking, operation: object | null): void {
    if (this.isOff()) return
    const kept = this.held.keptBy(operation)
    if (kept.some(held => isFree(held, asked))) return
    for (const held of kept) this.requireOrder(held, asked)
    for (const queued of this.held.inLine(operation)) {
      if (!isSame(queued.lock, asked.lock)) this.requireOrder(queued, asked)
    }
  }

  /** Call when acquired. */
  acquired(asked: Taking, operation: object | null): Taking {
    this.held.add(operation, asked)
    return asked
  }

  /** Call before an operation waits, after `willWait`: from now on it may be granted. */
  queued(asked: Taking): void {
    this.held.queue(asked)
  }

  /** Call when that has ended, granted or not. */
  unqueued(asked: Taking): void {
    this.held.unqueue(asked)
  }

  /**
   * Call before the release of what a blocking form took.
   *
   * @throws {HotplugError} `EPERM`: this thread does not hold it.
   */
  willRelease(lock: Tracked, exclusive: boolean, above: AnyFunction): Taking | undefined {
    const held = this.held.findOwn(lock, exclusive)
    if (held === undefined && !this.isOff()) throw releaseReport(lock, placeOf(above))
    return held
  }

  /** What this thread entered last of a region, if it is still inside. */
  ownTaking(lock: Tracked): Taking | undefined {
    return this.held.findOwn(lock, false)
  }

  /** Call when released. */
  released(held: Taking | undefined): void {
    if (held !== undefined) this.held.remove(held)
  }

  /** Whether this thread, or an operation of it, holds the lock. */
  isHeld(lock: Tracked, exclusive: boolean | null): boolean {
    return this.isOff() || this.held.find(lock, exclusive) !== undefined
  }

  private requireOrder(held: Taking, asked: Taking): void {
    if (isSame(held.lock, asked.lock)) throw nestedReport(held, asked, true)
    if (held.lock.class === asked.lock.class) {
      if (held.mode !== Mode.Exclusive && asked.mode === Mode.Recursive) return
      throw nestedReport(held, asked, false)
    }
    const kind = kindOf(held.mode, asked.mode)
    if (this.graph.isSure(held.lock.class, asked.lock.class, kind)) return
    const text = orderText(this.slot.index, held, asked)
    const insert = () => this.graph.insert(held.lock.class, asked.lock.class, kind, text)
    const path = this.unlessFull(insert, null)
    if (path !== null) throw cycleReport(path, text, asked, index => this.graph.className(index))
  }

  private classOf(name: string): number {
    const known = this.classes.get(name)
    if (known !== undefined) return known
    const index = this.isOff() ? -1 : this.unlessFull(() => this.graph.classOf(name), -1)
    this.classes.set(name, index)
    return index
  }

  private unlessFull<T>(run: () => T, otherwise: T): T {
    try {
      return run()
    } catch (error) {
      if (!(error instanceof HotplugError) || error.code !== 'ENOSPC') throw error
      if (this.graph.turnOff()) {
        process.emitWarning(`lockdep is off from now on: ${error.message}`, { code: error.code })
      }
      return otherwise
    }
  }
}

/** Whether it never waits, whoever else comes: the lock is held in a way that lets it in. */
function isFree(held: Taking, asked: Taking): boolean {
  if (!isSame(held.lock, asked.lock) || asked.mode !== Mode.Recursive) return false
  return held.mode !== Mode.Exclusive || held.lock.ownerMayRead
}

/**
 * Something that is waited for without being a lock: a grace period, a completion, the last user.
 *
 * Those who must come to an end first are inside it meanwhile; they never wait to enter.
 */
export class LockdepMap {
  private readonly lockdep: Lockdep | null
  private readonly lock: Tracked | null

  /**
   * @param lockdep Null: lockdep is off.
   * @param className Shared by all threads.
   */
  constructor(lockdep: Lockdep | null, className: string) {
    this.lockdep = lockdep
    const options = { className, memory: this, byteOffset: 0, isRegion: true }
    this.lock = lockdep === null ? null : lockdep.track(options)
  }

  /**
   * Call when at work that others wait for the end of; never waits.
   *
   * @param operation Whose work it is; the thread's if left out.
   * @returns To be released at its end.
   */
  enter(operation: object | null = null): Held {
    const { lockdep, lock } = this
    if (lockdep === null || lock === null) return new Held(false, () => {})
    const place = placeOf(LockdepMap.prototype.enter)
    const taking = lockdep.acquired({ lock, mode: Mode.Shared, place }, operation)
    return new Held(false, () => lockdep.released(taking))
  }

  /**
   * Call before waiting for the end of all that are inside.
   *
   * @param operation Who waits; the thread if left out.
   * @throws {HotplugError} `EDEADLK`: one of them needs what is held here: it could wait for ever.
   */
  willWait(operation: object | null = null): void {
    const { lockdep, lock } = this
    if (lockdep === null || lock === null) return
    const place = placeOf(LockdepMap.prototype.willWait)
    lockdep.willWait({ lock, mode: Mode.Exclusive, place }, operation)
  }
}
