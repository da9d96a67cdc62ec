/*
 * Insertions into a text that leave its lines where they are.
 */

/** An insertion; its text may be set until the text is asked for. */
export interface Insertion {
  text: string
}

/** Collects insertions, in any order; those at one offset keep the order they were made in. */
export class Splice {
  private readonly source: string
  private readonly insertions: { offset: number; slot: Insertion }[] = []

  constructor(source: string) {
    this.source = source
  }

  /** Inserts before the character at `offset`; no line ends in `text`. */
  insert(offset: number, text: string): Insertion {
    const slot = { text }
    this.insertions.push({ offset, slot })
    return slot
  }

  /**
   * The text, and where the given offsets of the source are in it.
   *
   * @param offsets Ascending.
   * @returns Line and column, both from 1, of the character at each offset.
   */
  finish(offsets: readonly number[]): { text: string; places: [number, number][] } {
    this.insertions.sort((a, b) => a.offset - b.offset)
    const places: [number, number][] = []
    const lines = new Lines(this.source)
    let text = ''
    let done = 0
    let shift = 0
    let line = 1
    let next = 0
    for (const offset of [...offsets, this.source.length]) {
      for (; next < this.insertions.length; next++) {
        const insertion = this.insertions[next] as { offset: number; slot: Insertion }
        if (insertion.offset > offset) break
        text += this.source.slice(done, insertion.offset) + insertion.slot.text
        done = insertion.offset
        const at = lines.at(insertion.offset).line
        shift = insertion.slot.text.length + (at === line ? shift : 0)
        line = at
      }
      const place = lines.at(offset)
      places.push([place.line, place.column + 1 + (place.line === line ? shift : 0)])
    }
    places.pop()
    return { text: text + this.source.slice(done), places }
  }
}

/** Lines of a text. */
export class Lines {
  private readonly starts: number[] = [0]

  constructor(text: string) {
    for (const { index, 0: end } of text.matchAll(/\r\n|[\n\r\u2028\u2029]/g)) {
      this.starts.push(index + end.length)
    }
  }

  /** How many. */
  get count(): number {
    return this.starts.length
  }

  /** The line of an offset, from 1, and its column, from 0. */
  at(offset: number): { line: number; column: number } {
    let low = 0
    let high = this.starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.starts[middle] as number) <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - (this.starts[low] as number) }
  }
}
