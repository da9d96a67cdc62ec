/*
 * The gate of a per-CPU reader-writer semaphore: its shared words, and the steps that threads take
 * over them.
 *
 *     Gate      one thread's hand on the words: the lettered steps
 *     Reading   a reader's steps in order, for `acquire` or an event loop to drive
 *     Writing   a writer's
 *
 * The essay is on top of percpu-rwsem.ts. Whoever holds QUEUE holds it for a few steps only, so
 * event loops lock it as threads do.
 *
 * Checked by percpu-rwsem.check.ts.
 */
import { add, and, compareExchange, load, notify, or, store, type Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Acquisition } from './acquire.ts'
import { Mutex } from './mutex.ts'
import { CACHE_LINE_WORDS, type Slot, type Slots } from './slots.ts'

const GATE = 0
const TICKET = 1
const QUEUE = CACHE_LINE_WORDS
/** Where the slots' places begin. */
export const PLACES = 2 * CACHE_LINE_WORDS
const TOKEN = 1

const SICK = 1
const WAITERS = 2
const OWNER_SHIFT = 2

/** In a place: a writer sleeps on it until its readers have left. */
export const DRAIN = 1
const READ = 1 << 1
const WRITE = 1 << 2
const KIND = READ | WRITE
const STAMP_SHIFT = 3
const STAMP_MASK = 0x1fff
const RECORD = (STAMP_MASK << STAMP_SHIFT) | KIND
/** Brings the sign of a difference of stamps, in a place, to the sign bit. */
const AGE_SHIFT = 16
/** How many reads one thread can hold at once, and how many its operations. */
export const READERS_MAX = 0x7ff
/** What a reader inside adds to its place. */
export const ONE_READER = 1 << 16
/** In a place: the readers inside. */
export const READERS = 0xfff << 16
const ONE_DEATH = 1 << 28

/** Somebody in line: where the place is, and what it said. */
interface Waiter {
  readonly at: number
  readonly place: number
}

/** The shared words, and the steps of the essay as the calling thread does them. */
export class Gate {
  readonly words: Words
  readonly at: number
  /** The calling thread's place. */
  readonly place: number
  readonly firstPlace: number
  /** Whether who was let in last comes after a writer that died inside. */
  sick = false
  /** The place that `drain` stopped at, and what it said. */
  busyAt = 0
  busy = 0
  private readonly ticket: number
  private readonly queue: Mutex
  private readonly slot: Slot
  private readonly slots: Slots
  /** Whether this thread owns the gate and knows it. */
  private owned = false

  constructor(slot: Slot, words: Words, index: number, name: string) {
    this.slot = slot
    this.slots = slot.slots
    this.words = words
    this.at = index + GATE
    this.ticket = index + TICKET
    this.firstPlace = index + PLACES
    this.place = this.firstPlace + slot.index * CACHE_LINE_WORDS
    this.queue = new Mutex(slot, words, index + QUEUE, `${name}'s queue`)
    if (load(words, this.place + TOKEN) !== slot.token) this.takePlace()
  }

  /** R1 to R3. */
  enter(): boolean {
    add(this.words, this.place, ONE_READER) // R1
    const gate = load(this.words, this.at) // R2
    return this.isLetIn(gate)
  }

  /** What R2 saw means: true if this reader is inside, else R3. */
  isLetIn(gate: number): boolean {
    this.sick = (gate & SICK) !== 0
    if (isOpen(gate)) return true
    this.leave() // R3
    return false
  }

  /** R3, R4. */
  leave(): void {
    const before = add(this.words, this.place, -ONE_READER)
    if ((before & DRAIN) !== 0 && (before & READERS) === ONE_READER) this.wakeDrain()
  }

  /** The last reader of this thread has left, and a writer may sleep on that. */
  wakeDrain(): void {
    and(this.words, this.place, ~DRAIN)
    notify(this.words, this.place)
  }

  /** W1. */
  close(): boolean {
    const mine = this.slot.token << OWNER_SHIFT
    let gate = 0
    for (;;) {
      const before = compareExchange(this.words, this.at, gate, mine | gate) // open, SICK or not
      if (before === gate) break
      if (!isOpen(before)) return false
      gate = before
    }
    this.owned = true
    this.sick = gate === SICK
    return true
  }

  /** W2, from the place `from` on. True if no reader is inside; else sleep on `busyAt`. */
  drain(from: number): boolean {
    const end = this.firstPlace + this.slots.nrSlots * CACHE_LINE_WORDS
    this.busyAt = 0
    this.busy = 0
    for (let at = from; at < end; at += CACHE_LINE_WORDS) {
      let place = load(this.words, at)
      while ((place & READERS) !== 0 && this.livesAt(at)) {
        const busy = place | DRAIN
        if (busy === place) return this.stopAt(at, busy)
        const before = compareExchange(this.words, at, place, busy)
        if (before === place) return this.stopAt(at, busy)
        place = before
      }
    }
    return true
  }

  private stopAt(at: number, place: number): false {
    this.busyAt = at
    this.busy = place
    return false
  }

  /** W3. Unless the writer has been inside, who comes next is told what it was told. */
  open(hasBeenInside: boolean): void {
    const mine = (this.slot.token << OWNER_SHIFT) | (this.sick ? SICK : 0)
    const sick = hasBeenInside ? 0 : mine & SICK
    this.owned = false
    const gate = compareExchange(this.words, this.at, mine, sick)
    if (gate === mine) return
    assert(gate === (mine | WAITERS), 'percpu-rwsem: the gate was closed by another')
    this.queue.lock()
    this.passOn(gate, sick)
    this.queue.unlock()
  }

  /** Q1, Q2: stands in line. Returns what the place reads now. */
  join(kind: typeof READ | typeof WRITE): number {
    const ticket = add(this.words, this.ticket, 1) // Q1
    const record = ((ticket & STAMP_MASK) << STAMP_SHIFT) | kind
    const before = or(this.words, this.place, record) // Q2
    return before | record
  }

  /** Q3: tells the gate's owner of the line. Returns the gate; if it is open, nothing was done. */
  raiseWaiters(): number {
    for (;;) {
      const gate = load(this.words, this.at)
      if (isOpen(gate) || (gate & WAITERS) !== 0) return gate
      const before = compareExchange(this.words, this.at, gate, gate | WAITERS) // Q3
      if (before === gate) return gate
    }
  }

  /** Q4: whether the gate that read `gate` has a living owner; else passes it on. */
  isKept(gate: number): boolean {
    const owner = gate >>> OWNER_SHIFT
    if (this.slots.isAlive(owner)) return true
    this.queue.lock()
    const again = load(this.words, this.at)
    if (again >>> OWNER_SHIFT === owner) this.passOn(again, SICK)
    this.queue.unlock()
    return false
  }

  /** As `isKept`, whatever the gate reads. */
  repair(): boolean {
    const gate = load(this.words, this.at)
    return !isOpen(gate) && !this.isKept(gate)
  }

  /** P4 by who was granted, for a dead thread. False: not granted. */
  finishGrant(gate: number): boolean {
    if (this.owned || gate >>> OWNER_SHIFT !== this.slot.token) return false
    and(this.words, this.place, ~RECORD)
    return true
  }

  /** Q5, as the gate's owner. */
  own(): void {
    this.owned = true
    this.lookSick()
  }

  /** Whether the gate says that a writer died inside. */
  lookSick(): void {
    const gate = load(this.words, this.at)
    this.sick = (gate & SICK) !== 0
  }

  /** W1 from the line: takes the open gate. */
  closeFromLine(): boolean {
    if (!this.close()) return false
    and(this.words, this.place, ~RECORD)
    return true
  }

  /** Leaves the line, which only readers can without QUEUE. False: granted meanwhile. */
  withdraw(place: number): boolean {
    const waiter = { at: this.place, place }
    return this.change(waiter, -(place & RECORD))
  }

  /** Leaves the line for good. False: granted meanwhile. */
  dequeue(): boolean {
    this.queue.lock()
    const place = load(this.words, this.place)
    const gate = load(this.words, this.at)
    const isGranted = (place & KIND) === 0 || ((place & WRITE) !== 0 && this.finishGrant(gate))
    if (!isGranted) and(this.words, this.place, ~RECORD)
    this.queue.unlock()
    this.sick = (gate & SICK) !== 0
    return !isGranted
  }

  isDetached(): boolean {
    return this.slot.token === 0
  }

  /** @throws {HotplugError} `EINVAL`: the slot was detached while somebody waited by it. */
  assertAttached(): void {
    this.slot.assertAttached('wait for a percpu rwsem')
  }

  /** Counts a death in each place, and wakes whoever sleeps there. */
  recover(token: number): void {
    this.queue.recover(token)
    for (let slot = 0; slot < this.slots.nrSlots; slot++) {
      const at = this.firstPlace + slot * CACHE_LINE_WORDS
      add(this.words, at, ONE_DEATH)
      notify(this.words, at)
    }
  }

  /** P1 to P6. Call with QUEUE held, as the gate's owner or because that is dead. */
  private passOn(gate: number, sick: number): void {
    const shut = (gate & ~(WAITERS | SICK)) | sick
    for (;;) {
      store(this.words, this.at, shut) // P1
      if (this.serve(shut, sick)) return
      const before = compareExchange(this.words, this.at, shut, sick) // P6
      if (before === shut) return
    }
  }

  /** P2 to P5. False: no writer stands in line. */
  private serve(shut: number, sick: number): boolean {
    const waiters = this.waiters()
    const writer = this.letReadersIn(waiters)
    if (writer === undefined) return false
    const token = load(this.words, writer.at + TOKEN)
    const next = (token << OWNER_SHIFT) | (waiters.length > 0 ? WAITERS : 0) | sick
    this.hand(shut, next) // P3
    if (this.slots.isAlive(token)) {
      this.grant(writer, 0) // P4
    } else {
      const hasComeIn = !this.change(writer, -(writer.place & RECORD))
      this.passOn(next, hasComeIn ? SICK : sick) // P5
    }
    return true
  }

  /** Takes the readers let in off the line, then the first writer, which it returns. */
  private letReadersIn(waiters: Waiter[]): Waiter | undefined {
    while (waiters.length > 0) {
      const waiter = waiters.pop()!
      if ((waiter.place & READ) === 0) return waiter
      this.grant(waiter, ONE_READER) // P2
    }
    return undefined
  }

  /** P3. Whoever came after the scan has set WAITERS. */
  private hand(shut: number, next: number): void {
    const before = compareExchange(this.words, this.at, shut, next)
    if (before !== shut) store(this.words, this.at, next | WAITERS)
  }

  /** Everybody in line, first come last. */
  private waiters(): Waiter[] {
    const waiters: Waiter[] = []
    for (let slot = 0; slot < this.slots.nrSlots; slot++) {
      const at = this.firstPlace + slot * CACHE_LINE_WORDS
      const place = load(this.words, at)
      if ((place & KIND) !== 0) waiters.push({ at, place })
    }
    return waiters.sort((a, b) => (b.place - a.place) << AGE_SHIFT)
  }

  private grant({ at, place }: Waiter, readers: number): void {
    this.change({ at, place }, readers - (place & RECORD))
    notify(this.words, at)
  }

  /** Adds to a waiter's place, unless its record is gone. */
  private change({ at, place }: Waiter, delta: number): boolean {
    let before = place
    while ((before & RECORD) === (place & RECORD)) {
      const now = compareExchange(this.words, at, before, (before + delta) | 0)
      if (now === before) return true
      before = now
    }
    return false
  }

  private livesAt(at: number): boolean {
    const token = load(this.words, at + TOKEN)
    return this.slots.isAlive(token)
  }

  /** A slot's new thread: nothing of the last one is left. Others match the two with QUEUE held. */
  private takePlace(): void {
    this.queue.lock()
    store(this.words, this.place, 0)
    store(this.words, this.place + TOKEN, this.slot.token)
    this.queue.unlock()
  }
}

/** How a reader waits. */
export class Reading implements Acquisition {
  readonly words: Words
  readonly index: number
  value = 0
  private readonly gate: Gate
  private isTurnedAway: boolean

  /** @param isTurnedAway R1 to R3 were done in vain already. */
  constructor(gate: Gate, isTurnedAway: boolean) {
    this.gate = gate
    this.words = gate.words
    this.index = gate.place
    this.isTurnedAway = isTurnedAway
  }

  step(): boolean {
    this.gate.assertAttached()
    if (this.value !== 0) this.value = load(this.words, this.index)
    else if (this.getIn()) return true
    while ((this.value & KIND) !== 0) {
      const gate = this.gate.raiseWaiters()
      if (!isOpen(gate)) {
        if (this.gate.isKept(gate)) return false
        this.value = load(this.words, this.index)
      } else if (this.gate.withdraw(this.value)) {
        if (this.getIn()) return true
      } else {
        break
      }
    }
    this.gate.lookSick() // Q5
    return true
  }

  cancel(): void {
    if (this.gate.isDetached()) return
    if (!this.gate.dequeue()) this.gate.leave()
  }

  /** R1 to R3, Q1, Q2. */
  private getIn(): boolean {
    this.value = 0
    if (!this.isTurnedAway && this.gate.enter()) return true
    this.isTurnedAway = false
    this.value = this.gate.join(READ)
    return false
  }
}

/** How a writer waits: for the gate, then for the readers inside. */
export class Writing implements Acquisition {
  readonly words: Words
  index: number
  value = 0
  private readonly gate: Gate
  private hasGate = false

  constructor(gate: Gate) {
    this.gate = gate
    this.words = gate.words
    this.index = gate.place
  }

  step(): boolean {
    this.gate.assertAttached()
    if (!this.hasGate) {
      if (!this.getGate()) return false
      this.hasGate = true
      this.index = this.gate.firstPlace
    }
    this.value = 0
    if (this.gate.drain(this.index)) return true
    this.index = this.gate.busyAt
    this.value = this.gate.busy
    return false
  }

  cancel(): void {
    if (this.gate.isDetached()) return
    if (!this.hasGate && this.gate.dequeue()) return
    this.gate.open(false)
  }

  private getGate(): boolean {
    if (this.value !== 0) this.value = load(this.words, this.index)
    else if (this.closeOrJoin()) return true
    while ((this.value & KIND) !== 0) {
      const gate = this.gate.raiseWaiters()
      if (isOpen(gate)) {
        if (this.gate.closeFromLine()) return true
      } else if (this.gate.finishGrant(gate)) {
        break
      } else {
        if (this.gate.isKept(gate)) return false
        this.value = load(this.words, this.index)
      }
    }
    this.gate.own() // Q5
    return true
  }

  /** W1, or Q1, Q2. */
  private closeOrJoin(): boolean {
    if (this.gate.close()) return true
    this.value = this.gate.join(WRITE)
    return false
  }
}

/** Whether no writer owns the gate that reads so: its last may have died inside. */
function isOpen(gate: number): boolean {
  return gate >>> OWNER_SHIFT === 0
}
