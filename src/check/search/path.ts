/*
 * The schedule that leads to a state.
 *
 * With symmetric threads a state is kept sorted, so the thread numbers on the way there are
 * positions in sorted states. They are turned into real threads by going the way forwards.
 */
import type { Step } from '../program.ts'
import { Machine } from './machine.ts'
import type { Places } from './places.ts'
import type { Store } from './store.ts'
import { stepOf } from './tables.ts'

/** The steps from the first state to the one of the given number. */
export function pathTo(index: number, store: Store, places: Places): Step[] {
  const steps: Step[] = []
  for (let i = index; store.parent(i) >= 0; i = store.parent(i)) steps.push(stepOf(store.via(i)))
  steps.reverse()
  return places.automata.symmetric ? real(steps, places) : steps
}

function real(steps: readonly Step[], places: Places): Step[] {
  const machine = new Machine(places)
  const names = places.spec.threads.map((_, t) => t)
  return steps.map(({ thread, move }) => {
    const name = names[thread]!
    const option = machine.option(thread, move)
    if (option === null) throw new Error('a schedule that was found cannot be repeated')
    machine.step(option)
    machine.canonical(names)
    return { thread: name, move }
  })
}

/** The machine after the steps. */
export function after(steps: readonly Step[], places: Places): Machine {
  const machine = new Machine(places)
  for (const { thread, move } of steps) {
    const option = machine.option(thread, move)
    if (option === null) throw new Error('a schedule that was found cannot be repeated')
    machine.step(option)
  }
  return machine
}
