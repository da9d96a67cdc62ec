/** Why an operation can be refused: errno's names, with errno's meaning. */
export const HOTPLUG_CODES = [
  'EAGAIN',
  'EBUSY',
  'EDEADLK',
  'EEXIST',
  'EINTR',
  'EINVAL',
  'ENODEV',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'ENOSYS',
  'EOWNERDEAD',
  'EPERM',
  'ETIMEDOUT',
] as const

/** Why an operation was refused. */
export type HotplugCode = (typeof HOTPLUG_CODES)[number]

/**
 * An operation was refused, and all that it had begun is undone.
 *
 * Match on `code`. The message is for people and may change.
 */
export class HotplugError extends Error {
  override readonly name = 'HotplugError'
  readonly code: HotplugCode

  /**
   * @param code Why it was refused.
   * @param operation What was asked, verb first: `offline memory12`.
   * @param reason What stood in the way, naming the page, CPU or device.
   */
  constructor(code: HotplugCode, operation: string, reason: string, options?: ErrorOptions) {
    super(`${operation}: ${reason} (${code})`, options)
    this.code = code
  }
}
