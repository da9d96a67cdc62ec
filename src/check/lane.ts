/*
 * A process of `hotplug-check` that is given one check file after the other, so that what they have
 * in common is loaded and made checkable once. See parallel.ts.
 */
import { HotplugError } from '../lib/errors.ts'
import { type Answer, lost, type Order } from './answer.ts'
import { checkBatch, tallyOf, textOf } from './batch.ts'
import { loadChecks } from './load.ts'

process.on('message', (order: Order) => {
  void answerTo(order).then(answer => process.send!(answer))
})

async function answerTo({ file, options }: Order): Promise<Answer> {
  try {
    const chosen = await loadChecks([file])
    if (chosen.length === 0) throw new HotplugError('ENOENT', `check ${file}`, 'it has no models')
    const lines: string[] = []
    const results = await checkBatch(chosen, options, line => lines.push(line))
    return { text: lines.join('\n'), tally: tallyOf(results) }
  } catch (error) {
    return lost(error instanceof Error ? textOf(error) : String(error))
  }
}
