import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { Move, type Step } from './program.ts'
import { formatSchedule, parseSchedule } from './schedule.ts'

test('a schedule of every kind of move survives being written and read', () => {
  const steps: Step[] = Object.values(Move).map(move => ({ thread: 3, move }))
  steps.push({ thread: 11, move: Move.Run }, { thread: 0, move: Move.Die })

  deepEqual(parseSchedule(formatSchedule(steps), 12), steps)
})

test('a plain schedule is one character a step', () => {
  const run = (thread: number): Step => ({ thread, move: Move.Run })

  equal(formatSchedule([run(0), run(1), run(10)]), '01a')
})

test('a schedule with a thread that the model has not is refused', () => {
  throws(() => parseSchedule('0120', 2), {
    code: 'EINVAL',
    message: 'replay 0120: character 3: there is no thread 2, the model has 2 (EINVAL)',
  })
})

test('text that is no schedule is refused', () => {
  throws(() => parseSchedule('0 1', 2), { code: 'EINVAL', message: /' ' is no thread/ })
  throws(() => parseSchedule('!0', 2), { code: 'EINVAL', message: /'!' is no thread/ })
  throws(() => parseSchedule('0!!', 2), { code: 'EINVAL', message: /character 3/ })
})
