import { HotplugError } from './errors.ts'

/** A size: a number of bytes, or a string as `64MiB`. */
export type Size = number | `${number}${'KiB' | 'MiB' | 'GiB' | 'TiB'}`

const UNITS: Readonly<Record<string, number>> = {
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

/**
 * A size in bytes.
 *
 * @param operation What was asked, for the error.
 * @param name What the size is.
 * @throws {HotplugError} `EINVAL`: not a whole number of bytes, 0 or more.
 */
export function bytesOf(size: Size, operation: string, name: string): number {
  const match = typeof size === 'string' ? /^(\d+(?:\.\d+)?)([KMGT]iB)$/.exec(size) : null
  const bytes = match ? Number(match[1]) * UNITS[match[2]!]! : size
  if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  const reason = `${name} is ${String(size)}, not a number of bytes or a size as 64MiB`
  throw new HotplugError('EINVAL', operation, reason)
}

/** Bytes for people: `64 MiB`, `1.5 GiB`. */
export function sizeText(bytes: number): string {
  const unit = Object.keys(UNITS).findLast(name => bytes >= UNITS[name]!)
  if (unit === undefined) return `${bytes} B`
  const amount = bytes / UNITS[unit]!
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${unit}`
}
