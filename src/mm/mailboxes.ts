/*
 * Mailboxes: one caller asks threads one after the other, each answers from its own event loop.
 *
 *     BELL        moves on with each answer, each box that closes, each death; the caller sleeps
 *                 on it
 *     OWNER       0, or the box's thread: token << 1 | OPEN?
 *     POST        the last letter: sequence << 18 | what it says; the box's thread sleeps on it
 *     ANSWERED    the letter that was answered last; POST if none is left to answer
 *     CODE, TEXT  that answer
 *
 *     caller                                  thread of the box
 *     C1  bell = BELL                         L1  post = POST; ANSWERED = post: sleep on POST
 *     C2  ANSWERED is my letter: take the     L2  does what the letter asks for
 *         answer; if OWNER has changed        L3  CODE, TEXT
 *         since C3, it is nobody's            L4  ANSWERED = post
 *     C3  OWNER has changed or is dead: gone  L5  W
 *     C4  not posted yet: ANSWERED = POST?
 *         POST = my letter, wake its
 *         sleeper                             close
 *     C5  sleep while BELL = bell; C1         X1  OWNER: mine -> 0    X2  W, wake my own sleep
 *
 *                                             open
 *     W   BELL + 1, wake the caller           O1  OWNER: 0 -> token
 *                                             O2  CODE = 0, PRIORITY, ORDER
 *                                             O3  ANSWERED = POST
 *                                             O4  OWNER: token | OPEN
 *
 * A letter is one word, so it is never read half. There is one caller at a time (it holds
 * `memAddRemoveLock`), and it posts nothing over a letter that is not answered (C4), so each is
 * seen; unless it says so (`postOver`), and takes back what it had asked.
 *
 * No lost wake-up. What the caller waits for happens before a W: if that comes after C1 it does not
 * sleep, or is woken. The box's thread sleeps on the word that C4 changes.
 *
 * The answer is to my letter. Only the box's thread writes CODE and TEXT, between L1 and L4 of one
 * letter, and O2 is followed by O3: whoever finds ANSWERED at its letter finds the answer to it;
 * or, if the box was opened anew meanwhile, no objection. If another opened it, C2 sees that.
 *
 * Deaths. `recover()` closes the boxes of the dead (D1), moves BELL on (D2), and wakes the sleepers
 * of all boxes (D3): a caller may have died between posting and waking.
 *
 * Checked by mailboxes.check.ts.
 */
import { add, compareExchange, load, notify, store, type Words, waitAsyncUnref } from '#atomics'
import { assert } from '../lib/assert.ts'
import type { Acquisition } from '../locking/acquire.ts'
import { CACHE_LINE_WORDS, type Recoverable, type Slot, slotOfToken } from '../locking/slots.ts'
import { readText, textWords, writeText } from './text.ts'

const BELL = 0
const NEXT_ORDER = 1

const OWNER = 0
const POST = 1
const ANSWERED = 2
const PRIORITY = 3
const ORDER = 4
const CODE = 5
const TEXT = 6

const OPEN = 1
const SEQUENCE_SHIFT = 18
/** Bits of a letter that say what it asks for; the rest tells letters apart. */
export const LETTER_MASK = (1 << SEQUENCE_SHIFT) - 1

/** Bytes of an answer's text in UTF-8; longer ones are cut. */
export const ANSWER_BYTES_MAX = 200
const BOX_WORDS = 4 * CACHE_LINE_WORDS

/** An open box, as its caller found it. */
export interface Box {
  readonly box: number
  /** Its OWNER word. */
  readonly owner: number
  /** The slot of its thread. */
  readonly slot: number
  readonly priority: number
  /** Which of several was opened first. */
  readonly order: number
}

/** What a thread says to a letter; code 0 is no objection. */
export interface Answer {
  readonly code: number
  readonly text: string
}

/** The boxes of one machine, as one thread uses them. */
export class Mailboxes implements Recoverable {
  readonly slot: Slot
  readonly words: Words
  readonly nrBoxes: number

  /** Words of shared memory that so many boxes need, zeroed. */
  static words(nrBoxes: number): number {
    return CACHE_LINE_WORDS + nrBoxes * BOX_WORDS
  }

  /** @param slot The calling thread's own; deaths that it reaps are told to the boxes. */
  constructor(slot: Slot, words: Words) {
    assert(BOX_WORDS >= TEXT + textWords(ANSWER_BYTES_MAX), 'mailboxes: a box is too small')
    this.slot = slot
    this.words = words
    this.nrBoxes = Math.floor((words.length - CACHE_LINE_WORDS) / BOX_WORDS)
    assert(words.length === Mailboxes.words(this.nrBoxes), 'mailboxes: no whole number of boxes')
    slot.slots.register(this)
  }

  /** Opens a box for the calling thread. @returns Its number; -1 if none is left. */
  open(priority: number): number {
    const token = this.slot.token << 1
    for (let box = 0; box < this.nrBoxes; box++) {
      if (compareExchange(this.words, this.at(box, OWNER), 0, token) !== 0) continue // O1
      store(this.words, this.at(box, CODE), 0) // O2
      store(this.words, this.at(box, PRIORITY), priority)
      const order = add(this.words, NEXT_ORDER, 1)
      store(this.words, this.at(box, ORDER), order)
      const post = load(this.words, this.at(box, POST))
      store(this.words, this.at(box, ANSWERED), post) // O3
      store(this.words, this.at(box, OWNER), token | OPEN) // O4
      return box
    }
    return -1
  }

  /** Closes a box of the calling thread; nothing if it is not its own any more. */
  close(box: number): void {
    const mine = (this.slot.token << 1) | OPEN
    const before = compareExchange(this.words, this.at(box, OWNER), mine, 0) // X1
    if (before !== mine) return
    this.ring() // X2
    notify(this.words, this.at(box, POST))
  }

  /** Whether the calling thread has the box. */
  isMine(box: number): boolean {
    const owner = load(this.words, this.at(box, OWNER))
    return owner === ((this.slot.token << 1) | OPEN)
  }

  /** The letter that waits for an answer of the calling thread; 0 if there is none. */
  pending(box: number): number {
    const post = load(this.words, this.at(box, POST)) // L1
    const answered = load(this.words, this.at(box, ANSWERED))
    return post === answered ? 0 : post
  }

  /**
   * Sleeps until another letter than the one that was answered last is there, or for no reason.
   * Does not keep the event loop alive.
   */
  async letter(box: number): Promise<void> {
    const answered = load(this.words, this.at(box, ANSWERED))
    await waitAsyncUnref(this.words, this.at(box, POST), answered)
  }

  /** Answers a letter that was `pending`. Call only while the box `isMine`. */
  answer(box: number, post: number, { code, text }: Answer): void {
    store(this.words, this.at(box, CODE), code) // L3
    if (code !== 0) writeText(this.words, this.at(box, TEXT), ANSWER_BYTES_MAX, text)
    store(this.words, this.at(box, ANSWERED), post) // L4
    this.ring() // L5
  }

  /** Which boxes are open: highest priority first; of those, the first that was opened. */
  list(): Box[] {
    const boxes: Box[] = []
    for (let box = 0; box < this.nrBoxes; box++) {
      const owner = load(this.words, this.at(box, OWNER))
      if ((owner & OPEN) === 0) continue
      const priority = load(this.words, this.at(box, PRIORITY))
      const order = load(this.words, this.at(box, ORDER))
      boxes.push({ box, owner, slot: slotOfToken(owner >>> 1), priority, order })
    }
    return boxes.sort((a, b) => b.priority - a.priority || (a.order - b.order) | 0)
  }

  /** Begins to ask. @param letter Within `LETTER_MASK`. */
  deliver(box: Box, letter: number): Delivery {
    return new Delivery(this, box, letter)
  }

  /** Part of `Recoverable`. */
  recover(token: number): void {
    for (let box = 0; box < this.nrBoxes; box++) {
      const owner = load(this.words, this.at(box, OWNER))
      if (owner >>> 1 === token) compareExchange(this.words, this.at(box, OWNER), owner, 0) // D1
    }
    this.ring() // D2
    for (let box = 0; box < this.nrBoxes; box++) notify(this.words, this.at(box, POST)) // D3
  }

  private ring(): void {
    add(this.words, BELL, 1) // W
    notify(this.words, BELL)
  }

  private at(box: number, field: number): number {
    return CACHE_LINE_WORDS + box * BOX_WORDS + field
  }
}

/** One letter to one box. */
export class Delivery implements Acquisition {
  readonly words: Words
  readonly index = BELL
  value = 0
  /** What was answered; null as long as there is none, and if there will be none: it is gone. */
  answer: Answer | null = null
  /** Whether the letter is in the box. */
  isPosted = false
  private readonly boxes: Mailboxes
  private readonly box: Box
  private readonly start: number
  private letter: number

  /** See `Mailboxes.deliver`. */
  constructor(boxes: Mailboxes, box: Box, letter: number) {
    assert(letter > 0 && letter <= LETTER_MASK, `mailboxes: ${letter} is no letter`)
    this.boxes = boxes
    this.words = boxes.words
    this.box = box
    this.start = CACHE_LINE_WORDS + box.box * BOX_WORDS
    this.letter = letter
  }

  /**
   * Part of `Acquisition`: whether it is answered, or the box's thread is gone.
   *
   * @throws {HotplugError} `EINVAL`: the caller's slot is detached.
   */
  step(): boolean {
    this.assertAttached()
    this.value = load(this.words, BELL) // C1
    if (this.isPosted && load(this.words, this.start + ANSWERED) === this.letter) {
      this.answer = this.read() // C2
      return true
    }
    if (this.isGone()) return true // C3
    if (!this.isPosted) this.tryPost() // C4
    return false
  }

  /** Whether what lies in the box unanswered is this. */
  isBehind(letter: number): boolean {
    const post = load(this.words, this.start + POST)
    const answered = load(this.words, this.start + ANSWERED)
    return post !== answered && (post & LETTER_MASK) === letter
  }

  /** Posts over what is not answered yet, if the box's thread is still there. Throws as `step`. */
  postOver(): void {
    this.assertAttached()
    if (this.isGone()) return
    const before = load(this.words, this.start + POST)
    this.post(before)
  }

  /** A caller that has left does not hold `memAddRemoveLock` any more: there is another. */
  private assertAttached(): void {
    this.boxes.slot.assertAttached('tell a notifier')
  }

  /** Part of `Acquisition`. The letter stays in the box. */
  cancel(): void {}

  private tryPost(): void {
    const post = load(this.words, this.start + POST)
    const answered = load(this.words, this.start + ANSWERED)
    if (post === answered) this.post(post)
  }

  private post(before: number): void {
    const sequence = (before >>> SEQUENCE_SHIFT) + 1
    this.letter = (sequence << SEQUENCE_SHIFT) | (this.letter & LETTER_MASK)
    store(this.words, this.start + POST, this.letter)
    notify(this.words, this.start + POST)
    this.isPosted = true
  }

  private read(): Answer | null {
    const code = load(this.words, this.start + CODE)
    const text = code === 0 ? '' : readText(this.words, this.start + TEXT, ANSWER_BYTES_MAX)
    const owner = load(this.words, this.start + OWNER)
    return owner === this.box.owner ? { code, text } : null
  }

  private isGone(): boolean {
    const owner = load(this.words, this.start + OWNER)
    return owner !== this.box.owner || !this.boxes.slot.slots.isAlive(owner >>> 1)
  }
}
