/*
 * The twin of protections.ts for test builds (--conditions=broken): leaves out the protection that
 * HOTPLUG_BREAK names, to show that a run without it fails.
 */
import type { Protection } from './protections.ts'

/** As in protections.ts. */
export function isBroken(protection: Protection): boolean {
  return process.env.HOTPLUG_BREAK === protection
}
