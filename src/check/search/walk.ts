/*
 * Random walks that learn most of the automata, places and values before a search, so that its
 * layout need not be changed in the middle.
 */
import { Machine } from './machine.ts'
import type { Places } from './places.ts'
import { Random } from './random.ts'
import { Act } from './rows.ts'
import { ValuesOverflow } from './words.ts'

/** Stops after so many walks in a row that learned nothing. */
const IDLE_WALKS = 12
const WALKS_MAX = 400
const STEPS_MAX = 400

/** Of how many moves one, about, is a death or the like. */
const CHOICE_RARITY = 16

/** Walks until little new is met. Other walks for another seed. */
export function learn(places: Places, seed: number): void {
  const machine = new Machine(places)
  const random = new Random(seed)
  let idle = 0
  for (let walk = 0; walk < WALKS_MAX && idle < IDLE_WALKS; walk++) {
    const before = knowledge(places)
    try {
      wander(machine, random)
    } catch (error) {
      if (error instanceof ValuesOverflow) return // the search will come to it, and report it
      throw error
    }
    idle = knowledge(places) === before ? idle + 1 : 0
  }
}

function wander(machine: Machine, random: Random): void {
  machine.reset()
  for (let step = 0; step < STEPS_MAX; step++) {
    const all = machine.options()
    const usual = all.filter(({ row }) => (row.act & Act.Choice) === 0)
    const options = usual.length === 0 || random.below(CHOICE_RARITY) === 0 ? all : usual
    if (options.length === 0) return
    machine.step(random.pick(options))
  }
}

/** Grows whenever something new is met. */
function knowledge({ program, words, count }: Places): number {
  return program.nrEdges + words.count + count
}
