/*
 * Blocks on their way: two operators, one of whom takes a block offline and removes it, while the
 * other brings blocks online or adds them; somebody who looks at the whole; a death of an operator,
 * or of who recovers. States, page words and counters say the same whenever `memHotplugLock` lets
 * somebody look, and at the end every block is at rest.
 *
 * A notifier, which is never late, hears of each GOING and then of its end, once, and what it has
 * heard last of a block is what the block is.
 */
import { load, store, type Words } from '#atomics'
import {
  controlOf,
  Declared,
  isExact,
  type MemoryFace,
  type MemoryWords,
  memoryViews,
  ownSlot,
  type Prepared,
  prepare,
  present,
  type Readable,
  TINIEST,
} from '../../test/litmus/memory.ts'
import { slotOf } from '../../test/litmus/threads.ts'
import type { Declare } from '../check/layout.ts'
import { model, mustFail } from '../check/model.ts'
import { assert } from '../lib/assert.ts'
import { Mutex } from '../locking/mutex.ts'
import { PercpuRwsem } from '../locking/percpu-rwsem.ts'
import { CACHE_LINE_WORDS, type Slot, Slots, tokenOf } from '../locking/slots.ts'
import { Blocks } from './blocks.ts'
import { blockOfGoing, endOf, Way } from './ends.ts'
import {
  BLOCK_EPOCH,
  BLOCK_RECORD_WORDS,
  BLOCK_STATE,
  BLOCKS_HIGH,
  BlockState,
  GOING,
  ZoneKind,
} from './geometry.ts'
import { initMemmap } from './memmap.ts'
import { recoverBlocks } from './recovery.ts'
import {
  beginAdd,
  beginOffline,
  beginOnline,
  beginRemove,
  finishAdd,
  finishOffline,
  finishOnline,
  finishRemove,
  undoOffline,
  undoOnline,
  undoRemove,
} from './transitions.ts'
import { Zone } from './zone.ts'

interface Face extends MemoryFace {
  /** `memAddRemoveLock`, in its first word; `memHotplugLock`, from the next cache line on. */
  readonly l: Words
  /** What the notifier has heard last of each block: a `Heard`. */
  readonly h: Words
}

/** What the notifier has heard of a block. */
const Heard = { Nothing: 0, Online: 1, Offline: 2, Going: 3 } as const

/** What is left out, or done in another order. */
interface Without {
  /** That BLOCKS_HIGH is raised before the state changes. */
  readonly order?: boolean
  readonly memAddRemoveLock?: boolean
  readonly memHotplugLock?: boolean
  readonly recovery?: boolean
  /** The end that a dead operator owes. */
  readonly end?: boolean
}

/** Raises BLOCKS_HIGH when the state has changed. */
class RaisesLate extends Blocks {
  override raiseHigh(): void {}

  override setState(block: number, state: number): void {
    super.setState(block, state)
    super.raiseHigh(block)
  }
}

/** An operator's hands. */
class Operator {
  readonly blocks: Blocks
  readonly zones: readonly Zone[]
  private readonly slot: Slot
  private readonly frames: Declared
  private readonly memAddRemoveLock: Mutex
  private readonly memHotplugLock: PercpuRwsem
  private readonly without: Without
  private readonly heard: Words

  constructor(face: Face, without: Without) {
    const slot = ownSlot(face)
    const control = controlOf(face, TINIEST)
    this.without = without
    this.heard = face.h
    this.frames = new Declared(face)
    this.blocks = without.order ? new RaisesLate(control) : new Blocks(control)
    const normal = new Zone(slot, control, this.frames, 0)
    this.zones = [normal, new Zone(slot, control, this.frames, 1)]
    this.slot = slot
    this.memAddRemoveLock = new Mutex(slot, face.l, 0)
    this.memHotplugLock = new PercpuRwsem(slot, face.l, CACHE_LINE_WORDS)
  }

  /** As `exclusively` of hotplug.ts. */
  exclusively(body: () => void): void {
    if (this.without.memAddRemoveLock) {
      body()
      return
    }
    const ownerDied = this.memAddRemoveLock.lock()
    if (ownerDied) this.recover()
    this.tellOwed()
    body()
    this.memAddRemoveLock.unlock()
  }

  /** As `MemoryDuties.recover`, and as main, which tells what is owed then. */
  recoverIfFree(): void {
    const held = this.memAddRemoveLock.tryLock()
    if (held === null) return
    if (held.ownerDied) this.recover()
    const going = this.blocks.going()
    held.release()
    if (going !== 0) this.exclusively(() => {})
  }

  /** As `transition` of hotplug.ts. */
  transition(body: () => void): void {
    if (!this.without.memHotplugLock) this.memHotplugLock.downWrite()
    this.blocks.beginChange(this.slot.token)
    body()
    this.blocks.endChange()
    if (!this.without.memHotplugLock) this.memHotplugLock.upWrite()
  }

  /** As the whole of an online in zone Movable, to a notifier's veto if so asked. */
  online(block: number, isVetoed = false): void {
    const { blocks } = this
    const zone = this.zones[ZoneKind.Movable]!
    const state = blocks.state(block)
    if (state !== BlockState.Offline) return
    this.transition(() => beginOnline(blocks, block, ZoneKind.Movable))
    this.tellGoing(block)
    if (isVetoed) this.transition(() => undoOnline(blocks, block))
    else this.transition(() => finishOnline(blocks, zone, block))
    this.tellEnd()
  }

  /** As the whole of an offline, of a block of which nobody has a page. */
  offline(block: number, isVetoed = false): void {
    const { blocks } = this
    const state = blocks.state(block)
    if (state !== BlockState.Online) return
    const kind = blocks.zoneKind(block)
    const zone = this.zones[kind]!
    const nrUsed = blocks.usedPages(block)
    assert(nrUsed === 0, 'somebody has a page that nobody took')
    this.transition(() => beginOffline(blocks, zone, block))
    this.tellGoing(block)
    if (isVetoed) this.transition(() => undoOffline(blocks, zone, block))
    else this.transition(() => finishOffline(blocks, zone, block))
    this.tellEnd()
  }

  /** As the whole of a remove, of a block that the system may keep. */
  remove(block: number, isKept = false): void {
    const { blocks } = this
    const state = blocks.state(block)
    if (state !== BlockState.Offline) return
    this.transition(() => beginRemove(blocks, block))
    if (isKept) this.transition(() => undoRemove(blocks, block))
    else this.transition(() => finishRemove(blocks, block))
  }

  /** As the whole of an add. */
  add(block: number): void {
    const { blocks, frames } = this
    const state = blocks.state(block)
    if (state !== BlockState.Absent) return
    const epoch = blocks.epoch(block)
    this.transition(() => beginAdd(blocks, block))
    initMemmap(blocks.geometry, frames, block)
    this.transition(() => finishAdd(blocks, block))
    const now = blocks.epoch(block)
    assert(now === epoch + 1, 'a block that was added is in its old epoch')
  }

  private tellGoing(block: number): void {
    const before = load(this.heard, block)
    assert(before !== Heard.Going, 'one GOING after the other')
    store(this.heard, block, Heard.Going)
  }

  private tellOwed(): void {
    if (this.without.end) this.blocks.setGoing(0)
    else this.tellEnd()
  }

  /** As `tellEnd` of ends.ts. An end that was heard, and a CANCEL of nothing, are passed over. */
  private tellEnd(): void {
    const { blocks } = this
    const going = blocks.going()
    if (going === 0) return
    const block = blockOfGoing(going)
    const state = blocks.state(block)
    const end = endOf(going, state)
    const isDone = end === 'ONLINE' || end === 'OFFLINE'
    const now = state === BlockState.Online ? Heard.Online : Heard.Offline
    const before = load(this.heard, block)
    assert(before === Heard.Going || before === now || !isDone, 'an end without its GOING')
    if (before === Heard.Going) store(this.heard, block, now)
    blocks.setGoing(0)
  }

  private recover(): void {
    if (this.without.recovery) return
    this.transition(() => recoverBlocks(this.blocks, this.zones, () => {}))
  }
}

type Work = (operator: Operator) => void

/** One operator after another, each with a work of its own. */
function operator(work: Work, without: Without) {
  return (face: Face): void => {
    const hands = new Operator(face, without)
    hands.exclusively(() => work(hands))
  }
}

/** As `walkBlocks` of memory.ts. */
function onlooker(face: Face): void {
  const mems = new PercpuRwsem(ownSlot(face), face.l, CACHE_LINE_WORDS)
  const blocks = new Blocks(controlOf(face, TINIEST))
  mems.downRead()
  const isLeft = blocks.isLeft(new Slots(face.s))
  if (!isLeft) blocks.assertWhole()
  mems.upRead()
}

/** Tells the locks of a death, and puts to rest what nobody else will. */
function reaper(without: Without) {
  return (face: Face): void => {
    const dead = face.awaitDeath()
    const slots = new Slots(face.s)
    slots.register(new Mutex(slotOf(face.s, dead), face.l, 0))
    slots.register(new PercpuRwsem(slotOf(face.s, dead), face.l, CACHE_LINE_WORDS))
    slots.close(dead, 0)
    new Operator(face, without).recoverIfFree()
  }
}

interface Setting {
  readonly deaths?: number
  readonly without?: Without
  /** What blocks are at first; Online and Offline if left out. */
  readonly states?: readonly [number, number]
  /** What blocks are in the end, if that is certain. */
  readonly ends?: readonly [number, number]
  /** Whether an operator died with `memAddRemoveLock` held. */
  readonly isLeft?: boolean
  readonly isWatched?: boolean
}

/** As an operator left it that died: in the middle of an offline of block 0. */
function leave({ control, zones }: Prepared): void {
  control.events[GOING] = Way.Off
  control.blocks[BLOCK_STATE] = BlockState.GoingOffline
  zones[0]!.isolate(0)
}

function operators(name: string, works: readonly Work[], setting: Setting = {}) {
  const { deaths = 0, without = {}, isLeft = false, isWatched = true } = setting
  const { states = [BlockState.Online, BlockState.Offline], ends } = setting
  const threads = works.map((work, i) => ({
    name: `operator ${i + 1}`,
    body: operator(work, without),
  }))
  const watching = { name: 'onlooker', body: onlooker }
  const reaping = { name: 'service', daemon: true, body: reaper(without) }
  const nrSlots = works.length + (isWatched ? 1 : 0) + (deaths > 0 ? 1 : 0)
  return model({
    name: `blocks: ${name}`,
    shared: (t: Declare) => ({
      ...memoryViews(t, () => {
        const prepared = prepare(TINIEST, nrSlots, 'portable')
        for (const [block, state] of states.entries()) {
          if (state !== BlockState.Absent) present(prepared, block, state)
        }
        prepared.control.blocks[BLOCK_RECORD_WORDS + BLOCK_EPOCH] = 1
        if (isLeft) leave(prepared)
        return prepared
      }),
      l: t.int32(
        { MEM_ADD_REMOVE: 0, GATE: CACHE_LINE_WORDS },
        {
          length: CACHE_LINE_WORDS + PercpuRwsem.words(nrSlots),
          init: words => openEarly(words, nrSlots, isLeft),
        },
      ),
      h: t.int32(
        { HEARD_0: 0, HEARD_1: 1 },
        { length: 2, init: words => words.set([isLeft ? Heard.Going : Heard.Nothing, 0]) },
      ),
    }),
    threads: [...threads, ...(isWatched ? [watching] : []), ...(deaths > 0 ? [reaping] : [])],
    deaths,
    atEnd: s => isExact(s, TINIEST) && areAtRest(s) && isTold(s) && areIn(s, ends),
  })
}

/** Every thread has made its locks once before. */
function openEarly(l: Words, nrSlots: number, isLeft: boolean): void {
  const s = new Int32Array(new SharedArrayBuffer(4 * Slots.words(nrSlots)))
  for (let id = 0; id < nrSlots; id++) {
    new Slots(s).attach({ tid: id + 1, start: 1, exists: () => true })
    new PercpuRwsem(slotOf(s, id), l, CACHE_LINE_WORDS)
  }
  if (isLeft) l[0] = tokenOf(0, 5) << 2
}

function areAtRest({ b, e }: MemoryWords): boolean {
  for (let block = 0; block < TINIEST.nrBlocks; block++) {
    const state = b[block * BLOCK_RECORD_WORDS + BLOCK_STATE]
    const isAtRest =
      state === BlockState.Absent || state === BlockState.Offline || state === BlockState.Online
    if (!isAtRest) return false
    if (state !== BlockState.Absent && block >= e[BLOCKS_HIGH]!) return false
  }
  return true
}

function areIn({ b }: MemoryWords, states: readonly [number, number] | undefined): boolean {
  if (states === undefined) return true
  return states.every((state, block) => b[block * BLOCK_RECORD_WORDS + BLOCK_STATE] === state)
}

function isTold({ b, h }: MemoryWords & { readonly h: Readable }): boolean {
  for (let block = 0; block < TINIEST.nrBlocks; block++) {
    const isOnline = b[block * BLOCK_RECORD_WORDS + BLOCK_STATE] === BlockState.Online
    if (h[block] === Heard.Going) return false
    if (h[block] !== Heard.Nothing && (h[block] === Heard.Online) !== isOnline) return false
  }
  return true
}

const offline: Work = operator => operator.offline(0)
const offlineOther: Work = operator => operator.offline(1)
const vetoedOffline: Work = operator => operator.offline(0, true)
const remove: Work = operator => operator.remove(1)
const keptRemove: Work = operator => operator.remove(1, true)
const online: Work = operator => operator.online(1)
const vetoedOnline: Work = operator => operator.online(1, true)
const add: Work = operator => operator.add(1)
const onlineOther: Work = operator => operator.online(0)
/** As `choose` of add-remove.ts, where no block is asked for. */
const addAny: Work = operator => {
  const state = operator.blocks.state(0)
  operator.add(state === BlockState.Absent ? 0 : 1)
}
const nothing: Work = () => {}
const DEATH = { deaths: 1, isWatched: false } as const
const ABSENT = { states: [BlockState.Online, BlockState.Absent] } as const
const { Absent, Offline, Online } = BlockState
/** T1: both add, and each takes what it sees to be absent. */
const T1 = { states: [Absent, Absent], ends: [Offline, Offline] } as const
/** T7: both bring a block of their own online. */
const T7 = { states: [Offline, Offline], ends: [Online, Online] } as const

/** What `npm run check` runs. */
export const models = [
  operators('one goes offline, another online', [offline, online]),
  // T15: one had gone offline; its remover looks again, for others had the lock in between.
  operators('T15: one is removed or goes online', [remove, online]),
  operators('the system keeps one, or it goes online', [keptRemove, online]),
  operators('one goes offline, another is added', [offline, add], ABSENT),
  operators('one goes online and offline', [online, offlineOther]),
  operators('vetoes', [vetoedOffline, vetoedOnline]),
  operators('T1: two are added', [addAny, addAny], T1),
  operators('T7: two go online', [onlineOther, online], T7),
  operators('offline, a death', [offline, nothing], DEATH),
  operators('online, a death', [online, nothing], DEATH),
  operators('remove, a death', [remove, nothing], DEATH),
  operators('add, a death', [add, nothing], { ...DEATH, ...ABSENT }),
  operators('offline and online, a death', [offline, online], DEATH),
  operators('remove and online, a death', [remove, online], DEATH),
  operators('offline and add, a death', [offline, add], { ...DEATH, ...ABSENT }),
  operators('T1: two are added, a death', [addAny, addAny], { ...DEATH, states: T1.states }),
  operators('T7: two go online, a death', [onlineOther, online], { ...DEATH, states: T7.states }),
  operators('an operator dies, or who recovers', [nothing, nothing], { ...DEATH, isLeft: true }),
  operators('offline, a death, somebody looks', [offline], { deaths: 1 }),
  mustFail(
    operators('without memAddRemoveLock', [remove, online], {
      without: { memAddRemoveLock: true },
    }),
    { kind: 'exception' },
  ),
  mustFail(
    operators('T1: without memAddRemoveLock', [addAny, addAny], {
      ...T1,
      without: { memAddRemoveLock: true },
    }),
    { kind: 'exception' },
  ),
  mustFail(
    operators('T7: without memAddRemoveLock', [onlineOther, online], {
      ...T7,
      without: { memAddRemoveLock: true },
    }),
    { kind: 'exception' },
  ),
  mustFail(operators('without memHotplugLock', [offline], { without: { memHotplugLock: true } }), {
    kind: 'exception',
  }),
  mustFail(
    operators('a block is on its way before it is looked at', [add, nothing], {
      ...DEATH,
      ...ABSENT,
      without: { order: true },
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    operators('without the end that the dead owe', [offline, nothing], {
      ...DEATH,
      without: { end: true },
    }),
    { kind: 'atEnd' },
  ),
  mustFail(
    operators('without recovery', [offline, nothing], {
      ...DEATH,
      without: { recovery: true, end: true },
    }),
    { kind: 'atEnd' },
  ),
]
