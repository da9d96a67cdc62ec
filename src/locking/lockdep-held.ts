/*
 * What the calling thread holds, as lockdep sees it.
 *
 * A thread that blocks keeps all that any of its operations holds: its event loop stands still. An
 * operation of an event loop that awaits keeps only its own. So there is one list for the thread,
 * of what blocking forms took, and one for each operation that holds something, of what its async
 * and `try` forms took; who waits decides which of them count (`keptBy`).
 *
 * What an operation only stands in line for may be handed to it at any time, and a thread that
 * blocks then keeps it as well: nobody is there to let go of it. So that counts too for a thread
 * that blocks (`inLine`), though nothing is held yet.
 *
 * All of it is the thread's own memory, and dies with it.
 */
import { Mode } from './lockdep-graph.ts'

/** A place in the source; formatted only when somebody reads it. */
export interface Place {
  readonly stack: string
}

/** Any function, to leave out of a stack. */
export type AnyFunction = (...args: never[]) => unknown

/** Where the caller of `above` stands. */
export function placeOf(above: AnyFunction): Place {
  const place = { stack: '' }
  Error.captureStackTrace(place, above)
  return place
}

/** A lock, or a region that others wait for the end of, as lockdep knows it. */
export interface Tracked {
  readonly className: string
  /** Index in the graph. */
  readonly class: number
  /** With `byteOffset`: which instance of its class. */
  readonly memory: object
  readonly byteOffset: number
  /** Whether its exclusive owner may also take it as a reader. */
  readonly ownerMayRead: boolean
  /** A region is entered and waited for; a lock is taken and asked for. */
  readonly isRegion: boolean
}

/** Whether the two are one lock, perhaps under different subclasses. */
export function isSame(one: Tracked, other: Tracked): boolean {
  return one.memory === other.memory && one.byteOffset === other.byteOffset
}

/** An acquisition: asked for, or granted and not yet released. */
export interface Taking {
  readonly lock: Tracked
  readonly mode: Mode
  /** Where it was asked for. */
  readonly place: Place
}

/** All that one thread holds. */
export class HeldLocks {
  private readonly thread: Taking[] = []
  private readonly operations = new Map<object, Taking[]>()
  private readonly queued: Taking[] = []

  /** What stays held while `operation` waits, or, if null, while the thread blocks. */
  keptBy(operation: object | null): readonly Taking[] {
    if (operation !== null) return this.operations.get(operation) ?? []
    if (this.operations.size === 0) return this.thread
    return [this.thread, ...this.operations.values()].flat()
  }

  /** What may be handed to the thread while `operation` waits, or, if null, while it blocks. */
  inLine(operation: object | null): readonly Taking[] {
    return operation === null ? this.queued : []
  }

  /** An operation stands in line for it. */
  queue(asked: Taking): void {
    this.queued.push(asked)
  }

  /** It was granted, or the operation gave up. */
  unqueue(asked: Taking): void {
    take(this.queued, asked)
  }

  /** @param operation Whose it is; null: the thread's. */
  add(operation: object | null, held: Taking): void {
    if (operation === null) {
      this.thread.push(held)
      return
    }
    const list = this.operations.get(operation)
    if (list === undefined) this.operations.set(operation, [held])
    else list.push(held)
  }

  /** @returns Whether it was there. */
  remove(held: Taking): boolean {
    if (take(this.thread, held)) return true
    for (const [operation, list] of this.operations) {
      if (!take(list, held)) continue
      if (list.length === 0) this.operations.delete(operation)
      return true
    }
    return false
  }

  /** The last acquisition of `lock` by this thread or one of its operations, if any is left. */
  find(lock: Tracked, exclusive: boolean | null): Taking | undefined {
    return this.keptBy(null).findLast(held => isSo(held, lock, exclusive))
  }

  /** As `find`, among those that belong to the thread and to no operation. */
  findOwn(lock: Tracked, exclusive: boolean): Taking | undefined {
    return this.thread.findLast(held => isSo(held, lock, exclusive))
  }
}

function isSo(held: Taking, lock: Tracked, exclusive: boolean | null): boolean {
  if (!isSame(held.lock, lock)) return false
  return exclusive === null || exclusive === (held.mode === Mode.Exclusive)
}

function take(list: Taking[], held: Taking): boolean {
  const index = list.lastIndexOf(held)
  if (index >= 0) list.splice(index, 1)
  return index >= 0
}
