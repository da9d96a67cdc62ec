/*
 * The text of a thread's own state: equal texts, equal futures.
 *
 * An object met again is written as a reference to where it was met first, so that sharing is part
 * of the text while identity is not. Functions are told apart by where they stand and by what they
 * close over. Things that are there before the thread (prototypes, functions of modules) are
 * told apart by numbers. What cannot be looked into is refused.
 */
import { types } from 'node:util'
import { type Closure, frames, NAMELESS, UNSET } from './frames.ts'

const HASH_FROM_BYTES = 256

/** Numbers for things that outlive runs. */
class Numbers {
  private readonly objects = new WeakMap<object, number>()
  private readonly symbols = new Map<symbol, number>()
  count = 0

  of(value: object | symbol): number {
    const known = typeof value === 'symbol' ? this.symbols.get(value) : this.objects.get(value)
    if (known !== undefined) return known
    const number = this.count++
    if (typeof value === 'symbol') this.symbols.set(value, number)
    else this.objects.set(value, number)
    return number
  }
}

const numbers = new Numbers()

/** How many numbers were given out: if this grows in a run, its text may not be repeatable. */
export function nrNumbers(): number {
  return numbers.count
}

/** Writes values as text; one for all values whose sharing matters. */
export class Canon {
  private readonly seen = new Map<object, number>()
  private readonly describe: (object: object) => string | undefined

  /** @param describe Names objects that are not to be looked into. */
  constructor(describe: (object: object) => string | undefined) {
    this.describe = describe
  }

  /** @throws {Opaque} something in it cannot be looked into. */
  text(value: unknown): string {
    switch (typeof value) {
      case 'string':
        return `s${value.length}:${value}`
      case 'number':
        return Object.is(value, -0) ? '-0' : `${value}`
      case 'bigint':
        return `${value}n`
      case 'symbol':
        if (value === NAMELESS)
          throw new Opaque('a value that has no name of its own (give it one), which')
        return value === UNSET ? '-' : `y${numbers.of(value)}`
      case 'object':
        return value === null ? 'null' : this.objectText(value)
      case 'function':
        return this.functionText(value)
      default:
        return `${value}`
    }
  }

  private objectText(object: object): string {
    const name = this.describe(object)
    if (name !== undefined) return name
    const seen = this.seen.get(object)
    if (seen !== undefined) return `#${seen}`
    this.seen.set(object, this.seen.size)
    if (Array.isArray(object)) return this.arrayText(object)
    const prototype: unknown = Object.getPrototypeOf(object)
    if (prototype === Object.prototype) return `{${this.properties(object)}}`
    if (object === globalThis) return 'global'
    return this.builtInText(object) ?? this.instanceText(object, prototype)
  }

  private arrayText(array: readonly unknown[]): string {
    if (Object.keys(array).length !== array.length) {
      return `[${this.properties(array)}]${this.ownText(array, Array.prototype)}`
    }
    let text = '['
    for (let i = 0; i < array.length; i++) text += `${this.text(array[i])},`
    return `${text}]${this.ownText(array, Array.prototype)}`
  }

  /** What a derived class adds to a built-in one. */
  private ownText(object: object, prototype: object): string {
    const actual: unknown = Object.getPrototypeOf(object)
    if (actual === prototype) return ''
    const own = Array.isArray(object) ? '' : this.properties(object)
    return `${this.prototypeText(actual as object)}{${own}${this.fields(object)}}`
  }

  /** Own properties, in their order. */
  private properties(object: object): string {
    let text = ''
    for (const key of Reflect.ownKeys(object)) {
      const property = Object.getOwnPropertyDescriptor(object, key)
      if (property === undefined || key === 'stack') continue
      text += typeof key === 'symbol' ? `${this.text(key)}:` : `${key}:`
      if (property.get !== undefined || property.set !== undefined) {
        text += `${this.text(property.get)}/${this.text(property.set)},`
      } else text += `${this.text(property.value)},`
    }
    return text
  }

  private instanceText(object: object, prototype: unknown): string {
    if (prototype === null) return `N{${this.properties(object)}}`
    const name = this.prototypeText(prototype as object)
    return `C${name}{${this.properties(object)}${this.fields(object)}}`
  }

  private prototypeText(prototype: object): string {
    const owner: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    const closure = typeof owner === 'function' ? frames.closureOf(owner) : undefined
    return closure === undefined
      ? `${numbers.of(prototype)}`
      : this.closureText(owner as object, closure)
  }

  /** Private fields, of each class up the chain. */
  private fields(object: object): string {
    let text = ''
    let at: unknown = Object.getPrototypeOf(object)
    for (; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      const read = frames.readerOf(at as object)
      if (read !== undefined) text += `#${this.arrayText(read(object))}`
      else if (hasHiddenFields(at as object)) {
        throw new Opaque(`an object of class ${className(at as object)}, whose private fields`)
      }
    }
    return text
  }

  private functionText(value: object): string {
    const closure = frames.closureOf(value)
    if (closure !== undefined) return this.closureText(value, closure)
    const name: unknown = Reflect.get(value, 'name')
    if (typeof name === 'string' && name.startsWith('bound ')) {
      throw new Opaque(`the function \`${name}\`, whose arguments`)
    }
    return `f${numbers.of(value)}`
  }

  private closureText(value: object, { module, offset, captured }: Closure): string {
    const seen = this.seen.get(value)
    if (seen !== undefined) return `#${seen}`
    this.seen.set(value, this.seen.size)
    const id = frames.tableOf(module).id
    const own = Object.keys(value).length > 0 ? `{${this.properties(value)}}` : ''
    return `F${id}.${offset}${this.arrayText(captured())}${own}`
  }

  /** Objects with state in slots; null if it is none. */
  private builtInText(object: object): string | null {
    if (ArrayBuffer.isView(object)) return this.viewText(object)
    if (object instanceof ArrayBuffer) return `A${bytesText(new Uint8Array(object))}`
    if (object instanceof SharedArrayBuffer) return `S${numbers.of(object)}`
    if (types.isMap(object)) {
      const entries = [...object].map(entry => this.arrayText(entry))
      return `Map${entries}${this.ownText(object, Map.prototype)}`
    }
    if (types.isSet(object)) {
      return `Set${this.arrayText([...object])}${this.ownText(object, Set.prototype)}`
    }
    if (types.isDate(object)) return `D${object.getTime()}`
    if (types.isRegExp(object)) return `${object}${object.lastIndex}`
    if (types.isBoxedPrimitive(object)) return `O${this.text(object.valueOf())}`
    const opaque = opaqueKind(object)
    if (opaque !== null) throw new Opaque(opaque)
    return null
  }

  private viewText(view: ArrayBufferView): string {
    const name = Object.prototype.toString.call(view).slice(8, -1)
    if (view.buffer instanceof SharedArrayBuffer) {
      return `${name}${numbers.of(view.buffer)}@${view.byteOffset}+${view.byteLength}`
    }
    if (Buffer.isBuffer(view)) return `Buffer${bytesText(view)}`
    return `${name}@${view.byteOffset}+${view.byteLength}${this.text(view.buffer)}`
  }
}

/** Something in a thread's state cannot be looked into; says what. */
export class Opaque extends Error {}

function opaqueKind(object: object): string | null {
  if (types.isPromise(object)) return 'a promise, whose state'
  if (types.isGeneratorObject(object)) return 'a generator, whose position'
  if (types.isWeakMap(object)) return 'a WeakMap, whose entries'
  if (types.isWeakSet(object)) return 'a WeakSet, whose members'
  const tag = Object.prototype.toString.call(object).slice(8, -1)
  if (/^WeakRef$|^FinalizationRegistry$/.test(tag)) return `a ${tag}, whose target`
  return / Iterator$|^Iterator Helper$/.test(tag) ? `an iterator (${tag}), whose position` : null
}

const hidden = new WeakMap<object, boolean>()

/** Whether a class that nobody transformed has private fields. */
function hasHiddenFields(prototype: object): boolean {
  let known = hidden.get(prototype)
  if (known === undefined) {
    const owner: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    const text = typeof owner === 'function' ? Function.prototype.toString.call(owner) : ''
    known = /^\s*#[\w$]+\s*[=;]|[\s;{]#[\w$]+\s*[=;]/m.test(text)
    hidden.set(prototype, known)
  }
  return known
}

function className(prototype: object): string {
  const owner: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  return typeof owner === 'function' ? owner.name : '?'
}

function bytesText(bytes: Uint8Array): string {
  if (bytes.length <= HASH_FROM_BYTES) return `[${bytes}]`
  let low = 0x811c9dc5
  let high = 0x050c5d1f
  for (let i = 0; i < bytes.length; i++) {
    low = Math.imul(low ^ bytes[i]!, 0x01000193)
    high = Math.imul(high ^ bytes[i]!, 0x01000197) ^ (low >>> 15)
  }
  return `[${bytes.length}:${low},${high}]`
}
