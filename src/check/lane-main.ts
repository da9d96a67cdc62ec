/*
 * A process of `hotplug-check` that is given one check file after the other, so that what they have
 * in common is loaded and made checkable once. See parallel.ts.
 */
import { HotplugError } from '../lib/errors.ts'
import { checkBatch, textOf } from './batch.ts'
import type { Request, Response } from './lane-protocol.ts'
import { loadChecks } from './load.ts'
import { tallyOf } from './tally.ts'

process.on('message', (request: Request) => {
  void answer(request).then(response => process.send!(response))
})

async function answer({ file, options }: Request): Promise<Response> {
  try {
    const chosen = await loadChecks([file])
    if (chosen.length === 0) throw new HotplugError('ENOENT', `check ${file}`, 'it has no models')
    const lines: string[] = []
    const results = await checkBatch(chosen, options, line => lines.push(line))
    return { text: lines.join('\n'), tally: tallyOf(results) }
  } catch (error) {
    return { text: error instanceof Error ? textOf(error) : String(error), tally: null }
  }
}
