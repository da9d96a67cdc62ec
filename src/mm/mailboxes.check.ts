/*
 * Mailboxes: a caller that asks, threads that answer, leave and come again, and a death of any.
 */
import { add, compareExchange, load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { acquire } from '../locking/acquire.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from '../locking/slots.ts'
import { type Answer, type Box, Delivery, LETTER_MASK, Mailboxes } from './mailboxes.ts'

const OWNER = CACHE_LINE_WORDS
const POST = OWNER + 1
const ANSWERED = OWNER + 2
const CODE = OWNER + 5
const NR_WORDS = Mailboxes.words(1)
const NR_BOXES = 3
/** A thread that was in the first slot. */
const DEAD = tokenOf(0, 5)
/** The box is open, and the first thread's. */
const MINE = (tokenOf(0, 0) << 1) | 1
/** Letters; the second is the last that a thread waits for. */
const FIRST = 1
const LAST = 2
const SEQUENCE_SHIFT = 18

type Kind = typeof Mailboxes
type Parcel = typeof Delivery

interface Face {
  readonly s: Words
  readonly b: Words
  readonly seen: Words
  readonly id: number
}

function boxesOf({ s, b, id }: Face, K: Kind): Mailboxes {
  return new K(slotOf(s, id), b)
}

/** Asks so much of whoever has a box now. */
function ask(face: Face, K: Kind, P: Parcel, letters: readonly number[]): void {
  const boxes = boxesOf(face, K)
  for (const letter of letters) {
    const open = boxes.list()
    for (let i = 0; i < open.length; i++) askOne(boxes, open[i]!, letter, P)
  }
}

/** Asks twice who has the first box, and who is there until the last letter. */
function askTwice(face: Face, K: Kind, P: Parcel): void {
  const boxes = boxesOf(face, K)
  const [first] = boxes.list()
  const code = askOne(boxes, first!, FIRST, P)
  assert(code === FIRST, 'an answer was lost')
  askOne(boxes, first!, LAST, P)
}

/** An answer must be the letter's own. */
function askOne(boxes: Mailboxes, box: Box, letter: number, P: Parcel): number {
  const delivery = new P(boxes, box, letter)
  acquire(delivery)
  const code = delivery.answer === null ? 0 : delivery.answer.code
  if (code !== 0 && code !== letter) throw new Error(`${letter} was answered by ${code}`)
  return code
}

/** Answers each letter by its own number, until the last. */
function answerAll(face: Face, K: Kind, box = 0): void {
  const boxes = boxesOf(face, K)
  for (;;) {
    const post = boxes.pending(box)
    if (post === 0) {
      const answered = load(face.b, ANSWERED)
      wait(face.b, POST, answered)
      continue
    }
    const letter = post & LETTER_MASK
    add(face.seen, 0, 1)
    boxes.answer(box, post, { code: letter, text: '' })
    if (letter === LAST) break
  }
  boxes.close(box)
}

/** Answers what is there, leaves; so many times. */
function comeAndGo(face: Face, K: Kind, times: number): void {
  const boxes = boxesOf(face, K)
  for (let i = 0; i < times; i++) {
    const isMine = boxes.isMine(0)
    const box = isMine ? 0 : boxes.open(0)
    if (box === -1) return
    const post = boxes.pending(0)
    if (post !== 0) boxes.answer(0, post, { code: post & LETTER_MASK, text: '' })
    boxes.close(0)
  }
}

function opensAndAnswers(face: Face): void {
  boxesOf(face, Mailboxes).open(0)
  answerAll(face, Mailboxes)
}

/** Tries to open the box, and closes what it opened. */
function visitor(face: Face): void {
  const boxes = boxesOf(face, Mailboxes)
  const box = boxes.open(0)
  if (box !== -1) boxes.close(box)
}

/** Caller and called in one: what is listed, delivered, posted over, answered. */
function alone(face: Face): void {
  const boxes = boxesOf(face, Mailboxes)
  leavesLetter(boxes)
  listsInOrder(boxes)
  const box = boxes.list()[0]!
  const first = boxes.deliver(box, LAST)
  const pending = boxes.pending(box.box)
  assert(pending === 0, 'a letter was there before')
  isBehind(first, LAST, false)
  first.step()
  const bell = load(face.b, 0)
  assert(first.value === bell && bell !== 0, 'it would sleep on another value')
  isBehind(first, LAST, true)
  isBehind(first, FIRST, false)
  answerOne(boxes, box.box, LAST)
  isBehind(first, LAST, false)
  const isAnswered = first.step()
  assert(isAnswered && first.answer?.code === LAST && first.answer.text === 'no', 'no answer')
  const second = boxes.deliver(box, LAST)
  second.postOver()
  answerOne(boxes, box.box, LAST)
  boxes.close(box.box)
  const isMine = boxes.isMine(box.box)
  assert(!isMine, 'the box is closed')
}

/** A letter that was not answered is not one to the next owner. */
function leavesLetter(boxes: Mailboxes): void {
  const before = boxes.open(1)
  const listed = boxes.list()
  boxes.deliver(listed[0]!, FIRST).step()
  boxes.close(before)
  const box = boxes.open(1)
  const pending = boxes.pending(box)
  assert(box === before && pending === 0, 'a letter to another is pending')
  boxes.close(box)
}

/** The highest priority first, then the first that was opened. */
function listsInOrder(boxes: Mailboxes): void {
  for (let box = 0; box < NR_BOXES; box++) boxes.open(1)
  boxes.close(0)
  boxes.open(1)
  boxes.close(2)
  boxes.open(7)
  const listed = boxes.list()
  const [first, second, third] = listed as [Box, Box, Box]
  const isOrdered = first.box === 2 && second.box === 1 && third.box === 0
  assert(isOrdered, `in order: ${first.box}, ${second.box}, ${third.box}`)
}

function answerOne(boxes: Mailboxes, box: number, letter: number): void {
  const post = boxes.pending(box)
  const isMine = boxes.isMine(box)
  assert(isMine && (post & LETTER_MASK) === letter, `${post} is pending, not ${letter}`)
  boxes.answer(box, post, { code: letter, text: 'no' })
}

function isBehind(delivery: Delivery, letter: number, expected: boolean): void {
  const isThere = delivery.isBehind(letter)
  assert(isThere === expected, `letter ${letter} is ${isThere ? '' : 'not '}unanswered`)
}

/** Opens two boxes one after the other, after others. */
function opensTwo(face: Face): void {
  const boxes = boxesOf(face, Mailboxes)
  for (let i = 0; i < 2; i++) {
    const box = boxes.open(0)
    boxes.close(box)
  }
  const first = boxes.open(0)
  const second = boxes.open(0)
  const open = boxes.list().map(({ box }) => box)
  assert(open.indexOf(first) < open.indexOf(second), 'who came first is listed last')
}

/** Closes its box twice. */
function closesTwice(face: Face): void {
  const boxes = boxesOf(face, Mailboxes)
  boxes.close(0)
  boxes.close(0)
}

/** What it opens is its own until it closes it. */
function opensOne(face: Face): void {
  const boxes = boxesOf(face, Mailboxes)
  const box = boxes.open(0)
  if (box === -1) return
  const isMine = boxes.isMine(box)
  assert(isMine, 'a box was closed by another')
  boxes.close(box)
}

/** Recovers boxes of the dead, as every thread does that finds one dead. */
function recoverer(face: Face): void {
  boxesOf(face, Mailboxes).recover(DEAD)
}

function reap(face: Face, dead: number, K: Kind): void {
  const slots = new Slots(face.s)
  slots.register(boxesOf(face, K))
  slots.close(dead, 0)
}

/** The box is open from the beginning, and thread 0's. */
function opened(words: Words): void {
  words[OWNER] = MINE
}

/** One asks twice, one answers. */
function asking(name: string, K: Kind, P: Parcel = Delivery) {
  return model({
    name,
    shared: t => ({
      b: t.int32(NR_WORDS, { init: opened }),
      seen: t.int32(1),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [
      { name: 'thread', body: face => answerAll(face, K) },
      { name: 'caller', body: face => askTwice(face, K, P) },
    ],
    atEnd: s => s.seen[0] === 2,
  })
}

/** The same; another would like to have a box, and rings when it closes it. */
function visiting(name: string, nrBoxes: number) {
  return model({
    name,
    shared: t => ({
      b: t.int32(Mailboxes.words(nrBoxes), { init: opened }),
      seen: t.int32(1),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      { name: 'thread', body: face => answerAll(face, Mailboxes) },
      { name: 'caller', body: face => askTwice(face, Mailboxes, Delivery) },
      { name: 'visitor', body: visitor },
    ],
    atEnd: s => s.b[OWNER] === 0,
  })
}

/** One opens a box with a letter to who had it before; one asks, if it is open. */
function beginning(name: string) {
  return model({
    name,
    shared: t => ({
      b: t.int32(NR_WORDS, { init: words => (words[POST] = (1 << SEQUENCE_SHIFT) | FIRST) }),
      seen: t.int32(1),
      s: t.int32(Slots.words(2), { init: aliveThreads }),
    }),
    threads: [
      { name: 'caller', body: face => ask(face, Mailboxes, Delivery, [LAST]) },
      { name: 'thread', daemon: true, body: opensAndAnswers },
    ],
  })
}

/** Threads at so many boxes. */
function opening(
  name: string,
  bodies: readonly ((face: Face) => void)[],
  nrBoxes: number,
  owner = 0,
) {
  return model({
    name,
    shared: t => ({
      b: t.int32(Mailboxes.words(nrBoxes), { init: words => (words[OWNER] = owner) }),
      seen: t.int32(1),
      s: t.int32(Slots.words(bodies.length), { init: aliveThreads }),
    }),
    threads: bodies.map((body, i) => ({ name: `thread ${i + 1}`, body })),
    atEnd: s => owner === 0 || s.b[OWNER] === 0,
  })
}

/** The same, and one of them dies; another caller says the last word. */
function dying(name: string, K: Kind, P: Parcel = Delivery) {
  return model({
    name,
    shared: t => ({
      b: t.int32(NR_WORDS, { init: opened }),
      seen: t.int32(1),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      { name: 'thread', body: face => answerAll(face, K) },
      { name: 'caller', body: face => ask(face, K, P, [FIRST, LAST]) },
      {
        name: 'successor',
        daemon: true,
        body: face => {
          const dead = face.awaitDeath()
          reap(face, dead, K)
          if (dead === 1) ask(face, K, P, [LAST])
        },
      },
    ],
    deaths: 1,
    atEnd: s => (s.dead(0) ? s.b[OWNER] === 0 : s.seen[0] === s.b[ANSWERED]! >>> SEQUENCE_SHIFT),
  })
}

/** One asks twice, while the box closes and is opened anew, by its thread and by another. */
function leaving(name: string, K: Kind, P: Parcel = Delivery) {
  return model({
    name,
    shared: t => ({
      b: t.int32(NR_WORDS, { init: opened }),
      seen: t.int32(1),
      s: t.int32(Slots.words(3), { init: aliveThreads }),
    }),
    threads: [
      { name: 'thread', body: face => comeAndGo(face, K, 2) },
      { name: 'another', body: face => comeAndGo(face, K, 1) },
      { name: 'caller', body: face => ask(face, K, P, [FIRST, LAST]) },
    ],
    atEnd: s => s.b[OWNER] === 0,
  })
}

/** Says that it has answered, then what. */
class AnswersTooEarly extends Mailboxes {
  override answer(_box: number, post: number, { code }: Answer): void {
    store(this.words, ANSWERED, post)
    store(this.words, CODE, code)
    ring(this.words)
  }
}

/** Answers, and does not say so. */
class AnswersSilently extends Mailboxes {
  override answer(_box: number, post: number, { code }: Answer): void {
    store(this.words, CODE, code)
    store(this.words, ANSWERED, post)
  }
}

/** Leaves, and does not say so. */
class LeavesSilently extends Mailboxes {
  override close(): void {
    store(this.words, OWNER, 0)
  }
}

/** Keeps the answer that was given to the box before. */
class KeepsAnswer extends Mailboxes {
  override open(): number {
    const token = this.slot.token << 1
    if (compareExchange(this.words, OWNER, 0, token) !== 0) return -1
    const post = load(this.words, POST)
    store(this.words, ANSWERED, post)
    store(this.words, OWNER, token | 1)
    return 0
  }
}

/** Takes the box, whoever was faster. */
class OpensBlindly extends Mailboxes {
  override open(): number {
    const owner = load(this.words, OWNER)
    if (owner !== 0) return -1
    store(this.words, CODE, 0)
    const post = load(this.words, POST)
    store(this.words, ANSWERED, post)
    store(this.words, OWNER, (this.slot.token << 1) | 1)
    return 0
  }
}

/** Closes the boxes of the dead, and wakes nobody. */
class RecoversSilently extends Mailboxes {
  override recover(token: number): void {
    const owner = load(this.words, OWNER)
    if (owner >>> 1 === token) compareExchange(this.words, OWNER, owner, 0)
  }
}

/** Wakes only if it finds something to do. */
class RecoversOnce extends Mailboxes {
  override recover(token: number): void {
    const owner = load(this.words, OWNER)
    if (owner >>> 1 === token) super.recover(token)
  }
}

/** Looks at the bell after it has looked at the box. */
class LooksTooLate extends Delivery {
  override step(): boolean {
    const isOver = super.step()
    this.value = load(this.words, 0)
    return isOver
  }
}

/** Posts over what nobody has answered. */
class PostsOver extends Delivery {
  override step(): boolean {
    if (!this.isPosted) this.postOver()
    return super.step()
  }
}

/** Posts, and wakes nobody. */
class PostsSilently extends Delivery {
  override postOver(): void {
    const inside = this as unknown as { letter: number }
    const before = load(this.words, POST)
    inside.letter = (((before >>> SEQUENCE_SHIFT) + 1) << SEQUENCE_SHIFT) | inside.letter
    store(this.words, POST, inside.letter)
    this.isPosted = true
  }

  override step(): boolean {
    if (!this.isPosted) this.postOver()
    return super.step()
  }
}

function ring(words: Words): void {
  add(words, 0, 1)
  notify(words, 0)
}

/** What `npm run check` runs. */
export const models = [
  opening('mailboxes: one alone', [alone], NR_BOXES),
  opening('mailboxes: one opens, another two', [visitor, opensTwo], NR_BOXES),
  opening('mailboxes: one closes twice, another opens', [closesTwice, opensOne], 1, MINE),
  opening('mailboxes: two recover, one opens', [recoverer, recoverer, opensOne], 1, DEAD << 1),
  visiting('mailboxes: one asks twice, another tries to open', 1),
  visiting('mailboxes: one asks twice, another opens', 2),
  beginning('mailboxes: a letter to the last owner was not answered'),
  asking('mailboxes: one asks twice', Mailboxes),
  dying('mailboxes: one asks twice, one of both dies', Mailboxes),
  leaving('mailboxes: the box closes and is opened anew', Mailboxes),
  mustFail(asking('mailboxes: answers before it says what', AnswersTooEarly), {
    kind: 'exception',
  }),
  mustFail(asking('mailboxes: answers silently', AnswersSilently), { kind: 'deadlock' }),
  mustFail(asking('mailboxes: looks at the bell last', Mailboxes, LooksTooLate), {
    kind: 'deadlock',
  }),
  mustFail(asking('mailboxes: posts silently', Mailboxes, PostsSilently), { kind: 'deadlock' }),
  mustFail(leaving('mailboxes: leaves silently', LeavesSilently), { kind: 'deadlock' }),
  mustFail(leaving('mailboxes: keeps the answer of before', KeepsAnswer), { kind: 'exception' }),
  mustFail(leaving('mailboxes: opens what another has', OpensBlindly)),
  mustFail(dying('mailboxes: recovers silently', RecoversSilently), { kind: 'deadlock' }),
  mustFail(dying('mailboxes: wakes nobody for a dead caller', RecoversOnce), {
    kind: 'deadlock',
  }),
  mustFail(dying('mailboxes: posts over a letter', Mailboxes, PostsOver), { kind: 'atEnd' }),
]
