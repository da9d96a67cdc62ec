import { existsSync, readFileSync } from 'node:fs'

/** A mutant, or with `*` in its id many, argued to be no bug. */
export interface Argued {
  readonly id: string
  readonly reason: string
}

/** Reads the list of survivors with their reasons: items of the form "- `id`: reason". */
export function readArgued(file: string): Argued[] {
  if (!existsSync(file)) return []
  const items = [...readFileSync(file, 'utf8').matchAll(/^- `([^`]+)`: (.+)$/gm)]
  return items.map(([, id, reason]) => ({ id: id as string, reason: reason as string }))
}

/** Whether an argument is about many mutants, which are not run then. */
export function isClass({ id }: Argued): boolean {
  return id.includes('*')
}

/** Whether an argument is about the mutant with this id. */
export function isAbout(argued: Argued, id: string): boolean {
  const parts = argued.id.split('*').map(part => part.replace(/[.#+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(id)
}
