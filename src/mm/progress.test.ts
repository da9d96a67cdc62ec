/* What operations on memory say of how far they are. */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import {
  assertWhole,
  bootSmall,
  listenTo,
  MovingPages,
  SMALL,
  snapshot,
} from '../../test/bodies/blocks.ts'
import type { Machine, OperationOptions, Progress } from '../index.ts'

const PAGES = SMALL.blockSize / SMALL.pageSize

/** Notes each report as `offline memory1: 0 of 7`. */
class Reports {
  readonly texts: string[] = []
  readonly all: Progress[] = []

  readonly onProgress = (progress: Progress): void => {
    const { operation, pagesMoved, pagesLeft } = progress
    this.all.push(progress)
    this.texts.push(`${operation}: ${pagesMoved} of ${pagesMoved + pagesLeft}`)
  }
}

test('every operation reports its beginning and its end', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  const pages = new MovingPages(machine)
  pages.open(7)
  const reports = new Reports()

  await memory.add('8MiB', { ...reports, autoOnline: 'offline' })
  await memory.online(2, 'online', reports)
  await memory.offline(1, reports)
  await memory.remove(1, reports)

  const [first, ...rest] = reports.texts.filter(text => text.startsWith('offline'))
  match(first!, /^offline memory1: 0 of \d+$/) // lists of threads count until they are drained
  equal(rest.at(-1), 'offline memory1: 7 of 7')
  deepEqual(
    reports.texts.filter(text => !text.startsWith('offline')),
    [
      `add 8 MiB: 0 of ${2 * PAGES}`,
      `add 8 MiB: ${PAGES} of ${2 * PAGES}`,
      `add 8 MiB: ${2 * PAGES} of ${2 * PAGES}`,
      `online memory2: 0 of ${PAGES}`,
      `online memory2: ${PAGES} of ${PAGES}`,
      `remove memory1: 0 of ${PAGES}`,
      `remove memory1: ${PAGES} of ${PAGES}`,
    ],
  )
  ok(reports.all.every(({ elapsedMs }) => elapsedMs >= 0))
})

test('a resize reports each block beside what is done to it', async t => {
  const machine = await bootSmall(t)
  const reports = new Reports()

  await machine.memory.resize('16MiB', reports)

  const grown = reports.texts.splice(0)
  deepEqual(
    grown.filter(text => text.startsWith('resize')),
    [0, 1, 2, 2].map(n => `resize to 16 MiB: ${n * PAGES} of ${2 * PAGES}`),
  )
  for (const what of ['add 4 MiB', 'online memory2', 'online memory3']) {
    ok(grown.includes(`${what}: ${PAGES} of ${PAGES}`), what)
  }
  await machine.memory.resize('12MiB', reports)
  equal(reports.texts[0], `resize to 12 MiB: 0 of ${PAGES}`)
  ok(reports.texts.some(text => text.startsWith('offline memory3')))
  equal(reports.all.at(-1)!.pagesLeft, 0)
})

test('a resize reports while it compacts, and while what is free leaves', async t => {
  const machine = await bootSmall(t, { memory: '16MiB' })
  const map = machine.map<string>('m', { codec: 'utf8' })
  for (let i = 0; i < 5000; i++) map.set(`${i}`, 'x'.repeat(2000))
  for (let i = 0; i < 5000; i += 4) map.delete(`${i}`)
  const reports = new Reports()

  await machine.memory.resize('8MiB', reports)

  const isOfBlock = (text: string): boolean => text.startsWith('offline')
  const compacting = reports.all.slice(0, reports.texts.findIndex(isOfBlock))
  ok(compacting.every(({ operation }) => operation === 'resize to 8 MiB'))
  ok(compacting.length > 1 && compacting.at(-1)!.pagesMoved > 0, reports.texts.join())
  const trimming = reports.all.slice(reports.texts.findLastIndex(isOfBlock) + 1)
  ok(trimming.length > 1 + machine.memory.blocks().length, reports.texts.join())
  equal(map.get('1')?.length, 2000)
})

test('what a report throws ends what has not been done, which is as it was', async t => {
  const machine = await bootSmall(t)
  const { memory } = machine
  await memory.add('4MiB', { autoOnline: 'offline' })
  const told = listenTo(machine)
  const before = snapshot(machine)
  const onProgress = (): void => {
    throw new Error('enough')
  }
  const atTheEnd = ({ pagesLeft }: Progress): void => {
    if (pagesLeft === 0) throw new Error('enough')
  }
  const calls: readonly (() => Promise<unknown>)[] = [
    () => memory.add('8MiB', { onProgress }),
    () => memory.add('8MiB', { onProgress: atTheEnd }),
    () => memory.online(2, 'online', { onProgress }),
    () => memory.offline(1, { onProgress }),
    () => memory.remove(2, { onProgress }),
    () => memory.resize('4MiB', { onProgress }),
  ]

  for (const call of calls) await rejects(call(), { message: 'enough' })

  deepEqual(snapshot(machine), before)
  deepEqual(told, [])
  assertWhole(machine)
})

const DONE: readonly [string, (machine: Machine, options: OperationOptions) => Promise<unknown>][] =
  [
    ['online memory1', ({ memory }, options) => memory.online(1, 'online', options)],
    ['remove memory1', ({ memory }, options) => memory.remove(1, options)],
  ]

for (const [operation, call] of DONE) {
  test(`what the last report of ${operation} throws is a warning: it is done`, async t => {
    const machine = await bootSmall(t)
    await machine.memory.offline(1)
    const onProgress = ({ pagesLeft }: Progress): void => {
      if (pagesLeft === 0) throw new Error('too late')
    }

    const warned = once(process, 'warning')
    await call(machine, { onProgress })

    const [{ message }] = (await warned) as [Error]
    equal(message, `the progress report failed at the end of ${operation}: too late`)
    assertWhole(machine)
  })
}
