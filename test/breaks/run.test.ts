import { deepEqual, match } from 'node:assert/strict'
import { test } from 'node:test'
import { COMPARING, ENDING } from '../../demo/ship.ts'
import { EXIT } from '../../demo/verdict.ts'
import { endingOf, type Output } from './run.ts'

/** A ship that came to nothing bad. */
const SHIP = { failed: 0, wrong: 0, lost: 0, readWaits: 0, lastError: '', voyages: 4 }

function ending(output: Partial<Output>) {
  const none: Output = { status: null, signal: null, isTooLate: false, stdout: '', stderr: '' }
  return endingOf({ ...none, ...output })
}

function stdout(ship: object): string {
  return JSON.stringify({ ship: { ...SHIP, voyagesDone: 4, ...ship } })
}

function watchdog(doing: string, seconds: number): string {
  return `\nwatchdog: it has not ended after 80 s; ${doing}, for ${seconds} s\n`
}

function isNoticed(output: Partial<Output>): boolean {
  return ending(output).isNoticed
}

test('a break is noticed by records, an exception, a crash, or the watchdog', () => {
  for (const what of ['failed', 'wrong', 'lost']) {
    deepEqual(isNoticed({ status: EXIT.bad, stdout: stdout({ [what]: 1 }) }), true, what)
  }
  const thrown =
    'node:internal/x:1\n    ^\n\nAssertionError [ERR_ASSERTION]: blocks: 1, 2 are\n    at x'
  deepEqual(isNoticed({ status: EXIT.bad, stderr: thrown }), true)
  match(ending({ status: EXIT.bad, stderr: thrown }).text, /^AssertionError .*: blocks: 1, 2 are$/)
  deepEqual(isNoticed({ status: EXIT.bad, stderr: watchdog(ENDING, 15) }), true)
  deepEqual(isNoticed({ status: EXIT.bad, stderr: watchdog(COMPARING, 15) }), true)
  const both = `${thrown}\n${watchdog('9 blocks are old', 15)}`
  deepEqual(isNoticed({ status: EXIT.bad, stderr: both }), true)
  deepEqual(isNoticed({ signal: 'SIGSEGV' }), true)
})

test('a break is not noticed by running out of time, or by what has nothing to do with it', () => {
  deepEqual(isNoticed({ status: EXIT.unfinished, stdout: stdout({ voyagesDone: 1 }) }), false)
  deepEqual(isNoticed({ status: EXIT.bad, stdout: stdout({ readWaits: 1 }) }), false)
  deepEqual(isNoticed({ status: EXIT.bad, stderr: watchdog('9 blocks are old', 15) }), false)
  deepEqual(isNoticed({ signal: 'SIGTRAP', stderr: watchdog('9 blocks are old', 15) }), false)
  deepEqual(isNoticed({ status: EXIT.bad, stderr: watchdog(ENDING, 1) }), false)
  deepEqual(isNoticed({ status: EXIT.bad, stderr: 'killed' }), false)
  deepEqual(isNoticed({ status: EXIT.refused, stderr: 'npm start: --size is foo' }), false)
  deepEqual(isNoticed({ signal: 'SIGKILL', isTooLate: true }), false)
  deepEqual(isNoticed({ signal: 'SIGKILL' }), false)
  deepEqual(ending({ status: EXIT.good, stdout: stdout({}) }), {
    isGood: true,
    isNoticed: false,
    text: 'all well',
  })
})
