/*
 * What each thread of a torture run does: turn after turn until the run stops, or it is killed.
 */
import { type Slot, Slots, type ThreadOracle } from '../../src/locking/slots.ts'
import { Board } from './board.ts'
import { formNamed } from './forms.ts'
import { Random } from './random.ts'
import { Turn } from './turn.ts'

/** One thread of a run, in one of its lives. */
export interface TortureData {
  readonly form: string
  readonly thread: number
  readonly isWriter: boolean
  /** Tells lives apart; never the same twice in a run. */
  readonly life: number
  readonly seed: number
  readonly slots: Int32Array
  readonly words: Int32Array
  readonly board: Int32Array
}

/** Says who is dead: the lives in `dead`, which the run's own thread keeps. */
export function oracleOf(life: number, dead: ReadonlySet<number> = new Set()): ThreadOracle {
  return { tid: life, start: 0, exists: other => !dead.has(other) }
}

/** Runs one life. */
export async function torture(data: TortureData): Promise<void> {
  const board = new Board(data.board)
  const slot: Slot = new Slots(data.slots).attach(oracleOf(data.life))
  const lock = formNamed(data.form).open(slot, data.words)
  const turn = new Turn(board, data.thread, slot, new Random(data.seed + data.life))
  const goIn = data.isWriter ? lock.write : lock.read!
  const waiting = data.isWriter ? 'waiting to write' : 'waiting to read'
  while (!board.isStopped()) {
    board.pause()
    board.setDoing(data.thread, waiting)
    await goIn(turn)
  }
  slot.detach()
  board.setDoing(data.thread, 'ended')
}
