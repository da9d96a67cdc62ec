/*
 * Memory notifiers: who wants to know, and may object, before memory comes or goes.
 *
 * A notifier runs in the thread that registered it, by way of a mailbox (mailboxes.ts): that thread
 * waits for letters on its event loop, which this does not keep alive; whoever changes memory asks
 * one notifier after the other, highest priority first, and of equals who registered first.
 *
 *     GOING_ONLINE, GOING_OFFLINE     may be refused: whoever throws or rejects vetoes, by its code
 *                                     and message; so does whoever does not answer in time, or is
 *                                     still busy with the letter before. Then nobody else is asked
 *     CANCEL_ONLINE, CANCEL_OFFLINE   it will not be: to those that saw GOING, and only to them
 *     ONLINE, OFFLINE                 it is done: to all. Nobody can object; failures are warnings
 *
 * Each GOING has one end, also if who runs the operation dies: see ends.ts. Whoever has to tell it
 * in the place of a dead one does not know whom that had told: the notifier's thread passes over an
 * end that is the last letter that it has read; and where something else than its GOING is unread,
 * that GOING never came, so its CANCEL is not put over it.
 *
 * To those that saw GOING. The caller knows whom it asked, but an operator may die between GOING
 * and CANCEL, and whoever rolls back knows nothing. So each notifier's own thread remembers which
 * GOING it has run, and passes over a CANCEL of any other: CANCEL may be sent to all. One that is
 * late may find the CANCEL in place of the GOING that it never read, and then sees neither.
 *
 * A notifier that starts an operation on memory would wait for the operation that waits for it.
 * Those ask `insideNotifier()` and refuse with EDEADLK; it knows what runs on behalf of a notifier,
 * also after an await, until the notifier has answered.
 *
 * An operation that is out of time, or aborted, waits no longer for who is asked: that is no veto,
 * and the letter that it leaves behind gets its CANCEL as one that was answered does.
 *
 * Threads that die, detach or dispose of a notifier are passed over from then on, also by whoever
 * waits for them. A thread that blocks (`Atomics.wait`) does not answer, and vetoes by that; so one
 * that has notifiers is refused a blocking wait for the lock that callers hold (EDEADLK).
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Words } from '#atomics'
import { assert } from '../lib/assert.ts'
import { type Blocker, HOTPLUG_CODES, type HotplugCode, HotplugError } from '../lib/errors.ts'
import { Turnstile } from '../locking/acquire.ts'
import type { Mutex } from '../locking/mutex.ts'
import type { Slot } from '../locking/slots.ts'
import { type ZoneName, zoneName } from './blocks.ts'
import { BLOCKS_MAX, ZoneKind } from './geometry.ts'
import { type Answer, type Box, type Delivery, LETTER_MASK, Mailboxes } from './mailboxes.ts'
import type { Limit } from './operation.ts'

/** How long a notifier may take to answer. */
export const ANSWER_WITHIN_MS = 5000

const ACTIONS = [
  'GOING_ONLINE',
  'ONLINE',
  'CANCEL_ONLINE',
  'GOING_OFFLINE',
  'OFFLINE',
  'CANCEL_OFFLINE',
] as const
/** Distance of a CANCEL from its GOING, among these and so among letters. */
const CANCEL_AFTER_GOING = 2
const ACTION_BITS = 3
const BLOCK_BITS = 14
const NO_OBJECTION: Answer = { code: 0, text: '' }
const PRIORITY_MAX = 0x7fffffff

/** What is happening to a block. */
export type MemoryAction = (typeof ACTIONS)[number]

/** What a notifier is told. */
export interface MemoryEvent {
  readonly action: MemoryAction
  readonly block: number
  /** The zone that the block joins or leaves. */
  readonly zone: ZoneName
}

/** Told of memory that comes and goes. Throws, or rejects, to veto what is GOING to happen. */
export type MemoryNotifier = (event: MemoryEvent) => void | Promise<void>

/** Why an operation must not go on. */
export interface Veto {
  /** The notifier's own if it is one of ours, else `EBUSY`; `ETIMEDOUT` if it did not answer. */
  readonly code: HotplugCode
  /** What the notifier said. */
  readonly message: string
  /** Whose it is. */
  readonly slot: number
}

/** What came of a call. */
export interface NotifierOutcome {
  /** Those that were told, in order, the last being who vetoed, if any did. */
  readonly notified: readonly Box[]
  readonly veto: Veto | null
  /** Whose slot it waited for as the operation ran out of time, or was aborted; else -1. */
  readonly awaited: number
}

/** How to call. */
export interface CallOptions {
  /**
   * Whom: who has now the boxes that were `notified` of what is to be cancelled; all if left out.
   */
  readonly only?: readonly Box[] | undefined
  /** For how long to ask what may be refused, beside how long a notifier has to answer. */
  readonly limit?: Limit | undefined
}

/** For notifiers. */
export interface NotifyOptions {
  /** Higher ones are called first; 0 if left out. */
  readonly priority?: number
}

const storage = new AsyncLocalStorage<{ isOver: boolean }>()

/** Runs code on nobody's behalf, whatever its caller does. */
export function outsideNotifiers<T>(body: () => T): T {
  return storage.exit(body)
}

/** Whether the calling code runs on behalf of a notifier that has not answered yet. */
export function insideNotifier(): boolean {
  return storage.getStore()?.isOver === false
}

/**
 * A veto as the error of the operation that it stopped.
 *
 * @param device What was to come or go.
 */
export function vetoError(
  operation: string,
  device: string,
  { code, message, slot }: Veto,
): HotplugError {
  const owner = `slot ${slot}`
  const reason = `the notifier of ${owner} refused: ${message}`
  return new HotplugError(code, operation, reason, { blockedBy: [{ device, owner, reason }] })
}

/**
 * A notifier that an operation could wait for no longer, as what stands in its way.
 *
 * @param device What was to come or go.
 */
export function unanswered(device: string, slot: number): Blocker {
  const owner = `slot ${slot}`
  return { device, owner, reason: `the notifier of ${owner} had not answered` }
}

/** How a thread's notifiers are made. */
export interface NotifiersOptions {
  /** How long a notifier may take to answer; `ANSWER_WITHIN_MS` if left out. */
  readonly answerWithinMs?: number
  /** What callers hold: this thread does not block on it while it has notifiers. */
  readonly lock?: Pick<Mutex, 'callbacks'>
}

/** The notifiers of one machine, as one thread uses them. */
export class Notifiers {
  readonly slot: Slot
  private readonly boxes: Mailboxes
  private readonly answerWithinMs: number
  private readonly callbacks: Mutex['callbacks']

  /** Words of shared memory for so many notifiers, zeroed. */
  static words(nrNotifiers: number): number {
    return Mailboxes.words(nrNotifiers)
  }

  /**
   * @param slot The calling thread's own; deaths that it reaps are told to callers.
   * @param words Shared memory, the same in every thread.
   */
  constructor(slot: Slot, words: Words, options: NotifiersOptions = {}) {
    this.slot = slot
    this.boxes = new Mailboxes(slot, words)
    this.answerWithinMs = options.answerWithinMs ?? ANSWER_WITHIN_MS
    this.callbacks = options.lock?.callbacks ?? { count: 0 }
  }

  /**
   * From now on `listener` is told, in this thread, until the result is disposed of.
   *
   * @throws {HotplugError} `ENOSPC`: there are as many as can be. `EINVAL`: the priority is no
   *   integer of 32 bits; the slot is detached.
   */
  register(listener: MemoryNotifier, { priority = 0 }: NotifyOptions = {}): Disposable {
    const operation = 'register a memory notifier'
    this.slot.assertAttached(operation)
    if (!Number.isInteger(priority) || Math.abs(priority) > PRIORITY_MAX) {
      throw new HotplugError('EINVAL', operation, `priority ${priority} is no 32-bit integer`)
    }
    const box = this.boxes.open(priority)
    if (box === -1) {
      throw new HotplugError('ENOSPC', operation, `there are ${this.boxes.nrBoxes} already`)
    }
    return new Registration(this.boxes, box, listener, this.callbacks)
  }

  /**
   * Tells the notifiers, one after the other. Call with `memAddRemoveLock` held.
   *
   * @param zone A `ZoneKind`.
   * @returns Whom it told, and a veto if what is GOING to happen was refused; whom it waited for
   *   if `limit` ended it.
   * @throws {HotplugError} `EINVAL`: the slot is detached.
   */
  async call(
    action: MemoryAction,
    block: number,
    zone: number,
    { only, limit }: CallOptions = {},
  ): Promise<NotifierOutcome> {
    this.slot.assertAttached(`tell of ${action}`)
    // A letter may have reached who opened the box after it was listed: the cancel is for the box.
    const isTold = ({ box }: Box): boolean => only?.some(one => one.box === box) ?? true
    const boxes = this.boxes.list().filter(isTold)
    const letter = letterOf(action, block, zone)
    const isRefusable = action.startsWith('GOING_')
    const isCancel = action.startsWith('CANCEL_')
    const notified: Box[] = []
    for (const box of boxes) {
      if (isRefusable && limit?.isOver()) break
      const delivery = this.boxes.deliver(box, letter)
      const came = await this.deliver(delivery, action, letter, isRefusable ? limit : undefined)
      const isLate = came !== 'answer' && !delivery.isPosted
      if (isLate && !isRefusable && !isCancel) delivery.postOver()
      if (delivery.isPosted) notified.push(box)
      if (!isRefusable) continue
      if (came === 'limit') return { notified, veto: null, awaited: box.slot }
      const veto = came === 'answer' ? vetoOf(delivery.answer, box.slot) : this.lateVeto(box.slot)
      if (veto !== null) return { notified, veto, awaited: -1 }
    }
    return { notified, veto: null, awaited: -1 }
  }

  /**
   * @returns `answer`: or there will be none, because its thread is gone. `late`: it had its time.
   *   `limit`: whoever asks has no more of it.
   */
  private async deliver(
    delivery: Delivery,
    action: MemoryAction,
    letter: number,
    limit: Limit | undefined,
  ): Promise<'answer' | 'late' | 'limit'> {
    if (action.startsWith('CANCEL_') && delivery.isBehind(letter - CANCEL_AFTER_GOING)) {
      delivery.postOver()
      return 'answer'
    }
    const { answerWithinMs } = this
    const { signal, timeoutMs: leftMs = answerWithinMs } = limit?.acquire() ?? {}
    try {
      await new Turnstile().acquire(
        'wait',
        () => delivery,
        () => {},
        { signal, timeoutMs: Math.min(leftMs, answerWithinMs) },
      )
      return 'answer'
    } catch (error) {
      if (signal?.aborted) return 'limit'
      if (!(error instanceof HotplugError) || error.code !== 'ETIMEDOUT') throw error
      return leftMs < answerWithinMs ? 'limit' : 'late'
    }
  }

  private lateVeto(slot: number): Veto {
    const message = `it did not answer within ${this.answerWithinMs} ms`
    return { code: 'ETIMEDOUT', message, slot }
  }
}

/** One notifier, in its own thread. */
class Registration implements Disposable {
  private readonly boxes: Mailboxes
  private readonly box: number
  private readonly listener: MemoryNotifier
  private readonly callbacks: Mutex['callbacks']
  private isOpen = true
  /** The block whose GOING it has run last; null: that is over. */
  private going: MemoryEvent | null = null
  /** What the last letter said that it has read. */
  private last = 0

  constructor(
    boxes: Mailboxes,
    box: number,
    listener: MemoryNotifier,
    callbacks: Mutex['callbacks'],
  ) {
    this.boxes = boxes
    this.box = box
    this.listener = listener
    this.callbacks = callbacks
    callbacks.count++
    void this.serve()
  }

  /** Ends it; nothing if it has ended. */
  [Symbol.dispose](): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.callbacks.count--
    this.boxes.close(this.box)
  }

  private async serve(): Promise<void> {
    while (this.isOpen && this.boxes.isMine(this.box)) {
      const post = this.boxes.pending(this.box)
      if (post === 0) {
        await this.boxes.letter(this.box)
        continue
      }
      const answer = await this.run(post & LETTER_MASK)
      if (this.isOpen && this.boxes.isMine(this.box)) this.boxes.answer(this.box, post, answer)
    }
  }

  private async run(letter: number): Promise<Answer> {
    const event = eventOf(letter)
    const isAgain = letter === this.last && !event.action.startsWith('GOING_')
    this.last = letter
    if (isAgain || !this.concerns(event)) return NO_OBJECTION
    const scope = { isOver: false }
    try {
      await storage.run(scope, async () => await this.listener(event))
      return NO_OBJECTION
    } catch (error) {
      const answer = answerOf(error)
      if (this.going !== event) warn(event, answer.text)
      return answer
    } finally {
      scope.isOver = true
    }
  }

  private concerns(event: MemoryEvent): boolean {
    const { action, block } = event
    const { going } = this
    if (action.startsWith('GOING_')) {
      this.going = event
      return true
    }
    this.going = null
    if (!action.startsWith('CANCEL_')) return true
    return going?.block === block && going.action === action.replace('CANCEL_', 'GOING_')
  }
}

function letterOf(action: MemoryAction, block: number, zone: number): number {
  assert(block >= 0 && block < BLOCKS_MAX, `notifiers: there is no block ${block}`)
  assert(zone === ZoneKind.Normal || zone === ZoneKind.Movable, `notifiers: zone ${zone}`)
  const place = (zone << BLOCK_BITS) | block
  return (place << ACTION_BITS) | (ACTIONS.indexOf(action) + 1)
}

function eventOf(letter: number): MemoryEvent {
  const action = ACTIONS[(letter & ((1 << ACTION_BITS) - 1)) - 1]
  assert(action !== undefined, `notifiers: ${letter} is no letter`)
  const place = letter >>> ACTION_BITS
  return { action, block: place & (BLOCKS_MAX - 1), zone: zoneName(place >>> BLOCK_BITS) }
}

/** What was thrown, as plain fields. */
function answerOf(error: unknown): Answer {
  try {
    const { code, message } = Object(error) as { code?: unknown; message?: unknown }
    const known = HOTPLUG_CODES.indexOf(code as HotplugCode)
    const text = typeof message === 'string' ? message : String(error)
    const isOurs = error instanceof HotplugError
    return {
      code: 1 + (known === -1 ? HOTPLUG_CODES.indexOf('EBUSY') : known),
      text: isOurs ? text.slice(0, -` (${error.code})`.length) : text,
    }
  } catch {
    return { code: 1 + HOTPLUG_CODES.indexOf('EBUSY'), text: 'it threw something odd' }
  }
}

function vetoOf(answer: Answer | null, slot: number): Veto | null {
  if (answer === null || answer.code === 0) return null
  const code = HOTPLUG_CODES[answer.code - 1] ?? 'EBUSY'
  return { code, message: answer.text, slot }
}

function warn({ action, block }: MemoryEvent, text: string): void {
  process.emitWarning(`the memory notifier failed on ${action} of memory${block}: ${text}`, {
    type: 'HotplugWarning',
  })
}
