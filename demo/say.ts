/* How the demonstrations speak: plain lines, and on a terminal a bar that is rewritten. */

/** Resident memory of the process and its threads, in bytes. */
export function residentBytes(): number {
  return process.memoryUsage.rss()
}

/** 12.3 MiB. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toLocaleString('en', { maximumFractionDigits: 1 })} MiB`
}

/** A number with separators. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** Where the demonstration speaks to: text or, with `--json`, nowhere until the end. */
export class Voice {
  private readonly isSilent: boolean
  private readonly hasTerminal: boolean
  private hasBar = false
  private saidAt = 0
  private doing = 'starting'
  private doingSince = performance.now()

  constructor(isSilent: boolean) {
    this.isSilent = isSilent
    this.hasTerminal = process.stdout.isTTY === true
  }

  /** A line. */
  say(text = ''): void {
    if (this.isSilent) return
    this.wipe()
    console.log(text)
  }

  /** How far it is, 0 to 1: a bar on a terminal, a line every few seconds in a pipe. */
  progress(what: string, part: number): void {
    if (what !== this.doing) this.doingSince = performance.now()
    this.doing = what
    if (this.isSilent) return
    const percent = Math.floor(part * 100)
    if (!this.hasTerminal) {
      const now = performance.now()
      if (now - this.saidAt < 5000) return
      this.saidAt = now
      console.log(`  ... ${what}, ${percent} %`)
      return
    }
    const filled = Math.round(part * 30)
    const bar = `${'#'.repeat(filled)}${'.'.repeat(30 - filled)}`
    process.stdout.write(`\r\x1b[K  ${bar} ${percent} % ${what}`)
    this.hasBar = true
  }

  /** What was last in progress, and for how long. */
  doingText(): string {
    return `${this.doing}, for ${Math.round((performance.now() - this.doingSince) / 1000)} s`
  }

  private wipe(): void {
    if (this.hasBar) process.stdout.write('\r\x1b[K')
    this.hasBar = false
  }
}

/** Rows in columns: the first to the left, the others to the right. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const cell = (text: string, column: number): string =>
    column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)
  return rows.map(row => `  ${row.map(cell).join('  ')}`).join('\n')
}
