import type { Words } from '#atomics'
import { HotplugError } from '../lib/errors.ts'

/**
 * Refuses memory that a lock cannot live in.
 *
 * @param nrWords How many words the lock needs from `index` on.
 * @throws {HotplugError} `EINVAL`: not an Int32Array over shared memory, or out of its bounds.
 */
export function requireWords(lock: string, words: Words, index: number, nrWords: number): void {
  const operation = `make ${lock}`
  if (!(words instanceof Int32Array)) {
    throw new HotplugError('EINVAL', operation, 'its memory is not an Int32Array')
  }
  if (!(words.buffer instanceof SharedArrayBuffer)) {
    throw new HotplugError('EINVAL', operation, 'its memory is not shared')
  }
  if (!Number.isInteger(index) || index < 0 || index + nrWords > words.length) {
    const asked = `words [${index}, ${index + nrWords})`
    throw new HotplugError('EINVAL', operation, `${asked} are not within its ${words.length} words`)
  }
}
