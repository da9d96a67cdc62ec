/*
 * The roll: who had a slot when it was called last.
 *
 * Threads also detach, or are closed by others, so whoever looks after what the dead leave cannot
 * go by what it has reaped itself. It keeps what each slot's STATE was at the last look: the state
 * has the generation, so a thread that came and went in between is noticed too. It rings the
 * doorbell when it frees its slot; a slot that is only closed is found at the next look.
 *
 * Checked by roll.check.ts.
 */
import { type Slots, Status } from './slots.ts'

/** What slots were at the last look. */
export class Roll {
  private readonly slots: Slots
  private readonly states: number[] = []

  /** The first look. */
  constructor(slots: Slots) {
    this.slots = slots
    for (let i = 0; i < slots.nrSlots; i++) {
      const state = slots.stateAt(i)
      this.states.push(state)
    }
  }

  /** Whether a thread has gone, or a slot was freed, since the last look. Looks again. */
  hasChanged(): boolean {
    let hasChanged = false
    for (let i = 0; i < this.slots.nrSlots; i++) {
      const before = this.states[i]!
      const state = this.slots.stateAt(i)
      if (this.isDeparture(before, state)) hasChanged = true
      this.states[i] = state
    }
    return hasChanged
  }

  /** Whether more has happened than that a slot that was free is now somebody's. */
  protected isDeparture(before: number, after: number): boolean {
    if (before === after) return false
    return (before & 3) !== Status.Free || after !== (before | Status.Alive)
  }
}
