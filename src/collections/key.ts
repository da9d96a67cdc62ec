import { HotplugError } from '../lib/errors.ts'
import { KEY_BYTES_MAX, wordsOf } from './layout.ts'

const ASCII_MAX = 0x7f

/** A key as words of private memory, the last one padded with zeros, and its hash. */
export class Key {
  readonly words: Int32Array
  nrBytes = 0
  nrWords = 0
  hash = 0
  private readonly bytes: Buffer
  private readonly bytesMax: number
  private readonly seed: number

  /** @param seed What hashes begin with; the same in every thread. */
  constructor(seed: number, bytesMax: number = KEY_BYTES_MAX) {
    this.words = new Int32Array(wordsOf(bytesMax))
    this.bytes = Buffer.from(this.words.buffer)
    this.seed = seed
    this.bytesMax = bytesMax
  }

  /**
   * Becomes the key of that name.
   *
   * @param operation What was asked, for errors.
   * @throws {HotplugError} `EINVAL`: not a string, too long, or with a lone surrogate.
   */
  encode(key: string, operation: string): void {
    if (typeof key !== 'string') refuse(operation, `the key is of type ${typeof key}, no string`)
    const { length } = key
    if (length > this.bytesMax) this.tooLong(operation, `${length} characters`)
    const { words } = this
    let seen = 0
    let at = 0
    let hash = this.seed ^ length
    let i = 0
    for (; i + 4 <= length; i += 4) {
      const a = key.charCodeAt(i)
      const b = key.charCodeAt(i + 1)
      const c = key.charCodeAt(i + 2)
      const d = key.charCodeAt(i + 3)
      seen |= a | b | c | d
      const word = a | (b << 8) | (c << 16) | (d << 24)
      words[at++] = word
      hash = mix(hash, word)
    }
    if (i < length) {
      let word = 0
      for (let shift = 0; i < length; i++, shift += 8) {
        const code = key.charCodeAt(i)
        seen |= code
        word |= code << shift
      }
      words[at++] = word
      hash = mix(hash, word)
    }
    if (seen > ASCII_MAX) {
      this.encodeUtf8(key, operation)
      return
    }
    this.nrBytes = length
    this.nrWords = at
    this.hash = finish(hash)
  }

  /** Becomes the key whose words are here already. */
  adopt(nrBytes: number): void {
    this.nrBytes = nrBytes
    this.nrWords = wordsOf(nrBytes)
    let hash = this.seed ^ nrBytes
    for (let i = 0; i < this.nrWords; i++) hash = mix(hash, this.words[i]!)
    this.hash = finish(hash)
  }

  private encodeUtf8(key: string, operation: string): void {
    if (!key.isWellFormed()) refuse(operation, 'the key has a lone surrogate')
    const nrBytes = Buffer.byteLength(key)
    if (nrBytes > this.bytesMax) this.tooLong(operation, `${nrBytes} bytes`)
    this.words[wordsOf(nrBytes) - 1] = 0
    this.bytes.write(key, 0, nrBytes, 'utf8')
    this.adopt(nrBytes)
  }

  private tooLong(operation: string, length: string): never {
    refuse(operation, `the key has ${length}, more than ${this.bytesMax} bytes`)
  }
}

/** The longest key where pages are so large: half a page is left for what else an entry has. */
export function keyBytesMax(pageSize: number): number {
  return Math.min(KEY_BYTES_MAX, pageSize >>> 1)
}

/** As MurmurHash3. */
function mix(hash: number, word: number): number {
  word = Math.imul(word, 0xcc9e2d51)
  word = (word << 15) | (word >>> 17)
  hash ^= Math.imul(word, 0x1b873593)
  hash = (hash << 13) | (hash >>> 19)
  return (Math.imul(hash, 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

function refuse(operation: string, reason: string): never {
  throw new HotplugError('EINVAL', operation, reason)
}
