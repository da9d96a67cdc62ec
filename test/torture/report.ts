import type { Times } from './times.ts'
import { hasPassed, type TortureResult } from './torture.ts'

/** The kernel's hint that a lock may be unfair: one got in more than so many times as another. */
const UNFAIR_RATIO = 2

/**
 * One line on a run: who was inside how often, who was killed, how long kills and restarts took (as
 * the kernel's locktorture has it of CPUs that go off and on), and what went wrong.
 */
export function tortureText(result: TortureResult): string {
  const { form, writes, reads, nrKilled, nrKilledInside, told, overlaps, untold, hung } = result
  const { kills, restarts } = result
  const parts = [
    form.padEnd(22),
    countsText('writes', writes),
    ...(reads.length > 0 ? [countsText('reads', reads)] : []),
    `${nrKilled} killed, ${nrKilledInside} inside, ${told} told`,
    ...(kills.nr > 0 ? [timesText('off', kills), timesText('on', restarts)] : []),
    hasPassed(result) ? 'ok' : wrongText(overlaps, untold, hung),
  ]
  return parts.join('  ')
}

function countsText(what: string, counts: readonly number[]): string {
  const [max, min] = [Math.max(...counts), Math.min(...counts)]
  const total = counts.reduce((sum, count) => sum + count, 0)
  const hint = max > UNFAIR_RATIO * min ? ' ???' : ''
  return `${what} ${number(total)} (max ${number(max)}, min ${number(min)}${hint})`
}

function timesText(what: string, { minMs, maxMs, totalMs }: Times): string {
  const [min, max, total] = [minMs, maxMs, totalMs].map(ms => number(Math.round(ms)))
  return `${what} ${min} to ${max} ms (${total} in all)`
}

function wrongText(overlaps: number, untold: number, hung: readonly string[]): string {
  const wrong = [
    ...(overlaps > 0 ? [`${overlaps} overlaps`] : []),
    ...(untold > 0 ? [`${untold} half-made changes unannounced`] : []),
    ...hung.map(who => `hangs: ${who}`),
  ]
  return `FAILED: ${wrong.join(', ')}`
}

function number(value: number): string {
  return value.toLocaleString('en')
}
