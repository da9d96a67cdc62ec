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
import { HotplugError } from '../lib/errors.ts'
import type { Acquisition } from './acquire.ts'
import { Mutex } from './mutex.ts'
import { CACHE_LINE_WORDS, type Slot, type Slots } from './slots.ts'

const GATE = 0
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
const STAMP_MAX = 2047
const RECORD = (STAMP_MAX << STAMP_SHIFT) | KIND
/** What a reader inside adds to its place. */
export const ONE_READER = 1 << 14
/** In a place: the readers inside. */
export const READERS = 0x3fff << 14
const ONE_DEATH = 1 << 28

/** How many reads one thread can hold at once. */
export const READERS_MAX = 0x3ff0
/** `READERS_MAX` as it stands in a place. */
export const READERS_LIMIT = READERS_MAX * ONE_READER

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
  readonly queue: Mutex
  readonly firstPlace: number
  /** Whether this thread owns the gate and knows it. */
  owned = false
  /** Whether who was let in last comes after a writer that died inside. */
  sick = false
  /** The place that `drain` stopped at, and what it said. */
  busyAt = 0
  busy = 0
  private readonly name: string
  private readonly slot: Slot
  private readonly slots: Slots

  constructor(slot: Slot, words: Words, index: number, name: string) {
    this.name = name
    this.slot = slot
    this.slots = slot.slots
    this.words = words
    this.at = index + GATE
    this.firstPlace = index + PLACES
    this.place = this.firstPlace + slot.index * CACHE_LINE_WORDS
    this.queue = new Mutex(slot, words, index + QUEUE, `${name}'s queue`)
    if (load(words, this.place + TOKEN) === slot.token) return
    store(words, this.place, 0)
    store(words, this.place + TOKEN, slot.token)
  }

  /** R1 to R3. */
  enter(): boolean {
    const before = add(this.words, this.place, ONE_READER) // R1
    const gate = load(this.words, this.at) // R2
    const isFull = (before & READERS) >= READERS_LIMIT
    this.sick = (gate & SICK) !== 0
    if (gate >>> OWNER_SHIFT === 0 && !isFull) return true
    this.leave() // R3
    if (isFull) refuseMoreReaders(this.name)
    return false
  }

  /** R3, R4. */
  leave(): void {
    const before = add(this.words, this.place, -ONE_READER)
    if ((before & DRAIN) !== 0 && (before & READERS) === ONE_READER) this.wakeDrain()
  }

  wakeDrain(): void {
    and(this.words, this.place, ~DRAIN)
    notify(this.words, this.place)
  }

  /** W1. */
  close(): boolean {
    const gate = load(this.words, this.at)
    if (gate >>> OWNER_SHIFT !== 0) return false
    const mine = (this.slot.token << OWNER_SHIFT) | gate
    if (compareExchange(this.words, this.at, gate, mine) !== gate) return false
    this.owned = true
    this.sick = gate !== 0
    return true
  }

  /** W2, from the place `from` on. True if no reader is inside; else sleep on `busyAt`. */
  drain(from: number): boolean {
    const end = this.firstPlace + this.slots.nrSlots * CACHE_LINE_WORDS
    for (let at = from; at < end; at += CACHE_LINE_WORDS) {
      let place = load(this.words, at)
      while ((place & READERS) !== 0 && this.livesAt(at)) {
        this.busyAt = at
        this.busy = place | DRAIN
        if (this.busy === place) return false
        const before = compareExchange(this.words, at, place, this.busy)
        if (before === place) return false
        place = before
      }
    }
    return true
  }

  /** W3. `sick` is 0 when the writer has been inside. */
  open(sick: number): void {
    this.owned = false
    const gate = load(this.words, this.at)
    assert(gate >>> OWNER_SHIFT === this.slot.token, 'percpu-rwsem: another writer is inside')
    if ((gate & WAITERS) === 0 && compareExchange(this.words, this.at, gate, sick) === gate) return
    this.queue.lock()
    this.passOn(sick)
    this.queue.unlock()
  }

  isDetached(): boolean {
    return this.slot.token === 0
  }

  /** SICK if the gate says so. */
  sickness(): number {
    return load(this.words, this.at) & SICK
  }

  /** Q1, Q2: stands in line. Returns what to sleep on, or 0: the gate may be open now. */
  enqueue(kind: typeof READ | typeof WRITE): number {
    this.queue.lock()
    const place = load(this.words, this.place)
    const gate = load(this.words, this.at)
    const owner = gate >>> OWNER_SHIFT
    let record = 0
    if (owner !== 0 && !this.slots.isAlive(owner)) {
      this.passOn(SICK)
    } else if (owner !== 0 && this.raiseWaiters(gate)) {
      record = (this.nextStamp(gate) << STAMP_SHIFT) | kind
      or(this.words, this.place, record) // Q2
    }
    this.queue.unlock()
    return record === 0 ? 0 : place | record
  }

  /** Q3: what to sleep on, or 0: granted. */
  look(): number {
    for (;;) {
      const place = load(this.words, this.place)
      if ((place & KIND) === 0) return 0
      if (!this.repair(place)) return place
    }
  }

  /** Leaves the line. False: it has been granted meanwhile. */
  dequeue(): boolean {
    this.queue.lock()
    const place = load(this.words, this.place)
    const gate = load(this.words, this.at)
    const isWaiting = (place & KIND) !== 0 && !this.finishGrant(place, gate)
    if (isWaiting) and(this.words, this.place, ~RECORD)
    this.queue.unlock()
    return isWaiting
  }

  /**
   * Does what a dead thread did not: passes on the gate that it owned, or grants to this thread,
   * whose place reads `place`, what it was about to.
   *
   * @returns Whether there was anything to do.
   */
  repair(place: number): boolean {
    const gate = load(this.words, this.at)
    const owner = gate >>> OWNER_SHIFT
    if (this.finishGrant(place, gate)) return true
    if (owner === 0 || this.slots.isAlive(owner)) return false
    this.queue.lock()
    const again = load(this.words, this.at)
    if (again >>> OWNER_SHIFT === owner) this.passOn(SICK)
    this.queue.unlock()
    return true
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

  /** P4, for one that died after P3. */
  private finishGrant(place: number, gate: number): boolean {
    if ((place & WRITE) === 0 || this.owned) return false
    if (gate >>> OWNER_SHIFT !== this.slot.token) return false
    and(this.words, this.place, ~RECORD)
    return true
  }

  /** P1 to P4. Call with QUEUE held, as the gate's owner or because that is dead. */
  private passOn(sick: number): void {
    const gate = load(this.words, this.at)
    if ((gate & SICK) !== sick) store(this.words, this.at, gate ^ SICK) // P1
    const waiters = this.waiters()
    for (let i = 0; i < waiters.length; i++) {
      const waiter = waiters[i]!
      if ((waiter.place & READ) !== 0) {
        this.grant(waiter, ONE_READER) // P2
        continue
      }
      const token = this.tokenOf(waiter)
      if (token === 0 || !this.slots.isAlive(token)) continue
      const rest = i + 1 < waiters.length ? WAITERS : 0
      store(this.words, this.at, (token << OWNER_SHIFT) | rest | sick) // P3
      this.grant(waiter, 0) // P4
      return
    }
    store(this.words, this.at, sick) // P3
  }

  /** Everybody in line, first come first. */
  private waiters(): Waiter[] {
    const waiters: Waiter[] = []
    for (let slot = 0; slot < this.slots.nrSlots; slot++) {
      const at = this.firstPlace + slot * CACHE_LINE_WORDS
      const place = load(this.words, at)
      if ((place & KIND) !== 0) waiters.push({ at, place })
    }
    return waiters.sort((a, b) => (a.place & RECORD) - (b.place & RECORD))
  }

  private grant(waiter: Waiter, readers: number): void {
    this.change(waiter, readers - (waiter.place & RECORD))
    notify(this.words, waiter.at)
  }

  /** Adds to a waiter's place, unless its record is gone. */
  private change({ at, place }: Waiter, delta: number): void {
    let before = place
    while ((before & RECORD) === (place & RECORD)) {
      const now = compareExchange(this.words, at, before, (before + delta) | 0)
      if (now === before) return
      before = now
    }
  }

  /** Whose place it is; 0 if it is not that waiter's any more. */
  private tokenOf({ at, place }: Waiter): number {
    const token = load(this.words, at + TOKEN)
    const again = load(this.words, at)
    return (again & RECORD) === (place & RECORD) ? token : 0
  }

  private livesAt(at: number): boolean {
    const token = load(this.words, at + TOKEN)
    return this.slots.isAlive(token)
  }

  private raiseWaiters(gate: number): boolean {
    if ((gate & WAITERS) !== 0) return true
    return compareExchange(this.words, this.at, gate, gate | WAITERS) === gate // Q1
  }

  /** Call with QUEUE held. */
  private nextStamp(gate: number): number {
    if ((gate & WAITERS) === 0) return 1
    const waiters = this.waiters()
    const last = waiters.length === 0 ? 0 : stampOf(waiters.at(-1)!)
    return last < STAMP_MAX ? last + 1 : this.renumber(waiters)
  }

  /** Gives the waiters stamps from 1 on; who dies at it has changed nobody's turn. */
  private renumber(waiters: readonly Waiter[]): number {
    for (let i = 0; i < waiters.length; i++) {
      const waiter = waiters[i]!
      this.change(waiter, (i + 1 - stampOf(waiter)) << STAMP_SHIFT)
    }
    return waiters.length + 1
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
    if (this.value !== 0) {
      this.value = this.gate.look()
      if (this.value !== 0) return false
      this.gate.sick = this.gate.sickness() !== 0
      return true
    }
    for (;;) {
      if (!this.isTurnedAway && this.gate.enter()) return true
      this.isTurnedAway = false
      this.value = this.gate.enqueue(READ)
      if (this.value !== 0) return false
    }
  }

  cancel(): void {
    if (this.gate.isDetached()) return
    if (!this.gate.dequeue()) this.gate.leave()
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
    if (!this.hasGate) {
      if (!this.getGate()) return false
      this.hasGate = true
      this.index = this.gate.firstPlace
    }
    if (this.gate.drain(this.index)) return true
    this.index = this.gate.busyAt
    this.value = this.gate.busy
    return false
  }

  cancel(): void {
    if (this.gate.isDetached()) return
    if (!this.hasGate && this.gate.dequeue()) return
    this.gate.open(this.gate.sickness())
  }

  private getGate(): boolean {
    if (this.value !== 0) {
      this.value = this.gate.look()
      if (this.value !== 0) return false
      this.gate.owned = true
      this.gate.sick = this.gate.sickness() !== 0
      return true
    }
    for (;;) {
      if (this.gate.close()) return true
      this.value = this.gate.enqueue(WRITE)
      if (this.value !== 0) return false
    }
  }
}

/** Whether no writer owns the gate that reads so: its last may have died inside. */
export function isOpen(gate: number): boolean {
  return gate >>> OWNER_SHIFT === 0
}

function stampOf(waiter: Waiter): number {
  return (waiter.place >>> STAMP_SHIFT) & STAMP_MAX
}

/** @throws {HotplugError} `EAGAIN`, always. */
export function refuseMoreReaders(name: string): never {
  const reason = `this thread reads ${READERS_MAX} times already`
  throw new HotplugError('EAGAIN', `read ${name}`, reason)
}
