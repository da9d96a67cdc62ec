import { deepEqual, equal } from 'node:assert/strict'
import { constants } from 'node:os'
import { test } from 'node:test'
import { HOTPLUG_CODES, HotplugError } from './errors.ts'

test("codes are errno's, each once, in order", () => {
  for (const code of HOTPLUG_CODES) {
    const isKnown = code === 'ENOTRECOVERABLE' || code === 'EOWNERDEAD' || code in constants.errno
    equal(isKnown, true, code)
  }
  deepEqual([...new Set(HOTPLUG_CODES)].sort(), [...HOTPLUG_CODES])
})

test('what callers may match on is there, also what nothing throws yet', () => {
  for (const code of ['EINTR', 'ENOTRECOVERABLE'] as const) {
    equal(HOTPLUG_CODES.includes(code), true)
    equal(new HotplugError(code, 'do it', 'it cannot be').message, `do it: it cannot be (${code})`)
  }
})
