/** Why an operation was refused: errno's names, with errno's meaning. */
export type HotplugCode =
  | 'EAGAIN'
  | 'EBUSY'
  | 'EDEADLK'
  | 'EEXIST'
  | 'EINTR'
  | 'EINVAL'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'EOWNERDEAD'
  | 'EPERM'
  | 'ETIMEDOUT'

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
