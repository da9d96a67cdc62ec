/*
 * The service thread of a machine, stopped for ever where a test wants it to die. To be run in its
 * place: `replaceService`.
 */
import { getEnvironmentData, isMainThread } from 'node:worker_threads'
import { load, notify, store, wait } from '#atomics'
import { MemoryDuties } from '../../src/service/memory-duties.ts'

/** Steps of what it does for an operator that died, before each of which it can be stopped. */
export const STEPS = ['undo', 'undone', 'ask', 'asked', 'released'] as const
/** One of them. */
export type Step = (typeof STEPS)[number]

/** By which name the words are found: [0] the step, counted from 1, where it stops; [1] it has. */
export const STOP_KEY = 'hotplug-test-stop'

interface Insides {
  undo(): boolean
  undoDead(): void
  held: { readonly ownerDied: boolean; release(): void } | null
  onOwed(): void
}

if (!isMainThread) {
  const words = getEnvironmentData(STOP_KEY) as unknown as Int32Array
  const duties = MemoryDuties.prototype as unknown as Insides
  const { undo, undoDead } = duties
  const pass = (step: Step): void => {
    if (load(words, 0) !== STEPS.indexOf(step) + 1) return
    store(words, 1, 1)
    notify(words, 1)
    for (;;) wait(words, 2, 0)
  }
  duties.undo = function (this: Insides): boolean {
    pass('undo')
    const isDone = undo.call(this)
    if (isDone) pass('undone')
    return isDone
  }
  duties.undoDead = function (this: Insides): void {
    const wasLeft = this.held?.ownerDied
    const { onOwed } = this
    this.onOwed = () => {
      pass('ask')
      onOwed()
      pass('asked')
    }
    undoDead.call(this)
    this.onOwed = onOwed
    if (wasLeft && this.held === null) pass('released')
  }
  await import('../../src/service/machine-thread.ts')
}
