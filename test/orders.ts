/*
 * Orders of acquisition, and an oracle for lockdep: which of them can deadlock, by trying every
 * schedule. It knows nothing of graphs.
 */

/**
 * What one task takes, step by step: `WA` takes A to write, `RA` to read, `rA` recursively, `uA`
 * lets go of A.
 */
export type Order = string

/** Every way to take the locks of `shape`: each to write, to read, or recursively. */
export function* mixesOf(shape: readonly string[]): Generator<Order[]> {
  const nrSteps = shape.join('').length
  for (let mix = 0; mix < 3 ** nrSteps; mix++) {
    let rest = mix
    const mode = (): string => {
      const digit = rest % 3
      rest = Math.floor(rest / 3)
      return 'WRr'[digit]!
    }
    yield shape.map(task => [...task].map(lock => mode() + lock).join(' '))
  }
}

/**
 * Whether some schedule of the tasks, one each, ends with one that cannot go on. By trying all:
 * a task announces what it wants (a writer that waits stops readers, but not recursive ones), then
 * gets it when it can. For each lock there may be one more writer, who comes at any time.
 */
export function canDeadlock(orders: readonly Order[]): boolean {
  const tasks = orders.map(order => order.split(' '))
  const locks = new Set(tasks.flat().map(step => step[1]!))
  const all = [...tasks, ...[...locks].map(lock => [`W${lock}`])]
  const seen = new Set<number>()
  const stack = [all.map(() => 0)]
  while (stack.length > 0) {
    const state = stack.pop()!
    let canMove = false
    for (let i = 0; i < all.length; i++) {
      const place = state[i]!
      if (place === 2 * all[i]!.length) continue
      if (place % 2 === 1 && !isGranted(all, state, i)) continue
      if (place > 0 || i < tasks.length) canMove = true
      const next = state.with(i, place + 1)
      const code = next.reduce((sum, digit) => sum * 7 + digit)
      if (!seen.has(code)) stack.push(next)
      seen.add(code)
    }
    if (!canMove && tasks.some((task, i) => state[i] !== 2 * task.length)) return true
  }
  return false
}

/** Places: 2k: holds the first k, 2k + 1: has announced the next; at the end it lets go of all. */
function isGranted(all: readonly string[][], state: readonly number[], asking: number): boolean {
  const asked = all[asking]![state[asking]! >> 1]!
  return all.every((task, i) => {
    if (i === asking || state[i] === 2 * task.length) return true
    const k = task.findIndex(step => step[1] === asked[1])
    if (k < 0 || k >= (state[i]! + 1) >> 1) return true
    const isWriter = task[k]![0] === 'W'
    if (k === state[i]! >> 1) return !isWriter || asked[0] !== 'R' // announced, not yet inside
    return !isWriter && asked[0] !== 'W'
  })
}
