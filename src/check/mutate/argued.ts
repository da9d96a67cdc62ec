import { existsSync, readFileSync } from 'node:fs'

/** A mutant that is argued to be no bug. */
export interface Argued {
  readonly id: string
  readonly reason: string
}

/**
 * Reads the list of survivors with their reasons: items of the form "- `id`: reason".
 *
 * @param only Part of an id; others are left out.
 */
export function readArgued(file: string, only: string): Argued[] {
  if (!existsSync(file)) return []
  const text = readFileSync(file, 'utf8')
  const items = [...text.matchAll(/^- `([^`]+)`: (.+)$/gm)]
  return items
    .map(([, id, reason]) => ({ id: id as string, reason: reason as string }))
    .filter(({ id }) => id.includes(only))
}
