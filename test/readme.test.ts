import { equal, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { hotplugCheck } from '../src/check/stranger.test.fixture.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

test('the example of the README fails with the schedule that it shows', () => {
  const [, example] = /^```js\n(.*?)^```/ms.exec(readme) as unknown as [string, string]
  const [, trace] = /^```text\n(.*?)^```/ms.exec(readme) as unknown as [string, string]

  const { status, stdout } = hotplugCheck({ 'count.check.js': example })

  equal(status, 1)
  ok(stdout.includes(trace), stdout)
})

test('the README fits on one screen and a half', () => {
  ok(readme.split('\n').length <= 70)
})
