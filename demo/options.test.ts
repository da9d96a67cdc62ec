import { deepEqual, equal, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { optionsOf } from './options.ts'

const MIB = 2 ** 20

test('without options both acts run, half a gigabyte is replaced once', () => {
  const { acts, nrThreads, ship, watchdogSeconds, isJson } = optionsOf([])

  deepEqual([acts, nrThreads, watchdogSeconds, isJson], [['shrink', 'ship'], 4, 88, false])
  const { totalBytes, blockBytes, voyages, seconds } = ship
  deepEqual([totalBytes, blockBytes, voyages, seconds], [512 * MIB, 16 * MIB, 1, 45])
})

test('options are taken as they are given', () => {
  const text = '--act ship --sailors 1 --size 8388608 --value 99 --block 4MiB --voyages 2'
  const more = '--seconds 0.5 --watchdog 9 --seed 7 --json'

  const { acts, ship, watchdogSeconds, isJson } = optionsOf(`${text} ${more}`.split(' '))

  deepEqual([acts, watchdogSeconds, isJson], [['ship'], 9, true])
  deepEqual(ship, {
    ...{ totalBytes: 8 * MIB, valueBytes: 99, blockBytes: 4 * MIB, nrSailors: 1 },
    ...{ voyages: 2, seconds: 0.5, seed: 7 },
  })
})

test('what makes no sense is refused in one line that names the option', () => {
  const bad = [
    ['--act', 'two'],
    ['--threads', '0'],
    ['--threads', '-1'],
    ['--sailors', '1000'],
    ['--size', 'foo'],
    ['--size', '9GiB'],
    ['--size', '1KiB'],
    ['--value', '7'],
    ['--value', '0x10'],
    ['--block', '5MiB'],
    ['--block', '2GiB'],
    ['--voyages', '1.5'],
    ['--seconds', 'many'],
    ['--seconds', '0'],
    ['--seconds', '88'],
    ['--watchdog', '-3'],
    ['--seed', ''],
    ['--size'],
    ['--nonsense'],
  ]
  for (const args of bad) {
    throws(
      () => optionsOf(args),
      ({ message }: Error) => {
        equal(message.includes(args[0]!), true, message)
        equal(message.includes('\n'), false, message)
        return true
      },
      args.join(' '),
    )
  }
})

test('act one may have a watchdog that is shorter than act two', () => {
  equal(optionsOf(['--act', 'shrink', '--watchdog', '1']).watchdogSeconds, 1)
})
