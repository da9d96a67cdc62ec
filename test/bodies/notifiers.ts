/* Threads that have memory notifiers, and one that asks; see src/mm/notifiers.test.ts. */
import { HotplugError } from '../../src/lib/errors.ts'
import { Slots } from '../../src/locking/slots.ts'
import {
  insideNotifier,
  type MemoryEvent,
  type MemoryNotifier,
  Notifiers,
} from '../../src/mm/notifiers.ts'
import type { VictimData } from '../kill.ts'
import { testOracle } from './locks.ts'
import { counted } from './victims.ts'

/** Shared words of a test by which threads meet. */
export const Meet = { Ready: 0, Stop: 1, Seen: 2, Blocked: 3 } as const

/** Shared memory of a test of notifiers. */
export interface NotifierData {
  readonly slots: Int32Array
  readonly notifiers: Int32Array
  readonly meet: Int32Array
  /** The thread's id, as `testOracle` has it. */
  readonly tid: number
  readonly manner: Manner
  readonly priority?: number
}

/** How a notifier behaves. */
export type Manner = keyof typeof MANNERS

const MANNERS = {
  agrees: () => {},
  agreesLater: async () => {
    for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
  },
  refusesByCode: ({ action }: MemoryEvent) => {
    if (!action.startsWith('GOING')) return
    throw new HotplugError('EAGAIN', 'ask the cache', 'it is being written')
  },
  rejects: async ({ action }: MemoryEvent) => {
    await null
    if (action.startsWith('GOING')) throw new TypeError('x is not a function')
  },
  throwsOddly: () => {
    throw Object.create(null)
  },
  failsAfterwards: ({ action }: MemoryEvent) => {
    if (!action.startsWith('GOING')) throw new Error('too late')
  },
  neverAnswers: () => new Promise<void>(() => {}),
  blocks: () => {},
  blocksAfterwards: () => {},
  callsBack: () => {
    if (insideNotifier()) throw new HotplugError('EDEADLK', 'offline memory1', 'called back')
  },
} satisfies Record<string, MemoryNotifier>

function open(data: NotifierData): Notifiers {
  return new Notifiers(new Slots(data.slots).attach(testOracle(data.tid)), data.notifiers)
}

function arrive({ meet }: NotifierData): void {
  Atomics.add(meet, Meet.Ready, 1)
  Atomics.notify(meet, Meet.Ready)
}

/** Registers and waits to be stopped; returns what the notifier was told, by name. */
export async function listen(data: NotifierData): Promise<string[]> {
  const told: string[] = []
  const behave: MemoryNotifier = MANNERS[data.manner]
  using _registration = open(data).register(
    event => {
      told.push(`${event.action} ${event.block} ${event.zone}`)
      const nrSeen = Atomics.add(data.meet, Meet.Seen, 1)
      if (data.manner === 'blocksAfterwards' && nrSeen === 0) setTimeout(block, 1, data)
      return behave(event)
    },
    { priority: data.priority ?? 0 },
  )
  const warnings = once(data)
  arrive(data)
  if (data.manner === 'blocks') Atomics.wait(data.meet, Meet.Stop, 0)
  await stopped(data)
  warnings.end()
  return [...told, ...warnings.seen]
}

function block({ meet }: NotifierData): void {
  Atomics.store(meet, Meet.Blocked, 1)
  Atomics.wait(meet, Meet.Blocked, 1)
}

function once({ manner }: NotifierData): { seen: string[]; end(): void } {
  const seen: string[] = []
  if (manner !== 'failsAfterwards' && manner !== 'throwsOddly') return { seen, end: () => {} }
  const onWarning = ({ name, message }: Error): void => void seen.push(`${name}: ${message}`)
  process.on('warning', onWarning)
  return { seen, end: () => void process.off('warning', onWarning) }
}

async function stopped({ meet }: NotifierData): Promise<void> {
  while (Atomics.load(meet, Meet.Stop) === 0) await new Promise(resolve => setTimeout(resolve, 1))
}

/** Registers, and lets its event loop run dry. */
export function registerAndEnd(data: NotifierData): void {
  open(data).register(MANNERS[data.manner])
}

/** Registers and blocks for ever, without answering. */
export function registerAndBlock(data: NotifierData): void {
  open(data).register(MANNERS[data.manner])
  arrive(data)
  Atomics.wait(data.meet, Meet.Stop, 1)
}

/** Registers, answers once, leaves: to be killed at each operation. */
export function answerOnce(victim: VictimData<NotifierData>): Promise<number> {
  const notifiers = open(victim.data)
  return counted(victim, async () => {
    const keepAlive = setInterval(() => {}, 1000)
    await new Promise<void>(resolve => {
      const registration = notifiers.register(async () => {
        setImmediate(() => {
          registration[Symbol.dispose]()
          clearInterval(keepAlive)
          resolve()
        })
      })
      arrive(victim.data)
    })
  })
}

/** Asks once: to be killed at each operation. */
export function askOnce(victim: VictimData<NotifierData>): Promise<number> {
  const notifiers = open(victim.data)
  return counted(victim, () => notifiers.call('GOING_OFFLINE', 1, 1))
}
