import { equal } from 'node:assert/strict'
import { test } from 'node:test'
import { hasShrunk, type Shrunk } from './shrink.ts'

test('act one is as it must be if no record is wrong and most of the memory went back', () => {
  const shrunk = (way: Shrunk['way'], leftBytes: number, more: Partial<Shrunk> = {}): Shrunk => {
    const none = { records: 1, loadedBytes: 100, returnedBytes: 0, discards: false, wrong: 0 }
    return { ...none, way, leftBytes, ...more }
  }
  const others = [shrunk('a Map per thread', 90), shrunk('lmdb', 70)]
  const good = { discards: true, returnedBytes: 60 }

  equal(hasShrunk([...others, shrunk('hotplug', 30, good)]), true)
  equal(hasShrunk([...others, shrunk('hotplug', 45, { ...good, returnedBytes: 45 })]), false)
  equal(hasShrunk([shrunk('lmdb', 170), shrunk('hotplug', 105, good)]), false)
  equal(hasShrunk([...others, shrunk('hotplug', 30, { ...good, returnedBytes: 0 })]), false)
  equal(hasShrunk([...others, shrunk('hotplug', 30, { ...good, wrong: 1 })]), false)
  equal(hasShrunk([shrunk('lmdb', 20), shrunk('hotplug', 30, good)]), false)
  equal(hasShrunk([...others, shrunk('hotplug', 95)]), true)
  equal(hasShrunk(others), false)
})
