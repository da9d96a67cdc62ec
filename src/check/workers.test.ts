import { equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { hotplugCheck, type Said } from './stranger.test.fixture.ts'

const LOCK = `
import { model, mustFail } from 'hotplug/check'

const lock = m => {
  while (Atomics.compareExchange(m, 0, 0, 1) !== 0) {
    Atomics.compareExchange(m, 0, 1, 2)
    Atomics.wait(m, 0, 2)
  }
}
const unlock = m => {
  if (Atomics.sub(m, 0, 1) === 1) return
  Atomics.store(m, 0, 0)
  Atomics.notify(m, 0, 1)
}
const body = ({ m }) => {
  lock(m)
  Atomics.add(m, 1, 1)
  unlock(m)
}
const shared = t => ({ m: t.int32({ LOCK: 0, DATA: 1 }) })

export const asleep = mustFail(
  model({ name: 'asleep', shared, threads: [{ name: 'locker', count: 3, body }] }),
  { kind: 'deadlock', steps: 14 },
)
export const dead = mustFail(
  model({ name: 'dead', shared, deaths: 1, threads: [{ name: 'locker', count: 2, body }] }),
  { kind: 'deadlock' },
)
export const two = model({ name: 'two', shared, threads: [{ name: 'locker', count: 2, body }] })
`

const inTurns = (...args: string[]): Said => hotplugCheck({ 'lock.check.js': LOCK }, ...args)

test('a schedule ends on real threads as in the model, and sleepers are really asleep', () => {
  const { status, stdout } = inTurns('--only', 'asleep', '--workers', '--json')

  equal(status, 0, stdout)
  const [{ asleep }] = JSON.parse(stdout)
  equal(asleep.length, 1)
  match(asleep[0], /^locker\d$/)
})

test('a death of the schedule is the death of a real thread', () => {
  const { status, stdout } = inTurns('--only', 'dead', '--workers')

  equal(status, 0, stdout)
  match(stdout, /fails, as it must: deadlock in \d+ steps, so do real threads/)
})

test('a schedule that is not a failure is replayed too, also one that stops half way', () => {
  const whole = inTurns('--only', 'two', '--replay', '01110000111', '--workers')
  const half = inTurns('--only', 'two', '--replay', '0011', '--workers')

  match(whole.stdout, /on real threads: the same end\n/)
  match(half.stdout, /on real threads: the same end\n/)
})

test('code that goes another way on real threads is found out', () => {
  const text = `import { model } from 'hotplug/check'
    import { isMainThread } from 'node:worker_threads'
    export const one = model({
      name: 'one',
      shared: t => ({ m: t.int32({ A: 0 }) }),
      threads: [{ name: 'one', body({ m }) { Atomics.store(m, 0, isMainThread ? 1 : 2) } }],
    })`
  const { status, stderr } = hotplugCheck({ 'one.check.js': text }, '--replay', '0', '--workers')

  equal(status, 1)
  match(stderr, /step 1 is Store\(word 0, 1, 0\).*it does Store\(word 0, 2, 0\) \(EINVAL\)/)
})

test('a wait that timed out in the schedule times out on real threads', () => {
  const text = `import { model } from 'hotplug/check'
    export const one = model({
      name: 'one',
      timeouts: true,
      shared: t => ({ m: t.int32({ A: 0 }) }),
      threads: [{
        name: 'one',
        body({ m }) {
          if (Atomics.wait(m, 0, 0, 50) === 'timed-out') Atomics.store(m, 0, 1)
        },
      }],
      atEnd: s => s.m.A === 1,
    })`
  const said = hotplugCheck({ 'one.check.js': text }, '--replay', '00.0', '--workers')

  match(said.stdout, /times out/)
  match(said.stdout, /on real threads: the same end\n/)
})
