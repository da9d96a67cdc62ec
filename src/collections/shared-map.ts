/*
 * SharedMap: what users see of a map. Values and keys become words of private memory here, and
 * words become values; everything that is shared is in map-core.ts.
 *
 * Codecs and callbacks run outside of every guard and lock, and may use the map: so what is to be
 * written is complete before the first word of it is put into the scratch memory of the core.
 *
 * Inside of them nothing may throw. What could is a stack that is full, wherever a function is
 * called. So whoever takes a lock asks for the stack that it needs before (lib/stack.ts): there is
 * a RangeError, and nothing was begun. Short reads do not, for they are only inside the guard, and
 * that is left from here with less stack than it took to come to where they threw. Should
 * something throw all the same, all that the call had is let go (`MapCore.letGo`).
 */
import { HotplugError } from '../lib/errors.ts'
import { requireStack } from '../lib/stack.ts'
import type { Slot } from '../locking/slots.ts'
import { type Codec, type CodecName, codecOf, copyOf, type InnerCodec } from './codecs.ts'
import { type Expected, NOTHING } from './expected.ts'
import { VALUE_BYTES_MAX } from './large-values.ts'
import type { CollectionsContext } from './layout.ts'
import { type Found, MapCore } from './map-core.ts'
import { ABSENT, LARGE, LONG } from './reader.ts'
import { mapOfName } from './registry.ts'
import { Walker } from './walker.ts'

/** Bytes that a character can have in UTF-8, of those that strings count. */
const CHARACTER_BYTES_MAX = 3
/** Times that a large value is read again because it was replaced, before the lock is taken. */
const READ_TRIES = 3

/** How a map keeps its values. The same for each thread that opens it. */
export interface MapOptions<V> {
  /**
   * `bytes`: Uint8Array; `utf8`: string; `json`: what JSON has; `v8`: what structured clone has, by
   * `node:v8`; or your own.
   */
  readonly codec: CodecName | Codec<V>
}

/**
 * A map that all threads of the process share, in memory that can move and shrink.
 *
 * Keys are strings of up to 4095 bytes of UTF-8 (2048 where pages are 4 KiB), values up to 64 MiB
 * when encoded. What comes out is always a copy. Linearizable per key: a write is visible to all
 * threads when it returns, and no thread ever sees half of one, or an older value after a newer
 * one. `get`, `has` and `getInto` take no lock and never wait, but for a large value (one that
 * does not fit on a page) that others keep replacing while it is read. If a thread dies in the
 * middle of a write, its key has the old value or the new one.
 *
 * Every call throws `EINVAL` for a key that is no string, too long or has a lone surrogate, and
 * when the thread's slot is detached; `ENODEV` when the machine is shut down; a RangeError where
 * the stack is full. A call that throws has changed nothing.
 */
export class SharedMap<V> {
  /** The name by which every thread finds it. */
  readonly name: string
  private readonly core: MapCore
  private readonly codec: InnerCodec<V>
  private readonly walker: Walker
  private readonly nrShards: number
  private readonly slot: Slot
  private readonly assertOpen: (() => void) | undefined

  /**
   * Opens the map of that name; there is an empty one at first.
   *
   * @throws {HotplugError} `EINVAL`: a bad name or codec, or the map has another codec. `ENOSPC`:
   *   there are too many maps.
   */
  constructor(context: CollectionsContext, name: string, options: MapOptions<V>) {
    const operation = `open map ${String(name)}`
    this.codec = codecOf(operation, options?.codec)
    requireStack()
    const map = mapOfName(context, name, `codec ${this.codec.name}`)
    this.name = name
    this.core = new MapCore(context, map)
    this.walker = new Walker(context, this.core.heap, map)
    this.nrShards = context.control.nrShards
    this.slot = context.slot
    this.assertOpen = context.assertOpen
  }

  /** How many keys there are. Exact when nobody writes. */
  get size(): number {
    this.assertUsable('size')
    return this.whole(() => this.core.size())
  }

  /** The key's value; undefined if it has none. What the codec throws. */
  get(key: string): V | undefined {
    const { core, codec } = this
    const { reader } = core
    const { guard } = core.heap
    core.key.encode(key, 'get')
    let found: string | Buffer | number
    try {
      found = codec.isText ? reader.text() : reader.copy()
    } catch (error) {
      // Here as in getInto and has: the frame of a function for all three may not fit on the stack.
      try {
        guard.leave()
      } catch {
        guard.enter() // it was outside, or on its way
        guard.leave()
      }
      throw error
    }
    if (typeof found === 'string') return codec.fromText(found)
    if (typeof found === 'object') return codec.fromCopy(found)
    return found === ABSENT ? this.absent() : this.largeValue()
  }

  /**
   * Copies the key's value, as it is encoded, into `bytes`.
   *
   * @returns How many bytes it has; -1 if the key has no value.
   * @throws {HotplugError} `EINVAL`: it does not fit; the message says how long it is.
   */
  getInto(key: string, bytes: Uint8Array): number {
    const { core } = this
    const { guard } = core.heap
    core.key.encode(key, 'get into')
    let nrBytes: number
    try {
      nrBytes = core.reader.into(bytes)
    } catch (error) {
      try {
        guard.leave()
      } catch {
        guard.enter() // it was outside, or on its way
        guard.leave()
      }
      throw error
    }
    if (nrBytes === ABSENT) this.absent()
    if (nrBytes >= ABSENT) return nrBytes
    if (nrBytes === LONG) requireFit(core.reader.nrBytes(), bytes)
    core.rememberLarge()
    const value = this.readLarge()
    if (value === null) {
      this.absent()
      return ABSENT
    }
    requireFit(value.length, bytes)
    bytes.set(value)
    return value.length
  }

  /** Whether the key has a value. */
  has(key: string): boolean {
    const { guard } = this.core.heap
    this.core.key.encode(key, 'has')
    let isThere: boolean
    try {
      isThere = this.core.has()
    } catch (error) {
      try {
        guard.leave()
      } catch {
        guard.enter() // it was outside, or on its way
        guard.leave()
      }
      throw error
    }
    if (!isThere) this.absent()
    return isThere
  }

  /**
   * Gives the key a value.
   *
   * @returns The map.
   * @throws {HotplugError} `EINVAL`: the value is undefined, too large, or not the codec's.
   *   `ENOMEM`: there is no memory free. What the codec throws.
   */
  set(key: string, value: V): this {
    this.write('set', key, value, null)
    return this
  }

  /** Takes the key's value away. @returns Whether it had one. */
  delete(key: string): boolean {
    this.core.key.encode(key, 'delete')
    const wasThere = this.remove(null)
    if (!wasThere) this.absent()
    return wasThere
  }

  /**
   * Deletes every key. Not all at once: what others set meanwhile may stay, and others may see
   * some keys gone and some not.
   */
  clear(): void {
    this.assertUsable('clear')
    this.whole(() => this.core.clear())
  }

  /**
   * Replaces the key's value by what `change` makes of it. If another thread was faster, `change`
   * runs again, with what that left.
   *
   * @param change Given the value, undefined if there is none; undefined deletes the key.
   * @returns What it returned at last.
   * @throws {HotplugError} As `set`. What `change` throws.
   */
  update(key: string, change: (value: V | undefined) => V | undefined): V | undefined {
    for (;;) {
      const { value, expected } = this.look('update', key)
      const next = change(value)
      if (next !== undefined) {
        if (this.write('update', key, next, expected)) return next
      } else {
        this.core.key.encode(key, 'update')
        const isNothing = expected.sizes === null
        const isSame = isNothing ? !this.whole(() => this.core.has()) : this.remove(expected)
        if (isSame) return undefined
      }
    }
  }

  /**
   * The key's value; if it has none, it gets the one that `make` makes, unless another thread is
   * faster.
   *
   * @throws {HotplugError} As `set`. What `make` throws.
   */
  getOrSet(key: string, make: (key: string) => V): V {
    let made: { readonly value: V } | null = null
    for (;;) {
      const { value, expected } = this.look('getOrSet', key)
      if (expected.sizes !== null) return value as V
      made ??= { value: make(key) }
      if (this.write('getOrSet', key, made.value, NOTHING)) return made.value
    }
  }

  /**
   * The keys. Each that is there from the first step to the last is given exactly once; one that
   * comes or goes meanwhile once or not at all. Nothing is held between steps.
   */
  *keys(): Generator<string, undefined> {
    for (let i = 0; i < this.nrShards; i++) {
      const keys = this.whole(() => this.walker.keysOf(i))
      this.assertUsable('iterate') // after the walk, which else may have met the end of the machine
      yield* keys
    }
  }

  /** As `keys`, each with the value that it has when its turn comes. */
  *entries(): Generator<[string, V], undefined> {
    for (const key of this.keys()) {
      const { value, expected } = this.look('iterate', key)
      if (expected.sizes !== null) yield [key, value as V]
    }
  }

  /** As `entries`, the values alone. */
  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value
  }

  /** As `entries`. */
  [Symbol.iterator](): Generator<[string, V], undefined> {
    return this.entries()
  }

  /** Calls `use` for each of `entries`. */
  forEach(use: (value: V, key: string, map: this) => void): void {
    for (const [key, value] of this.entries()) use(value, key, this)
  }

  /**
   * How often writes of this object had to wait because a page was on the move, each time for one
   * batch at most. Of reads see `readWaits`.
   */
  get waits(): number {
    return this.core.heap.nrWaits
  }

  /**
   * How often `get` and `getInto` of this object took a lock, and so may have waited for a writer
   * that had it, which may have waited for a page on the move. Only where a large value is
   * replaced again and again while it is read; a value that fits on a page is never waited for.
   */
  get readWaits(): number {
    return this.core.nrLockedReads
  }

  /** Leaves the pages that this thread writes to, so that they can be compacted. */
  close(): void {
    this.assertUsable('close')
    this.whole(() => this.core.heap.close())
  }

  /** For calls that may come to their end without the guard or a page. */
  private assertUsable(operation: string): void {
    this.assertOpen?.()
    this.slot.assertAttached(operation)
  }

  /** A key that is not there, of a machine that is. */
  private absent(): undefined {
    this.assertOpen?.()
  }

  /** With room on the stack; should it throw in the middle all the same, what it had is let go. */
  private whole<T>(body: () => T): T {
    requireStack()
    try {
      return body()
    } catch (error) {
      this.core.letGo()
      throw error
    }
  }

  private remove(expected: Expected | null): boolean {
    requireStack()
    try {
      return this.core.remove(expected)
    } catch (error) {
      this.core.letGo()
      throw error
    }
  }

  private write(operation: string, key: string, value: V, expected: Expected | null): boolean {
    if (value === undefined) refuse(operation, 'the value is undefined: delete the key instead')
    const plain = this.codec.toPlain(value, operation)
    requireStack()
    this.core.key.encode(key, operation)
    try {
      if (typeof plain === 'string') return this.writeText(operation, plain, expected)
      return this.writeBytes(operation, plain, expected)
    } catch (error) {
      this.core.letGo()
      throw error
    }
  }

  private writeText(operation: string, text: string, expected: Expected | null): boolean {
    const { core } = this
    if (!core.isSmall(text.length * CHARACTER_BYTES_MAX)) {
      if (!text.isWellFormed()) refuse(operation, 'the value has a lone surrogate')
      return this.writeBytes(operation, Buffer.from(text, 'utf8'), expected)
    }
    const nrBytes = core.valueBytes.write(text, 0, 'utf8')
    if (nrBytes !== text.length && !text.isWellFormed()) {
      refuse(operation, 'the value has a lone surrogate')
    }
    return core.write(nrBytes, expected)
  }

  private writeBytes(operation: string, bytes: Uint8Array, expected: Expected | null): boolean {
    const { core } = this
    const nrBytes = bytes.length
    if (nrBytes > VALUE_BYTES_MAX) {
      refuse(operation, `the value has ${nrBytes} bytes, more than ${VALUE_BYTES_MAX}`)
    }
    if (!core.isSmall(nrBytes)) return core.writeLarge(bytes, expected)
    core.valueBytes.set(bytes)
    return core.write(nrBytes, expected)
  }

  /** The value, and what to compare with to see whether it is still the same. */
  private look(operation: string, key: string): { value: V | undefined; expected: Expected } {
    const { core, codec } = this
    core.key.encode(key, operation)
    const { value, expected } = this.whole(() => this.find())
    return { value: value === null ? this.absent() : codec.fromCopy(value), expected }
  }

  private find(): Found {
    const { core } = this
    for (let i = 0; i < READ_TRIES; i++) {
      const nrBytes = core.read()
      const expected = core.remember(nrBytes)
      if (nrBytes === ABSENT) return { value: null, expected }
      if (nrBytes >= 0) return { value: copyOf(core.valueBytes, nrBytes), expected }
      const value = core.readLarge()
      if (value !== null) return { value, expected }
    }
    return core.readLocked()
  }

  /** After the reader said `LARGE`. */
  private largeValue(): V | undefined {
    this.core.rememberLarge()
    const value = this.readLarge()
    return value === null ? this.absent() : this.codec.fromCopy(value)
  }

  /** After `read` said `LARGE`. @returns Null: the key has no value any more. */
  private readLarge(): Buffer | null {
    return this.whole(() => this.tryReadLarge())
  }

  private tryReadLarge(): Buffer | null {
    const { core } = this
    let nrBytes = LARGE
    for (let i = 0; i < READ_TRIES && nrBytes === LARGE; i++) {
      const value = core.readLarge()
      if (value !== null) return value
      nrBytes = core.read()
    }
    if (nrBytes === ABSENT) return null
    return nrBytes === LARGE ? core.readLocked().value : copyOf(core.valueBytes, nrBytes)
  }
}

function requireFit(nrBytes: number, bytes: Uint8Array): void {
  if (nrBytes <= bytes.length) return
  refuse('get into', `the value has ${nrBytes} bytes, more than the ${bytes.length} given`)
}

function refuse(operation: string, reason: string): never {
  throw new HotplugError('EINVAL', operation, reason)
}
