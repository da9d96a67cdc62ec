/*
 * Mailboxes: a caller that asks, threads that answer, leave and come again, and a death of any.
 */
import { add, compareExchange, load, notify, store, type Words, wait } from '#atomics'
import { aliveThreads, slotOf } from '../../test/litmus/threads.ts'
import { model, mustFail } from '../check/model.ts'
import { acquire } from '../locking/acquire.ts'
import { CACHE_LINE_WORDS, Slots, tokenOf } from '../locking/slots.ts'
import { type Answer, Delivery, LETTER_MASK, Mailboxes } from './mailboxes.ts'

const OWNER = CACHE_LINE_WORDS
const POST = OWNER + 1
const ANSWERED = OWNER + 2
const CODE = OWNER + 5
const NR_WORDS = Mailboxes.words(1)
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

/** Asks so much of whoever has a box now; an answer must be the letter's own. */
function ask(face: Face, K: Kind, P: Parcel, letters: readonly number[]): void {
  const boxes = boxesOf(face, K)
  for (const letter of letters) {
    const open = boxes.list()
    for (let i = 0; i < open.length; i++) {
      const box = open[i]!
      const delivery = new P(boxes, box, letter)
      acquire(delivery)
      const code = delivery.answer === null ? 0 : delivery.answer.code
      if (code !== 0 && code !== letter) throw new Error(`${letter} was answered by ${code}`)
    }
  }
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

function reap(face: Face, dead: number, K: Kind): void {
  const slots = new Slots(face.s)
  slots.register(boxesOf(face, K))
  slots.close(dead, 0)
}

/** The box is open from the beginning, and thread 0's. */
function opened(words: Words): void {
  words[OWNER] = (tokenOf(0, 0) << 1) | 1
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
      { name: 'caller', body: face => ask(face, K, P, [FIRST, LAST]) },
    ],
    atEnd: s => s.seen[0] === 2,
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
    atEnd: s => s.dead(0) || s.seen[0] === s.b[ANSWERED]! >>> SEQUENCE_SHIFT,
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
