/*
 * The values that shared words take, each word's numbered in order of appearance.
 *
 * Few words take more than a handful of values, so a state holds numbers of values, a few bits
 * wide, and an operation on a word is a look-up in a table. 0 is the number of the initial value.
 */

/** Values that one word may take. Beyond, a word that only grows would never be done. */
const VALUES_MAX = 1 << 16

/** A word took more than `VALUES_MAX` values. */
export class ValuesOverflow extends Error {
  override readonly name = 'ValuesOverflow'
}

/** The values that each word has taken, numbered. */
export class Words {
  /** Values so far, of all words. */
  count: number
  /** Per word, its values so far by number. */
  readonly values: readonly number[][]
  private readonly indices: readonly Map<number, number>[]

  /** @param initial Initial value of each word. */
  constructor(initial: Int32Array) {
    this.count = initial.length
    this.values = Array.from(initial, value => [value])
    this.indices = Array.from(initial, value => new Map([[value, 0]]))
  }

  /** The number of a word's value; a new one if it never had that value. */
  intern(word: number, value: number): number {
    const indices = this.indices[word]!
    const known = indices.get(value)
    if (known !== undefined) return known
    const values = this.values[word]!
    if (values.length === VALUES_MAX) {
      throw new ValuesOverflow(`word ${word} takes more than ${VALUES_MAX} values`)
    }
    indices.set(value, values.length)
    values.push(value)
    this.count++
    return values.length - 1
  }

  value(word: number, index: number): number {
    return this.values[word]![index]!
  }
}
