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
  'ENOTRECOVERABLE',
  'EOWNERDEAD',
  'EPERM',
  'ETIMEDOUT',
] as const

/** Why an operation was refused. */
export type HotplugCode = (typeof HOTPLUG_CODES)[number]

/** What stands in the way of an operation. */
export interface Blocker {
  /** What refuses to go: `memory12`. */
  readonly device: string
  /** The page. */
  readonly pfn?: number
  /** Who has it. */
  readonly owner?: string
  /** For how long. */
  readonly sinceMs?: number
  readonly reason: string
}

/** What an error may say beside its message. */
export interface HotplugErrorOptions extends ErrorOptions {
  readonly blockedBy?: readonly Blocker[]
}

/**
 * An operation was refused, and all that it had begun is undone.
 *
 * Match on `code`. The message is for people and may change.
 */
export class HotplugError extends Error {
  override readonly name = 'HotplugError'
  readonly code: HotplugCode
  /** What stands in the way, if it can be named. */
  readonly blockedBy?: readonly Blocker[]

  /**
   * @param code Why it was refused.
   * @param operation What was asked, verb first: `offline memory12`.
   * @param reason What stood in the way, naming the page, CPU or device.
   */
  constructor(code: HotplugCode, operation: string, reason: string, options?: HotplugErrorOptions) {
    super(`${operation}: ${reason} (${code})`, options)
    this.code = code
    if (options?.blockedBy !== undefined) this.blockedBy = options.blockedBy
  }
}
