/*
 * Readers and writers of the per-CPU semaphore in every order: two and two; with a death three of
 * them. With a death all four are searched by test/litmus/long-checks.ts; here 1,000 random
 * schedules of them are run.
 *
 * Never: a writer inside with anybody else. Always: everybody gets in who asks, a death is told,
 * and the words end as they began. Four of the steps are left out to see it found; `npm run mutate`
 * leaves out the others.
 */
import {
  blindlyNestingReader,
  changer,
  first,
  firstAtLast,
  holder,
  impatientReader,
  impatientWriter,
  isHasty,
  isPatient,
  leaver,
  nestingReader,
  REAPER,
  reader,
  reap,
  reaperThatTries,
  reaperThatWrites,
  SHUT_BY_THE_DEAD,
  SHUT_BY_THE_FIRST,
  SICK,
  second,
  sem,
  successor,
  type Thread,
  tryReader,
  tryWriter,
  twice,
  twoOperations,
  twoOperationsOneHasty,
  viewer,
  WithoutR2,
  WithoutR4,
  WithoutRecovery,
  WithoutW2,
  writer,
} from '../../test/litmus/percpu-rwsem.ts'
import { mustFail } from '../check/model.ts'
import type { PercpuRwsem } from './percpu-rwsem.ts'

const READER: Thread = { name: 'reader', body: face => reader(face) }
const WRITER: Thread = { name: 'writer', body: face => writer(face) }

function inTurn(one: 'read' | 'write', two: 'read' | 'write'): Thread[] {
  return [
    { name: 'second', body: second(two) },
    { name: 'first', body: first(one) },
    { name: 'holder', body: holder },
  ]
}
const TWO_AND_TWO = [
  { ...READER, count: 2 },
  { ...WRITER, count: 2 },
]
const CHANGER = { name: 'changer', body: changer }
const VIEWER = { name: 'viewer', body: viewer }
const HASTY_WRITER = { name: 'hasty writer', body: impatientWriter(isHasty) }
const LEAVER = { name: 'leaver', body: leaver }
const ALONE = [{ ...WRITER, name: 'victim' }]

function pair(Form: typeof PercpuRwsem): Thread[] {
  return [
    { name: 'reader', body: face => reader(face, Form) },
    { name: 'writer', body: face => writer(face, Form) },
  ]
}

/** For test/litmus/long-checks.ts: one search for each thread that may die. */
export function eachOfFourDies() {
  const names = ['reader1', 'reader2', 'writer1', 'writer2']
  return names.map(victim => {
    const threads = names.map((name, i) => {
      return { ...(i < 2 ? READER : WRITER), name, mortal: name === victim }
    })
    const setting = { deaths: 1, search: 'fingerprints', maxStates: 200_000_000 } as const
    return sem(`percpu rwsem, ${victim} of 2+2 dies`, threads, setting)
  })
}

export const models = [
  mustFail(sem('percpu rwsem without R2', pair(WithoutR2)), { kind: 'never' }),
  mustFail(sem('percpu rwsem without R4', pair(WithoutR4)), { kind: 'deadlock' }),
  mustFail(sem('percpu rwsem without W2', pair(WithoutW2)), { kind: 'never' }),
  mustFail(
    sem('percpu rwsem without recovery', [READER, WRITER], {
      deaths: 1,
      reaper: { ...REAPER, body: face => reap(face, WithoutRecovery) },
    }),
    { kind: 'deadlock' },
  ),
  sem('percpu rwsem, 1+1', [READER, WRITER]),
  sem('percpu rwsem, 0+2', [{ ...WRITER, count: 2 }]),
  sem('percpu rwsem, 1+1, one dies', [READER, WRITER], { deaths: 1 }),
  sem('percpu rwsem, after a death, 0+2', [{ ...WRITER, count: 2 }], { gate: SICK }),
  sem('percpu rwsem, shut by the dead, 1+1', [READER, WRITER], { gate: SHUT_BY_THE_DEAD }),
  sem('percpu rwsem, shut by the dead, 0+2', [{ ...WRITER, count: 2 }], { gate: SHUT_BY_THE_DEAD }),
  sem('percpu rwsem, handed on by the dead', [WRITER, READER], { gate: SHUT_BY_THE_FIRST }),
  sem('percpu rwsem, a dead writer, and who tries to read', ALONE, {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatTries('tryDownRead') },
  }),
  sem('percpu rwsem, a dead writer, and who tries to write', ALONE, {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatTries('tryDownWrite') },
  }),
  sem('percpu rwsem, a reader comes again', [{ name: 'nesting', body: nestingReader }, WRITER]),
  sem('percpu rwsem, a reader comes again blindly', [
    { name: 'nesting', body: blindlyNestingReader },
    WRITER,
  ]),
  sem('percpu rwsem, two operations of one thread', [
    { name: 'event loop', body: twoOperations },
    { ...WRITER, count: 2 },
  ]),
  sem('percpu rwsem, of two operations of one thread one gives up', [
    { name: 'event loop', body: twoOperationsOneHasty },
    WRITER,
  ]),
  sem('percpu rwsem, a writer first', inTurn('write', 'write')),
  sem('percpu rwsem, a writer before a reader', inTurn('write', 'read')),
  sem('percpu rwsem, a reader before a writer', inTurn('read', 'write')),
  sem('percpu rwsem, tickets of those who gave up', [
    { name: 'second', body: second('write') },
    { name: 'first', body: firstAtLast('write') },
    { name: 'holder', body: holder },
    WRITER,
  ]),
  sem('percpu rwsem, three write and leave', [{ ...LEAVER, count: 3 }]),
  sem('percpu rwsem, who is let in leaves while another passes on', [
    LEAVER,
    { name: 'comes again', body: twice('read', 'write') },
    WRITER,
  ]),
  sem('percpu rwsem, a slot is taken anew', [
    LEAVER,
    { name: 'successor', body: successor },
    WRITER,
  ]),
  sem('percpu rwsem, the slot of a dead writer is taken anew', [{ ...WRITER, count: 2 }], {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatWrites },
  }),
  sem('percpu rwsem, the slot of a dead reader is taken anew', [READER, WRITER], {
    deaths: 1,
    reaper: { name: 'reaper', daemon: true, body: reaperThatWrites },
  }),
  sem('percpu rwsem, two write twice', [
    { name: 'twice', count: 2, body: twice('write', 'write') },
  ]),
  sem('percpu rwsem, one reads twice, one writes twice', [
    { name: 'reads twice', body: twice('read', 'read') },
    { name: 'writes twice', body: twice('write', 'write') },
  ]),
  sem('percpu rwsem, three read and write, and come again', [
    { name: 'reads, writes', body: twice('read', 'write') },
    { name: 'writes, reads', body: twice('write', 'read') },
    WRITER,
  ]),
  sem('percpu rwsem, a hasty writer, one dies', [HASTY_WRITER, WRITER], { deaths: 1 }),
  sem('percpu rwsem', TWO_AND_TWO),
  sem('percpu rwsem, one of 1+2 dies', [READER, { ...WRITER, count: 2 }], { deaths: 1 }),
  sem('percpu rwsem, one of 2+1 dies', [{ ...READER, count: 2 }, WRITER], { deaths: 1 }),
  sem('percpu rwsem, a writer is told of a death', [{ ...CHANGER, count: 2 }], { deaths: 1 }),
  sem('percpu rwsem, a reader is told of a death', [CHANGER, VIEWER], { deaths: 1 }),
  sem('percpu rwsem, tries', [
    { name: 'try reader', body: tryReader },
    { name: 'try writer', body: tryWriter },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, a reader gives up', [
    { name: 'impatient', body: impatientReader(isPatient) },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, a writer gives up', [
    { name: 'impatient', body: impatientWriter(isPatient) },
    READER,
    WRITER,
  ]),
  sem('percpu rwsem, two give up at once', [
    { name: 'hasty reader', body: impatientReader(isHasty) },
    HASTY_WRITER,
    WRITER,
  ]),
  sem('percpu rwsem, one of 2+2 dies', TWO_AND_TWO, {
    deaths: 1,
    search: { pct: 4, runs: 1000, seed: 1 },
  }),
]
