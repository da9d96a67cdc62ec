/*
 * Names of maps: two open one name, or two names, while one dies; each gets the map of its name.
 */

import { store, type Words } from '#atomics'
import { aliveThreads, codeOf, slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Slots } from '../locking/slots.ts'
import type { CollectionsContext } from './layout.ts'
import { mapOfName, nameOfMap } from './registry.ts'

const REGISTRY_WORDS = 16 + 2 * 64
/** Which map each thread got, plus 1. */
const GOT = 0

interface Face {
  readonly s: Words
  readonly r: Words
  readonly g: Words
  readonly id: number
  awaitDeath(): number
}

/** All that names of maps need of a machine. */
function contextOf({ s, r, id }: Face): CollectionsContext {
  const control = { shards: r, nrShards: 1, registry: r, seed: 0 }
  return { slot: slotOf(s, id), control, lockdep: null } as unknown as CollectionsContext
}

function opener(name: string) {
  return {
    name: `open ${name}`,
    body(face: Face): void {
      const map = mapOfName(contextOf(face), name, 'utf8')
      const again = mapOfName(contextOf(face), name, 'utf8')
      assert(map === again, 'a name is of two maps')
      const itsName = nameOfMap(contextOf(face).control, map)
      const noName = nameOfMap(contextOf(face).control, 2)
      assert(itsName === name && noName === null, `map ${map} is called ${itsName}`)
      const code = codeOf(() => mapOfName(contextOf(face), name, 'json'))
      assert(code === 'EINVAL', 'a map was opened with other options')
      store(face.g, GOT + face.id, map + 1)
    },
  }
}

/** The dead are known as such: who comes next takes the lock over. */
const RECOVERY = {
  name: 'recovery',
  daemon: true,
  body: (face: Face) => new Slots(face.s).close(face.awaitDeath(), 0),
}

function registry(name: string, names: readonly [string, string], deaths = 0) {
  const threads = names.map(opener)
  return model({
    name: `registry: ${name}`,
    shared: (t: Declare) => ({
      s: t.int32(Slots.words(3), { init: aliveThreads }),
      r: t.int32({ LOCK: 0, NR_MAPS: 1 }, { length: REGISTRY_WORDS }),
      g: t.int32({ GOT: [0, 2] }),
    }),
    threads: deaths > 0 ? [...threads, RECOVERY] : threads,
    deaths,
    timeouts: true,
    search: 'fingerprints',
    atEnd: s => {
      const [first, second] = [s.g[GOT]!, s.g[GOT + 1]!]
      if (first === 0 || second === 0) return deaths > 0
      const nrMaps = new Set(names).size
      return s.r.NR_MAPS === nrMaps && (first === second) === (nrMaps === 1)
    },
  })
}

export const models = [
  registry('two open one map', ['a', 'a']),
  registry('two open two maps', ['a', 'bc']),
  registry('one of two dies', ['a', 'a'], 1),
]
