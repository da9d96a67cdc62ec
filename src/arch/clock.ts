/** Milliseconds since some moment, with fractions; never goes back. */
export function now(): number {
  return performance.now()
}
