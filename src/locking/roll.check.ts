/*
 * The roll: a thread that has gone is noticed, by whoever sleeps on the doorbell between its looks.
 */
import { load, notify, store, type Words, wait } from '#atomics'
import { model, mustFail } from '../check/model.ts'
import { Roll } from './roll.ts'
import { Slots, Status, type ThreadOracle } from './slots.ts'

const CALLED = 0

interface Face {
  readonly s: Words
  readonly r: Words
  readonly id: number
}

function oracleOf(id: number): ThreadOracle {
  return { tid: id + 1, start: 1, exists: () => true }
}

/** The service thread's part: calls the roll until somebody has gone. */
function caller({ s, r }: Face, Kind: typeof Roll): void {
  const slots = new Slots(s)
  const roll = new Kind(slots)
  store(r, CALLED, 1)
  notify(r, CALLED)
  for (;;) {
    const bell = load(s, 0)
    const hasChanged = roll.hasChanged()
    if (hasChanged) break
    wait(s, 0, bell)
  }
  let nrGone = 0
  for (let i = 0; i < slots.nrSlots; i++) {
    const state = slots.stateAt(i)
    if (state > Status.Alive) nrGone++
  }
  if (nrGone !== 1) throw new Error(`${nrGone} have gone`)
}

/** Comes and goes. */
function visitor({ s, r, id }: Face): void {
  wait(r, CALLED, 0)
  new Slots(s).attach(oracleOf(id)).detach()
}

/** Comes, and stays: for whoever calls the roll, nothing has changed. */
function guest({ s, r, id }: Face): void {
  wait(r, CALLED, 0)
  new Slots(s).attach(oracleOf(id))
}

/** One who calls, one who comes and goes. */
function leaving(name: string, Kind: typeof Roll) {
  return model({
    name,
    shared: t => ({ s: t.int32(Slots.words(1)), r: t.int32({ CALLED: 0 }) }),
    threads: [
      { name: 'visitor', body: visitor },
      { name: 'caller', body: face => caller(face, Kind) },
    ],
  })
}

/** Does not look whose the slot was. */
class ForgetsGenerations extends Roll {
  protected override isDeparture(before: number, after: number): boolean {
    return super.isDeparture(before & 3, after & 3)
  }
}

/** What `npm run check` runs. */
export const models = [
  leaving('roll: one comes and goes', Roll),
  model({
    name: 'roll: one comes and stays, one comes and goes',
    shared: t => ({ s: t.int32(Slots.words(2)), r: t.int32({ CALLED: 0 }) }),
    threads: [
      { name: 'guest', body: guest },
      { name: 'visitor', body: visitor },
      { name: 'caller', body: face => caller(face, Roll) },
    ],
  }),
  mustFail(leaving('roll: sees only whether a slot is taken', ForgetsGenerations), {
    kind: 'deadlock',
  }),
]
