/*
 * Makes a thread's own state visible: the same code, line for line, that says at each call where
 * it is and what its variables hold.
 *
 *     function step(words) {              function step(words) {const $d=$hotplug.n;
 *       const word = load(words, 0)         const word = load(words, 0, ...$hotplug.at(…,[words]))
 *
 * `at` contributes no argument and runs after the real ones are evaluated. `$d` is the number of
 * callers; so at any operation the frames below it are the whole stack. Values that live between
 * operations without a name (`load(a) + load(b)`, what a `finally` will return, the position of a
 * `for … of`) get one. What variables a closure holds is told by a thunk beside it, `#private`
 * fields by one in their class. What cannot be made visible (variables of the module that
 * functions assign) is refused when such a function runs in a body, not before.
 *
 * publish.ts walks the tree; what happens behind `$hotplug` is in frames.ts. All names come from
 * that one global and from the hoisted `$hotplugSites`, so nothing breaks in import cycles.
 */
import { publish } from './publish.ts'
import { Source } from './source.ts'

/**
 * Adds what makes a module's frames visible. Lines stay where they are.
 *
 * @param code JavaScript.
 * @param url Where the module will be loaded from; its source map is looked for beside it.
 * @returns The code to run in its place; the same code if it was transformed before.
 * @throws {SyntaxError} it does not parse.
 */
export function transform(code: string, url: string, commonjs = false): string {
  if (code.includes('$hotplugSites')) return code
  const source = new Source(code, url, commonjs)
  publish(source)
  return source.finish()
}
