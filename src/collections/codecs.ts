import { deserialize, serialize } from 'node:v8'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import { requireName } from './registry.ts'

/** How values become bytes, and bytes values. The same in every thread, by its name. */
export interface Codec<V> {
  /** What tells codecs apart; 1 to 100 bytes. */
  readonly name: string
  /** Called with no lock held; may use the map. What it throws, the caller gets. */
  encode(value: V): Uint8Array
  /** @param bytes A copy, the callee's to keep. */
  decode(bytes: Uint8Array): V
}

/** Names of the codecs that are built in. */
export type CodecName = 'bytes' | 'utf8' | 'json' | 'v8'

/** A codec as maps use it: what is between value and bytes may be a string. */
export interface InnerCodec<V> {
  readonly name: string
  /** What is to be written: bytes, or a string to be written as UTF-8. */
  toPlain(value: V, operation: string): Uint8Array | string
  /** What becomes a value: a text, or bytes. */
  readonly isText: boolean
  fromText(text: string): V
  /** @param bytes A copy, the callee's to keep. */
  fromCopy(bytes: Buffer): V
}

const BYTES: InnerCodec<Uint8Array> = {
  name: 'bytes',
  toPlain(value, operation) {
    if (value instanceof Uint8Array) return value
    return refuse(operation, `the value is ${kindOf(value)}, no Uint8Array`)
  },
  isText: false,
  fromText: noText,
  fromCopy: bytes => bytes,
}

const UTF8: InnerCodec<string> = {
  name: 'utf8',
  toPlain(value, operation) {
    if (typeof value === 'string') return value
    return refuse(operation, `the value is ${kindOf(value)}, no string`)
  },
  isText: true,
  fromText: text => text,
  fromCopy: bytes => bytes.toString('utf8'),
}

const JSON_TEXT: InnerCodec<unknown> = {
  name: 'json',
  toPlain(value, operation) {
    const text = JSON.stringify(value)
    if (text !== undefined) return text
    return refuse(operation, `the value is ${kindOf(value)}, which JSON has not`)
  },
  isText: true,
  fromText: text => JSON.parse(text),
  fromCopy: bytes => JSON.parse(bytes.toString('utf8')),
}

const V8: InnerCodec<unknown> = {
  name: 'v8',
  toPlain: value => serialize(value),
  isText: false,
  fromText: noText,
  fromCopy: bytes => deserialize(bytes),
}

const BUILT_IN: Readonly<Record<CodecName, InnerCodec<never>>> = {
  bytes: BYTES as InnerCodec<never>,
  utf8: UTF8 as InnerCodec<never>,
  json: JSON_TEXT as InnerCodec<never>,
  v8: V8 as InnerCodec<never>,
}

/**
 * The codec that an option names or is.
 *
 * @throws {HotplugError} `EINVAL`: there is none of that name, or it is none.
 */
export function codecOf<V>(operation: string, codec: CodecName | Codec<V>): InnerCodec<V> {
  if (typeof codec === 'string') {
    const known = Object.hasOwn(BUILT_IN, codec) ? BUILT_IN[codec] : undefined
    if (known !== undefined) return known as unknown as InnerCodec<V>
    const names = Object.keys(BUILT_IN).join(', ')
    return refuse(operation, `there is no codec ${codec}; there are ${names}, or your own`)
  }
  const isCodec = typeof codec?.encode === 'function' && typeof codec.decode === 'function'
  if (!isCodec) return refuse(operation, 'its codec has no encode or no decode')
  requireName(operation, 'codec', codec.name)
  if (Object.hasOwn(BUILT_IN, codec.name)) {
    return refuse(operation, `the name ${codec.name} is that of a codec that is built in`)
  }
  return {
    name: codec.name,
    toPlain(value, operation) {
      const bytes = codec.encode(value)
      if (bytes instanceof Uint8Array) return bytes
      return refuse(operation, `codec ${codec.name} made ${kindOf(bytes)}, no Uint8Array`)
    },
    isText: false,
    fromText: noText,
    fromCopy: bytes => codec.decode(new Uint8Array(bytes)),
  }
}

/** The first bytes of `scratch`, as memory that nobody else has. */
export function copyOf(scratch: Buffer, nrBytes: number): Buffer {
  const copy = Buffer.allocUnsafe(nrBytes)
  scratch.copy(copy, 0, 0, nrBytes)
  return copy
}

function noText(): never {
  assert(false, 'codec: it is made of bytes')
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : `${typeof value}`
}

function refuse(operation: string, reason: string): never {
  throw new HotplugError('EINVAL', operation, reason)
}
