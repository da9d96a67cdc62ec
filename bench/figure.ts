/** A figure: what was measured, beside what was aimed at. */
export interface MemoryFigure {
  readonly what: string
  readonly value: string
  readonly aim: string
}

/** With as many digits as mean something. */
export function figure(what: string, value: number, aim: string): MemoryFigure {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 3
  return { what, value: Number.isInteger(value) ? String(value) : value.toFixed(digits), aim }
}
