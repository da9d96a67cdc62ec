/*
 * Clocks, random numbers and timers: what must not decide what a checked body does.
 *
 * The globals ask the driver first. Without one they are what they always were.
 */
import { driver, installAtomics } from './driver.ts'

type AnyFunction = (...args: never[]) => unknown

const WHERE: readonly (readonly [object, string, readonly string[]])[] = [
  [Math, 'Math', ['random']],
  [performance, 'performance', ['now']],
  [process.hrtime, 'process.hrtime', ['bigint']],
  [process, 'process', ['hrtime']],
  [crypto, 'crypto', ['getRandomValues', 'randomUUID']],
  [globalThis, '', ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']],
  [process, 'process', ['nextTick']],
]

let installed = false

/** Guards the globals of this thread, once. */
export function installGuards(): void {
  if (installed) return
  installed = true
  installAtomics()
  guardDate()
  for (const [object, path, names] of WHERE) {
    for (const name of names) guard(object, name, path === '' ? name : `${path}.${name}`)
  }
}

function guard(object: object, name: string, path: string): void {
  const original = Reflect.get(object, name) as AnyFunction
  const value = function (this: unknown, ...args: never[]): unknown {
    driver?.refuse(notRepeatable(path))
    return Reflect.apply(original, this, args)
  }
  Object.defineProperties(value, Object.getOwnPropertyDescriptors(original))
  Object.defineProperty(object, name, { value, writable: true, configurable: true })
}

function guardDate(): void {
  const original = Date
  const guarded: DateConstructor = new Proxy(original, {
    apply: () => {
      driver?.refuse(notRepeatable('Date()'))
      return original()
    },
    construct: (_, args, target): object => {
      if (args.length === 0) driver?.refuse(notRepeatable('new Date()'))
      return Reflect.construct(original, args, target === guarded ? original : target)
    },
  })
  guard(original, 'now', 'Date.now')
  Object.defineProperty(globalThis, 'Date', { value: guarded, writable: true, configurable: true })
}

function notRepeatable(what: string): string {
  return `${what} is not the same in every run: pass what it returns to the body as a number`
}
