import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Ship } from './ship.ts'

const DEMO = fileURLToPath(new URL('./main.js', import.meta.url))
const SMALL = '--act ship --size 8MiB --block 4MiB --sailors 1 --watchdog 900'.split(' ')

function demo(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const
  return spawnSync(process.execPath, [DEMO, ...args], options)
}

test('a small ship sails: one object with all that npm start promises, status 0', () => {
  const { status, stdout, stderr } = demo([...SMALL, '--seconds', '800', '--seed', '3', '--json'])

  equal(stderr, '')
  const { ok: isOk, verdict, shrunk, ship } = JSON.parse(stdout)
  deepEqual([status, isOk, verdict, shrunk], [0, true, 'good', null])
  const { failed, wrong, lost, lastError, readWaits, originalsLeft, isTimeOver } = ship as Ship
  deepEqual([failed, wrong, lost, lastError, readWaits], [0, 0, 0, '', 0])
  deepEqual([ship.seed, ship.voyages, ship.voyagesDone], [3, 1, 1])
  deepEqual([originalsLeft, isTimeOver], [0, false])
  for (const { count, p50, p99, p9999, longest } of [ship.reads, ship.writes]) {
    ok(count > 0)
    ok(0 < p50 && p50 <= p99 && p99 <= p9999 && p9999 <= longest, `${[p50, p99, p9999, longest]}`)
  }
  for (const what of ['records', 'liveBytes', 'originalBlocks', 'seconds', 'operations']) {
    ok(ship[what] > 0, what)
  }
  for (const what of ['pagesMoved', 'residentBytes', 'walks', 'longestWalkMs']) {
    ok(ship[what] > 0, what)
  }
  for (const what of ['writeWaits', 'refused', 'longestBatchMs', 'returnedBytes']) {
    ok(ship[what] >= 0, what)
  }
})

test('when time is over a ship says in plain lines what was not done, status 3', () => {
  const { status, stdout, stderr } = demo([...SMALL, '--voyages', '100000', '--seconds', '0.2'])

  equal(stderr, '')
  equal(status, 3)
  match(stdout, /Time was over: \d+ of 100000 voyages were done; on the next, \d+ blocks? w/)
  match(stdout, /failed 0, wrong 0, lost 0\n/)
  match(stdout, /\nNOT ALL WAS DONE.*\n$/)
  deepEqual([stdout.includes('\r'), stdout.includes('\x1b')], [false, false])
})

test('bad options are refused in one line, status 2, before anything runs', () => {
  const { status, stdout, stderr } = demo(['--size', 'foo'])

  deepEqual([status, stdout], [2, ''])
  match(stderr, /^npm start: --size is foo, not .*\n$/)
})

test('--help names every status', () => {
  const { status, stdout } = demo(['--help'])

  equal(status, 0)
  for (const other of [0, 1, 2, 3]) match(stdout, new RegExp(`^  ${other}  `, 'm'))
})

test('when the watchdog ends act one, its process and its folder go too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hotplug-watchdog-'))
  try {
    const args = ['--act', 'shrink', '--watchdog', '0.3']
    const { status, stderr } = demo(args, { TMPDIR: folder })

    match(stderr, /watchdog: it has not ended after 0.3 s; loading into .*, for \d+ s\n/)
    equal(status, 1)
    deepEqual(readdirSync(folder), [])
    while (isInUse(folder)) await setTimeout(10)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** Whether a process has a path among its arguments. */
function isInUse(path: string): boolean {
  if (process.platform !== 'linux') return false
  return readdirSync('/proc').some(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path)
    } catch {
      return false // it is gone
    }
  })
}
