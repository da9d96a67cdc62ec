import { equal, ok } from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAbout, isClass, readArgued } from './argued.ts'
import { rootOf } from './tree.ts'

test('an argument is about the mutant with its id, or with a star about many', () => {
  const one = { id: 'mutex.ts Mutex.step notify#1 drop', reason: '' }
  const many = { id: '* wait#* drop', reason: '' }

  equal(isAbout(one, 'mutex.ts Mutex.step notify#1 drop'), true)
  equal(isAbout(one, 'mutex.ts Mutex.step notify#11 drop'), false)
  equal(isAbout({ ...one, id: 'a.b' }, 'aXb'), false)
  equal(isAbout(many, 'acquire.ts acquire wait#2 drop'), true)
  equal(isAbout(many, 'acquire.ts acquire wait#2 blind'), false)
  equal(isClass(many) && !isClass(one), true)
})

test('docs/mutants.md can be read, and gives each mutant once and with a reason', () => {
  const argued = readArgued(join(rootOf(import.meta.dirname), 'docs/mutants.md'))

  ok(argued.length > 0)
  equal(new Set(argued.map(({ id }) => id)).size, argued.length)
  for (const { reason } of argued) ok(reason.length >= 9, reason)
})
