/*
 * One thread's turns at a lock: what it does inside, and for how long.
 */
import type { Slot } from '../../src/locking/slots.ts'
import { As, type Board } from './board.ts'
import type { Random } from './random.ts'

const SPINS_MAX = 2000
const SLEEP_MS_MAX = 2
/** One hold in so many is a sleep, so that others queue up. */
const SLEEP_ONE_IN = 200

const PATIENCE_MS_MAX = 4
const WAYS = ['blocking', 'blocking', 'blocking', 'try', 'async', 'impatient'] as const

/** How a thread asks for the lock. */
export type Way = (typeof WAYS)[number]

/** What a thread needs inside: who it is, where it says so, what decides how long it stays. */
export class Turn {
  readonly board: Board
  readonly thread: number
  readonly slot: Slot
  private readonly random: Random
  private readonly nap = new Int32Array(new SharedArrayBuffer(4))

  constructor(board: Board, thread: number, slot: Slot, random: Random) {
    this.board = board
    this.thread = thread
    this.slot = slot
    this.random = random
  }

  /** How to ask this time. */
  way(): Way {
    return WAYS[this.random.below(WAYS.length)]!
  }

  /** How long to ask at most. */
  patienceMs(): number {
    return 1 + this.random.below(PATIENCE_MS_MAX)
  }

  /** Call when nobody else may be inside. @param wasTold That the last owner died. */
  write(wasTold: boolean): void {
    this.enter(As.Writer, [As.Writer, As.Reader])
    this.board.change(wasTold, () => this.hold())
    this.board.leave(this.thread)
  }

  /** Call when no writer may be inside. */
  read(): void {
    this.enter(As.Reader, [As.Writer])
    this.board.look(() => this.hold())
    this.board.leave(this.thread)
  }

  /** Call when nobody may be inside as `old` any more, nor comes to be so meanwhile. */
  reuse(old: As, wasTold: boolean): void {
    this.enter(As.Writer, [As.Writer, old])
    this.board.change(wasTold, () => this.hold())
    this.enter(As.Writer, [As.Writer, old])
    this.board.leave(this.thread)
  }

  /** Call when what is used `as` must not be reused. Never sleeps. */
  use(as: As): void {
    this.enter(as, [])
    this.spin()
    this.board.leave(this.thread)
  }

  /** Says what this thread is inside for, and looks whether anybody is who may not. */
  enter(as: As, wrong: readonly As[]): void {
    this.board.enter(this.thread, this.slot.token, as)
    this.board.expectNobody(this.slot.slots, this.thread, wrong)
  }

  /** Stays for a random time: mostly short, now and then long enough that others fall asleep. */
  hold(): void {
    if (this.random.oneIn(SLEEP_ONE_IN)) {
      this.sleep(this.random.below(SLEEP_MS_MAX + 1))
    } else {
      this.spin()
    }
  }

  private spin(): void {
    for (let i = this.random.below(SPINS_MAX); i > 0; i--) Atomics.load(this.nap, 0)
  }

  /** Blocks the thread. */
  sleep(ms: number): void {
    Atomics.wait(this.nap, 0, 0, ms)
  }
}
