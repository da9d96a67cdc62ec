/*
 * The records of the ship: made from WordNet, so many and so large that they fill half a gigabyte.
 * What a record must be follows from its number and how often it was updated, so that every byte
 * can be compared at the end.
 *
 *     value   version, 4 bytes | text of the record, from a place that depends on the version
 */
import { readWordnet } from './wordnet.ts'

const VERSION_BYTES = 4

/** All records; each thread makes its own. */
export class ShipRecords {
  readonly count: number
  readonly valueBytes: number
  private readonly text: Buffer

  /** @param totalBytes What keys and values are to come to. */
  constructor(totalBytes: number, valueBytes: number) {
    this.valueBytes = valueBytes
    this.count = Math.ceil(totalBytes / (valueBytes + 8))
    const lines = Array.from(readWordnet(), ({ value }) => value)
    this.text = Buffer.from(lines.join('\n'), 'latin1')
  }

  key(i: number): string {
    return `word${i}`
  }

  /** Writes what record `i` is at a version to `target`, `valueBytes` of it. */
  write(i: number, version: number, target: Buffer): void {
    target.writeUInt32LE(version, 0)
    this.text.copy(target, VERSION_BYTES, this.from(i, version), this.to(i, version))
  }

  /** The version that a value says. */
  version(value: Buffer): number {
    return value.readUInt32LE(0)
  }

  /** Whether a value is, byte for byte, what record `i` is at the version that it says. */
  isRight(i: number, value: Buffer): boolean {
    if (value.length !== this.valueBytes) return false
    const version = this.version(value)
    const { text } = this
    return (
      text.compare(
        value,
        VERSION_BYTES,
        value.length,
        this.from(i, version),
        this.to(i, version),
      ) === 0
    )
  }

  private from(i: number, version: number): number {
    const room = this.text.length - this.valueBytes
    return (i * 97 + version * 1009) % room
  }

  private to(i: number, version: number): number {
    return this.from(i, version) + this.valueBytes - VERSION_BYTES
  }
}
