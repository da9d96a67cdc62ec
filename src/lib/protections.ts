/** What keeps threads apart, each of which a test build can leave out. */
export type Protection = 'memHotplugLock' | 'memAddRemoveLock' | 'guard' | 'writeProtect'

/**
 * Whether a protection is left out, to see what happens. Never in what ships: this module answers
 * to `#protections`. Under --conditions=broken that is broken.ts, which is not published.
 */
export function isBroken(_protection: Protection): boolean {
  return false
}
