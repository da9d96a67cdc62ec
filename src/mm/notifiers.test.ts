import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { test } from 'node:test'
import { testOracle } from '../../test/bodies/locks.ts'
import { Meet, type NotifierData } from '../../test/bodies/notifiers.ts'
import { killAtEach } from '../../test/kill.ts'
import { sharedWords, TestThread, until } from '../../test/thread.ts'
import { HotplugError } from '../lib/errors.ts'
import { Slots } from '../locking/slots.ts'
import {
  insideNotifier,
  type MemoryEvent,
  type MemoryNotifier,
  Notifiers,
  vetoError,
} from './notifiers.ts'
import { Limit } from './operation.ts'

const BODIES = new URL('../../test/bodies/notifiers.js', import.meta.url)
const NR_SLOTS = 6
const NORMAL = 0
const MOVABLE = 1

class Scene {
  readonly slots = new Slots(sharedWords(Slots.words(NR_SLOTS)))
  readonly words: Int32Array
  readonly meet = sharedWords(4)
  readonly mine: Notifiers
  private readonly threads: TestThread[] = []

  /** The calling thread has slot 0; the next threads have 1, 2, ... and the ids 2, 3, ... */
  constructor(nrNotifiers = 4, answerWithinMs = 5000) {
    this.words = sharedWords(Notifiers.words(nrNotifiers))
    this.mine = new Notifiers(this.slots.attach(testOracle(1)), this.words, { answerWithinMs })
  }

  data(tid: number, manner: NotifierData['manner'], priority = 0): NotifierData {
    return {
      slots: this.slots.words,
      notifiers: this.words,
      meet: this.meet,
      tid,
      manner,
      priority,
    }
  }

  /** Starts a thread, and waits until it has registered. */
  async start(name: string, manner: NotifierData['manner'], priority = 0): Promise<TestThread> {
    const data = this.data(this.threads.length + 2, manner, priority)
    const thread = new TestThread(BODIES, name, data)
    this.threads.push(thread)
    await until('it has registered', () => this.meet[Meet.Ready] === this.threads.length)
    return thread
  }

  /** What each thread was told. */
  async stop(): Promise<unknown[]> {
    Atomics.store(this.meet, Meet.Stop, 1)
    Atomics.notify(this.meet, Meet.Stop)
    return Promise.all(this.threads.map(thread => thread.result))
  }

  /** The thread is known to be dead. */
  reap(slot: number): void {
    this.slots.reap(slot, testOracle(1, [slot + 1]))
  }
}

test('notifiers run in their own threads, the highest priority first, then as registered', async () => {
  const scene = new Scene()
  await scene.start('listen', 'agrees', -5)
  await scene.start('listen', 'agreesLater', 7)
  await scene.start('listen', 'agrees', 7)

  const { notified, veto } = await scene.mine.call('GOING_ONLINE', 3, MOVABLE)
  const done = await scene.mine.call('ONLINE', 3, MOVABLE)

  deepEqual([veto, done.veto], [null, null])
  deepEqual(
    notified.map(({ slot }) => slot),
    [2, 3, 1],
  )
  const told = ['GOING_ONLINE 3 Movable', 'ONLINE 3 Movable']
  deepEqual(await scene.stop(), [told, told, told])
})

test('a veto ends the call, and is cancelled for those alone that were asked', async () => {
  const scene = new Scene()
  await scene.start('listen', 'agrees', 3)
  await scene.start('listen', 'refusesByCode', 2)
  await scene.start('listen', 'agrees', 1)

  const { notified, veto } = await scene.mine.call('GOING_OFFLINE', 16383, NORMAL)
  await scene.mine.call('CANCEL_OFFLINE', 16383, NORMAL, { only: notified })

  deepEqual(veto, { code: 'EAGAIN', slot: 2, message: 'ask the cache: it is being written' })
  equal(
    vetoError('offline memory9', 'memory9', veto!).message,
    'offline memory9: the notifier of slot 2 refused: ask the cache: it is being written (EAGAIN)',
  )
  const told = ['GOING_OFFLINE 16383 Normal', 'CANCEL_OFFLINE 16383 Normal']
  deepEqual(await scene.stop(), [told, told, []])
})

test('a cancel that is sent to all reaches only those that saw this going', async () => {
  const scene = new Scene()
  await scene.start('listen', 'refusesByCode', 2)
  await scene.start('listen', 'agrees', 1)

  await scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  await scene.mine.call('CANCEL_OFFLINE', 2, NORMAL)
  await scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  await scene.mine.call('CANCEL_ONLINE', 1, NORMAL)
  await scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  await scene.mine.call('CANCEL_OFFLINE', 1, NORMAL)
  await scene.mine.call('CANCEL_OFFLINE', 1, NORMAL)

  const going = 'GOING_OFFLINE 1 Normal'
  deepEqual(await scene.stop(), [[going, going, going, 'CANCEL_OFFLINE 1 Normal'], []])
})

test('any error is a veto: its code if it is one of ours, else EBUSY', async () => {
  const manners = {
    rejects: { code: 'EBUSY', message: 'x is not a function' },
    throwsOddly: { code: 'EBUSY', message: 'it threw something odd' },
    callsBack: { code: 'EDEADLK', message: 'offline memory1: called back' },
  } as const
  for (const manner of Object.keys(manners) as (keyof typeof manners)[]) {
    const scene = new Scene()
    await scene.start('listen', manner)

    const { veto } = await scene.mine.call('GOING_OFFLINE', 1, NORMAL)

    deepEqual(veto, { ...manners[manner], slot: 1 })
    await scene.stop()
  }
})

test('what is done cannot be refused: a failure is a warning in its own thread', async () => {
  const scene = new Scene()
  await scene.start('listen', 'failsAfterwards', 1)
  await scene.start('listen', 'agrees')

  const { veto, notified } = await scene.mine.call('OFFLINE', 12, NORMAL)

  deepEqual([veto, notified.length], [null, 2])
  const warning = 'HotplugWarning: the memory notifier failed on OFFLINE of memory12: too late'
  deepEqual(await scene.stop(), [['OFFLINE 12 Normal', warning], ['OFFLINE 12 Normal']])
})

test('no answer in time is a veto that names the slot, and so is one that is still busy', async () => {
  const scene = new Scene(4, 50)
  await scene.start('listen', 'neverAnswers', 2)
  await scene.start('listen', 'agrees', 1)
  const late = { code: 'ETIMEDOUT', slot: 1, message: 'it did not answer within 50 ms' }

  const first = await scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  const second = await scene.mine.call('GOING_OFFLINE', 2, NORMAL)
  const done = await scene.mine.call('OFFLINE', 1, NORMAL)
  await until('both have read something', () => scene.meet[Meet.Seen] === 2)

  deepEqual([first.veto, second.veto, done.veto], [late, late, null])
  deepEqual(
    [first, second, done].map(({ notified }) => notified.map(({ slot }) => slot)),
    [[1], [], [1, 2]],
  )
  deepEqual(await scene.stop(), [['GOING_OFFLINE 1 Normal'], ['OFFLINE 1 Normal']])
})

test('a thread that blocks vetoes, and sees neither the letter nor that it was cancelled', async () => {
  const scene = new Scene(4, 50)
  await scene.start('listen', 'blocks')

  const { veto, notified } = await scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  const cancelled = await scene.mine.call('CANCEL_OFFLINE', 1, NORMAL, { only: notified })

  equal(veto?.code, 'ETIMEDOUT')
  deepEqual([notified.length, cancelled.notified.length], [1, 1])
  deepEqual(await scene.stop(), [[]])
})

test('who asks with a limit waits no longer, and cancels what it has asked alone', async () => {
  const scene = new Scene(4, 60_000)
  await scene.start('listen', 'neverAnswers', 2)
  await scene.start('listen', 'agrees', 1)
  const ask = (block: number) => {
    const limit = new Limit('offline', { deadlineMs: 20 })
    return scene.mine.call('GOING_OFFLINE', block, NORMAL, { limit })
  }

  const first = await ask(1)
  await until('it has read the letter', () => scene.meet[Meet.Seen] === 1)
  const second = await ask(2) // it is busy with the first, and never gets this
  const cancelled = await scene.mine.call('CANCEL_OFFLINE', 1, NORMAL, { only: first.notified })

  deepEqual(
    [first, second].map(({ veto, awaited }) => [veto, awaited]),
    [
      [null, 1],
      [null, 1],
    ],
  )
  deepEqual(
    [first, second, cancelled].map(({ notified }) => notified.map(({ slot }) => slot)),
    [[1], [], [1]],
  )
  deepEqual(await scene.stop(), [['GOING_OFFLINE 1 Normal'], []])
})

test('a limit that is over asks nobody, and what is done is told whatever it says', async () => {
  const { mine } = new Scene(2)
  const told: string[] = []
  const abort = new AbortController()
  mine.register(({ action }) => {
    told.push(action)
    abort.abort(new HotplugError('ETIMEDOUT', 'wait', 'no'))
  })
  mine.register(({ action }) => void told.push(`second ${action}`))
  const limit = new Limit('offline', { signal: abort.signal })

  const first = await mine.call('GOING_OFFLINE', 1, NORMAL, { limit })
  const second = await mine.call('GOING_OFFLINE', 1, NORMAL, { limit })
  await mine.call('OFFLINE', 1, NORMAL, { limit })

  deepEqual([first.notified.length, first.veto, second.notified], [1, null, []])
  deepEqual(told, ['GOING_OFFLINE', 'OFFLINE', 'second OFFLINE'])
})

test('who opens a box while a letter is put into it hears the cancel as well', async () => {
  const { slots, words, mine } = new Scene(2)
  const [x, y] = [2, 3].map(tid => new Notifiers(slots.attach(testOracle(tid)), words)) as [
    Notifiers,
    Notifiers,
  ]
  const told: string[] = []
  const first = x.register(({ action }) => void told.push(`x ${action}`))
  const callers = mine.slot.slots
  const isAlive = callers.isAlive.bind(callers)
  // The caller loses its core between its look at the box's owner and its letter.
  callers.isAlive = token => {
    callers.isAlive = isAlive
    first[Symbol.dispose]()
    y.register(({ action }) => void told.push(`y ${action}`))
    return isAlive(token)
  }

  const { notified } = await mine.call('GOING_OFFLINE', 1, NORMAL)
  await until('it has heard', () => told.length === 1)
  await mine.call('CANCEL_OFFLINE', 1, NORMAL, { only: notified })

  deepEqual(told, ['y GOING_OFFLINE', 'y CANCEL_OFFLINE'])
})

test('a caller that detaches tells nobody any more', async () => {
  const { mine } = new Scene(2)
  const told: string[] = []
  mine.register(({ action }) => {
    told.push(action)
    mine.slot.detach()
  })
  mine.register(({ action }) => void told.push(`second ${action}`))

  await rejects(mine.call('GOING_OFFLINE', 1, NORMAL), { code: 'EINVAL' })

  deepEqual(told, ['GOING_OFFLINE'])
})

test('an end that nobody has read yet is not put under a cancel of what did not come', async () => {
  const scene = new Scene(4, 50)
  await scene.start('listen', 'blocksAfterwards')
  await scene.mine.call('GOING_ONLINE', 2, MOVABLE)
  await until('it blocks', () => scene.meet[Meet.Blocked] === 1)

  await scene.mine.call('ONLINE', 2, MOVABLE)
  const { notified } = await scene.mine.call('CANCEL_ONLINE', 3, MOVABLE) // its operator died
  Atomics.store(scene.meet, Meet.Blocked, 2)
  Atomics.notify(scene.meet, Meet.Blocked)
  await until('it has read the end', () => scene.meet[Meet.Seen] === 2)

  deepEqual(notified, [])
  deepEqual(await scene.stop(), [['GOING_ONLINE 2 Movable', 'ONLINE 2 Movable']])
})

test('a notifier does not keep its thread alive, and is gone with it', async () => {
  const scene = new Scene(1)
  const thread = new TestThread(BODIES, 'registerAndEnd', scene.data(2, 'agrees'))
  await thread.result

  scene.reap(1)
  const { notified, veto } = await scene.mine.call('GOING_OFFLINE', 1, NORMAL)

  deepEqual([notified, veto], [[], null])
  scene.mine.register(() => {})
})

test('a thread that dies while it is asked is passed over at once', async () => {
  const scene = new Scene(4, 60_000)
  const thread = await scene.start('registerAndBlock', 'agrees')

  const asked = scene.mine.call('GOING_OFFLINE', 1, NORMAL)
  await thread.kill()
  scene.reap(1)
  const { veto } = await asked

  equal(veto, null)
})

test('a notifier that is disposed of is told no more, also if it is being asked', async () => {
  const { mine } = new Scene(1, 60_000)
  let nrTold = 0
  const registration = mine.register(() => {
    nrTold++
    registration[Symbol.dispose]()
    return new Promise<void>(() => {})
  })

  const first = await mine.call('GOING_OFFLINE', 1, NORMAL)
  const second = await mine.call('GOING_OFFLINE', 1, NORMAL)
  registration[Symbol.dispose]()

  deepEqual([first.veto, second.veto, second.notified, nrTold], [null, null, [], 1])
  mine.register(() => {})[Symbol.dispose]()
})

test('one thread asks itself, and many notifiers of it', async () => {
  const { mine } = new Scene(4)
  const told: string[] = []
  const note = (name: string): MemoryNotifier => {
    return ({ action }: MemoryEvent) => void told.push(`${name} ${action}`)
  }
  mine.register(note('low'), { priority: 1 })
  mine.register(note('high'), { priority: 2 })

  await mine.call('GOING_ONLINE', 0, NORMAL)

  deepEqual(told, ['high GOING_ONLINE', 'low GOING_ONLINE'])
})

test('what runs for a notifier knows it, until the notifier has answered', async () => {
  const { mine } = new Scene(1)
  const seen: boolean[] = []
  let after: Promise<void> | null = null
  mine.register(async () => {
    seen.push(insideNotifier())
    await null
    seen.push(insideNotifier())
    after = new Promise(resolve => setTimeout(resolve, 5)).then(() => {
      seen.push(insideNotifier())
    })
  })

  await mine.call('GOING_ONLINE', 0, NORMAL)
  await after

  deepEqual([...seen, insideNotifier()], [true, true, false, false])
})

test('there are only so many notifiers, and priorities are integers', () => {
  const { mine } = new Scene(1)
  throws(() => mine.register(() => {}, { priority: 0.5 }), { code: 'EINVAL' })
  throws(() => mine.register(() => {}, { priority: 2 ** 31 }), { code: 'EINVAL' })
  mine.register(() => {})

  throws(() => mine.register(() => {}), {
    code: 'ENOSPC',
    message: 'register a memory notifier: there are 1 already (ENOSPC)',
  })
})

test('a thread that detaches has no notifiers any more, and can have none', async () => {
  const scene = new Scene(2)
  const slot = scene.slots.attach(testOracle(2))
  const theirs = new Notifiers(slot, scene.words)
  let nrTold = 0
  theirs.register(() => void nrTold++)

  slot.detach()
  const { notified } = await scene.mine.call('GOING_OFFLINE', 1, NORMAL)

  deepEqual([notified, nrTold], [[], 0])
  throws(() => theirs.register(() => {}), { code: 'EINVAL' })
})

test('a long message is cut, an error keeps nothing but its code and message', async () => {
  const { mine } = new Scene(1)
  mine.register(() => {
    throw new HotplugError('ENOMEM', 'x'.repeat(300), 'y')
  })

  const { veto } = await mine.call('GOING_OFFLINE', 1, NORMAL)

  deepEqual(veto, { code: 'ENOMEM', slot: 0, message: 'x'.repeat(200) })
})

test('a thread killed at any operation of its notifier holds up nobody', async () => {
  interface Sweep {
    readonly scene: Scene
    readonly data: NotifierData
    asked: Promise<{ veto: unknown }> | null
  }
  await killAtEach<Sweep, NotifierData>({
    module: BODIES,
    name: 'answerOnce',
    begin: () => {
      const scene = new Scene(1, 60_000)
      return { scene, data: scene.data(2, 'agrees'), asked: null }
    },
    meanwhile: async (state, victim) => {
      const { scene } = state
      await until('it has registered', () => victim.isOver() || scene.meet[Meet.Ready] === 1)
      state.asked = scene.mine.call('GOING_OFFLINE', 1, NORMAL)
    },
    check: async ({ scene, asked }) => {
      scene.reap(1)
      equal((await asked)?.veto, null)
      scene.mine.register(() => {})[Symbol.dispose]()
    },
  })
})

test('a caller killed at any operation leaves notifiers that the next one can ask', async () => {
  interface Sweep {
    readonly scene: Scene
    readonly data: NotifierData
    readonly told: MemoryEvent[]
  }
  await killAtEach<Sweep, NotifierData>({
    module: BODIES,
    name: 'askOnce',
    begin: () => {
      const scene = new Scene(2, 60_000)
      const told: MemoryEvent[] = []
      scene.mine.register(event => void told.push(event))
      return { scene, told, data: scene.data(2, 'agrees') }
    },
    check: async ({ scene, told }) => {
      scene.reap(1)
      const { veto } = await scene.mine.call('CANCEL_OFFLINE', 1, MOVABLE)
      equal(veto, null)
      const actions = told.map(({ action }) => action)
      ok(['', 'GOING_OFFLINE,CANCEL_OFFLINE'].includes(actions.join()), actions.join())
    },
  })
})
