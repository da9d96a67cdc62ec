/*
 * Schedules as text: who moves, in order, one character a step.
 *
 *     0001000011      threads 0 and 1 (0-9, then a-z)
 *     01~1            thread 1's oldest plain store reaches memory between two operations
 *     0012!           thread 2 dies
 *
 * What the machine does, not the source, is a mark behind the thread's character (`MARKS`).
 */
import { HotplugError } from '../lib/errors.ts'
import { Move, type Step } from './program.ts'

/** Threads that a model can have. */
export const THREADS_MAX = 31

const MARKS: Readonly<Record<Move, string>> = {
  [Move.Run]: '',
  [Move.Flush]: '~',
  [Move.Stale]: '=',
  [Move.TimeOut]: '.',
  [Move.Spurious]: ',',
  [Move.Die]: '!',
  [Move.DieQueued]: '%',
  [Move.Early]: '^',
}

/** A schedule in its short form. */
export function formatSchedule(steps: readonly Step[]): string {
  return steps.map(({ thread, move }) => thread.toString(36) + MARKS[move]).join('')
}

/**
 * The steps that a text stands for.
 *
 * @throws {HotplugError} `EINVAL`: it is no schedule, or names a thread that the model has not.
 */
export function parseSchedule(text: string, nrThreads: number): Step[] {
  const steps: Step[] = []
  for (let i = 0; i < text.length; i++) {
    const character = text[i] as string
    if (!/[0-9a-z]/.test(character)) refuse(text, i, `'${character}' is no thread (0-9, a-z)`)
    const thread = Number.parseInt(character, 36)
    if (thread >= nrThreads) {
      refuse(text, i, `there is no thread ${thread}, the model has ${nrThreads}`)
    }
    const move = moveOf(text[i + 1])
    if (move !== Move.Run) i++
    steps.push({ thread, move })
  }
  return steps
}

function moveOf(mark: string | undefined): Move {
  for (const [move, text] of Object.entries(MARKS)) {
    if (text !== '' && text === mark) return Number(move) as Move
  }
  return Move.Run
}

function refuse(text: string, index: number, reason: string): never {
  throw new HotplugError('EINVAL', `replay ${text}`, `character ${index + 1}: ${reason}`)
}
