import { HotplugError } from './errors.ts'

/**
 * Refuses options that there are not: a name that is misspelt, or not to be had yet, would have no
 * effect, and nobody would know.
 *
 * @param operation What they are for, as errors call it.
 * @param known The names that there are.
 * @throws {HotplugError} `EINVAL`: names the one that there is not, and those that there are; or
 *   they are no object.
 */
export function requireOptions(
  operation: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
): void {
  if (typeof options !== 'object' || options === null) {
    throw new HotplugError('EINVAL', operation, `its options are ${options}, no object`)
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue
    const names = Object.keys(known).join(', ')
    throw new HotplugError('EINVAL', operation, `there is no option ${name}, but ${names}`)
  }
}
