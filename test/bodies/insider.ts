/*
 * A thread that enters the guard of a machine and leaves it when it is told to, one order at a
 * time. Who orders is blocked until that is done.
 */
import { Machine, type MachineHandle } from '../../src/index.ts'
import { sharedWords, TestThread, until } from '../thread.ts'

const MODULE = new URL(import.meta.url)
const PATIENCE_MS = 20_000

/** What the thread is to do; `done` when it has. */
const Order = { done: 0, enter: 1, leave: 2, end: 3, start: 4 } as const
type Order = (typeof Order)[keyof typeof Order]

interface Orders {
  readonly handle: MachineHandle
  readonly order: Int32Array
}

/** The thread, as a test holds it. */
export class Insider implements AsyncDisposable {
  private readonly order = sharedWords(1)
  private readonly thread: TestThread

  /** Slots are given in the order in which insiders are started. */
  static async start({ handle }: Machine): Promise<Insider> {
    const insider = new Insider(handle)
    await until('it is attached', () => Atomics.load(insider.order, 0) === Order.done)
    return insider
  }

  private constructor(handle: MachineHandle) {
    this.order[0] = Order.start
    const data: Orders = { handle, order: this.order }
    this.thread = new TestThread(MODULE, 'obey', data)
  }

  enter(): void {
    this.tell(Order.enter)
  }

  leave(): void {
    this.tell(Order.leave)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tell(Order.end)
    await this.thread.result
  }

  private tell(order: Order): void {
    Atomics.store(this.order, 0, order)
    Atomics.notify(this.order, 0)
    while (Atomics.load(this.order, 0) === order) {
      const woken = Atomics.wait(this.order, 0, order, PATIENCE_MS)
      if (woken === 'timed-out')
        throw new Error(`the insider does not do what it is told: ${order}`)
    }
  }
}

/** The thread's body. */
export async function obey({ handle, order }: Orders): Promise<void> {
  const machine = Machine.attach(handle)
  const { guard } = machine.locks
  for (let now: Order = Order.start; now !== Order.end; ) {
    if (now === Order.enter) guard.enter()
    if (now === Order.leave) guard.leave()
    Atomics.store(order, 0, Order.done)
    Atomics.notify(order, 0)
    while (Atomics.load(order, 0) === Order.done) Atomics.wait(order, 0, Order.done)
    now = Atomics.load(order, 0) as Order
  }
  if (guard.isInside()) guard.leave()
  Atomics.store(order, 0, Order.done)
  Atomics.notify(order, 0)
  await machine.shutdown()
}
