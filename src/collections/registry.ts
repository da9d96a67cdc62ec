/*
 * Names of maps: which number has the map of a name, and what it was made with.
 *
 * A list that only grows: LOCK, how many, then a record each: the bytes of its text, and the text,
 * name and options. A map is there once it is counted; whoever dies before has added nothing.
 *
 * Checked by registry.check.ts.
 */
import { copyIn, copyOut, load, store } from '#atomics'
import { HotplugError } from '../lib/errors.ts'
import { Mutex } from '../locking/mutex.ts'
import { CACHE_LINE_WORDS } from '../locking/slots.ts'
import { withLockdep } from '../locking/with-lockdep.ts'
import { type CollectionsContext, type CollectionsControl, MAPS_MAX, wordsOf } from './layout.ts'

/** Bytes of UTF-8 that the name of a map, or of a codec, can have. */
export const NAME_BYTES_MAX = 100

const LOCK = 0
const NR_MAPS = 1
const RECORDS = CACHE_LINE_WORDS
const RECORD_WORDS = 64
const TEXT = 1

/** Words of shared memory that the names need, zeroed. */
export const REGISTRY_WORDS = RECORDS + MAPS_MAX * RECORD_WORDS

/** How many maps there are. */
export function nrMapsOf({ registry }: CollectionsControl): number {
  return load(registry, NR_MAPS)
}

/**
 * The number of the map of that name; made if there is none.
 *
 * @param options What it is made with, as text: must be the same each time.
 * @throws {HotplugError} `EINVAL`: it was made with other options, or the name is bad. `ENOSPC`:
 *   there are `MAPS_MAX` maps.
 */
export function mapOfName(context: CollectionsContext, name: string, options: string): number {
  const operation = `open map ${typeof name === 'string' ? name : String(name)}`
  requireName(operation, 'name', name)
  const known = find(context.control, operation, name, options)
  if (known >= 0) return known
  const { slot, control, lockdep } = context
  const mutex = new Mutex(slot, control.registry, LOCK, 'maps')
  const lock = lockdep === null ? mutex : withLockdep(mutex, lockdep, 'maps')
  lock.lock()
  try {
    const made = find(control, operation, name, options)
    return made >= 0 ? made : add(control, operation, name, options)
  } finally {
    lock.unlock()
  }
}

/** The name of the map of that number; null: there is none. */
export function nameOfMap(control: CollectionsControl, map: number): string | null {
  return map < nrMapsOf(control) ? textOf(control, map).split('\0')[0]! : null
}

/** @throws {HotplugError} `EINVAL`: not a string of 1 to `NAME_BYTES_MAX` bytes. */
export function requireName(operation: string, what: string, name: unknown): void {
  const isText = typeof name === 'string' && name !== '' && name.isWellFormed()
  if (isText && Buffer.byteLength(name) <= NAME_BYTES_MAX && !name.includes('\0')) return
  const reason = `its ${what} is no string of 1 to ${NAME_BYTES_MAX} bytes of UTF-8`
  throw new HotplugError('EINVAL', operation, reason)
}

function find(
  control: CollectionsControl,
  operation: string,
  name: string,
  options: string,
): number {
  const nrMaps = nrMapsOf(control)
  for (let map = 0; map < nrMaps; map++) {
    const [found, made] = textOf(control, map).split('\0') as [string, string]
    if (found !== name) continue
    if (made === options) return map
    throw new HotplugError('EINVAL', operation, `it has ${made}, not ${options}`)
  }
  return -1
}

function add(control: CollectionsControl, operation: string, name: string, options: string) {
  const { registry } = control
  const map = nrMapsOf(control)
  if (map === MAPS_MAX) {
    throw new HotplugError('ENOSPC', operation, `there are ${MAPS_MAX} maps already`)
  }
  const bytes = Buffer.from(`${name}\0${options}`)
  const words = new Int32Array(wordsOf(bytes.length))
  new Uint8Array(words.buffer).set(bytes)
  const at = RECORDS + map * RECORD_WORDS
  store(registry, at, bytes.length)
  copyIn(registry, at + TEXT, words, 0, words.length)
  store(registry, NR_MAPS, map + 1)
  return map
}

function textOf({ registry }: CollectionsControl, map: number): string {
  const at = RECORDS + map * RECORD_WORDS
  const nrBytes = load(registry, at)
  const words = new Int32Array(wordsOf(nrBytes))
  copyOut(words, 0, registry, at + TEXT, words.length)
  return Buffer.from(words.buffer, 0, nrBytes).toString()
}
