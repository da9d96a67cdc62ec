/*
 * What each thread of a torture run does: turn after turn until the run stops, or it is killed.
 */
import { Locks, type LocksHandle } from '../../src/locking.ts'
import { Board } from './board.ts'
import { formNamed } from './forms.ts'
import { Random } from './random.ts'
import { Turn } from './turn.ts'

/** One thread of a run, in one of its lives. */
export interface TortureData {
  readonly form: string
  readonly thread: number
  readonly isWriter: boolean
  readonly seed: number
  readonly handle: LocksHandle
  readonly words: Int32Array
  readonly board: Int32Array
}

/** Runs one life. */
export async function torture(data: TortureData): Promise<void> {
  const board = new Board(data.board)
  const locks = Locks.attach(data.handle)
  const { slot } = locks
  board.setToken(data.thread, slot.token)
  const lock = formNamed(data.form).open(slot, data.words)
  const turn = new Turn(board, data.thread, slot, new Random(data.seed))
  const goIn = data.isWriter ? lock.write : lock.read!
  const waiting = data.isWriter ? 'waiting to write' : 'waiting to read'
  while (!board.isStopped()) {
    board.pause()
    board.setDoing(data.thread, waiting)
    await goIn(turn)
  }
  locks.detach()
  board.setDoing(data.thread, 'ended')
}
