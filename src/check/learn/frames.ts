/*
 * What transformed code calls: the published frames of the running thread, and what is known of
 * functions and classes that close over variables or have private fields.
 *
 * Frames are published by depth, so a frame is overwritten by the next call of its function or of
 * a caller; nothing is popped. Entries at and above `n`, and entries of callers that have returned
 * meanwhile, are stale: stack.ts compares with the engine's own stack before any of it is used.
 *
 * Everything is in one object, the global `$hotplug`. Without a capture it does next to nothing.
 */
import type { Site } from '../program.ts'
import type { SiteRow, Table } from './source.ts'
import { displayPath, pathOf } from './source-map.ts'

/** Told by running code while a body is captured. */
export interface Watch {
  /** Time passes: a call, or a loop's next round. Throws when it has passed in vain. */
  tick(): void
  /** The code cannot be captured. */
  refuse(what: string, site: Site): never
}

/** A function of a module: where it stands, and its variables from outside. */
export interface Closure {
  readonly module: Module
  readonly offset: number
  readonly captured: () => readonly unknown[]
}

/** `$hotplugSites`, by which a module is known. */
export type Module = () => Table

/** A variable that has no value yet. */
export const UNSET = Symbol('unset')

/** A value that transformed code has no name for. */
export const NAMELESS = Symbol('nameless')

const NOTHING: readonly never[] = Object.freeze([])

/** A constructor that returns its argument: a class that extends it adds its fields to that. */
const ReturnOverride = function returnOverride(object: object) {
  return object
} as unknown as new (
  object: object,
) => object

/**
 * What is noted of a function, in a private field of it: nobody sees it, and it is set and
 * collected far faster than an entry of a WeakMap. Bodies make thousands of functions a second.
 */
class Noted extends ReturnOverride {
  #closure: Closure

  private constructor(object: object, closure: Closure) {
    super(object)
    this.#closure = closure
  }

  /** Instead of what was noted before. */
  static note(object: object, closure: Closure): void {
    if (#closure in object) object.#closure = closure
    else new Noted(object, closure)
  }

  static of(object: object): Closure | undefined {
    return #closure in object ? object.#closure : undefined
  }
}

/** The global `$hotplug`. */
export class Frames {
  /** Depth: frames in use. */
  n = 0
  readonly modules: Module[] = []
  readonly calls: number[] = []
  readonly values: (readonly unknown[])[] = []
  watch: Watch | null = null
  /** Published for a value that has no name: refused if an operation is reached meanwhile. */
  readonly nameless: symbol = NAMELESS
  private readonly readers = new WeakMap<object, (object: object) => readonly unknown[]>()
  private readonly loaded = new Set<Module>()
  private readonly tables = new Map<Module, ModuleTable>()

  /** A module begins. */
  load(module: Module): void {
    this.loaded.add(module)
  }

  /** A function at `depth` is about to call. @returns No arguments. */
  at(depth: number, module: Module, call: number, values: readonly unknown[]): readonly never[] {
    if (this.watch === null) return NOTHING
    this.watch.tick()
    this.modules[depth] = module
    this.calls[depth] = call
    this.values[depth] = values
    this.n = depth + 1
    return NOTHING
  }

  /** A loop begins its next round. */
  tick(): void {
    this.watch?.tick()
  }

  /** A function begins that must not run in a body. @returns Its depth. */
  hidden(module: Module, refusal: number): number {
    if (this.watch === null) return this.n
    const { file, refusals } = this.tableOf(module).table
    const [line, what] = refusals[refusal] as readonly [number, string]
    return this.watch.refuse(what, { file: displayPath(file), line, text: '' })
  }

  /** The value of a variable that may not be there yet. */
  value(read: () => unknown): unknown {
    try {
      return read()
    } catch {
      return UNSET
    }
  }

  /** Notes what a function closes over, and gives back the name that it would have had. */
  fn<F extends object>(
    module: Module,
    offset: number,
    name: string | null,
    closure: F,
    captured: Closure['captured'],
  ): F {
    Noted.note(closure, { module, offset, captured })
    if (name !== null && Reflect.get(closure, 'name') === '') {
      Object.defineProperty(closure, 'name', { value: name, configurable: true })
    }
    return closure
  }

  /** Notes what the methods of an object literal close over; not those that a spread put there. */
  methods(
    module: Module,
    object: object,
    rows: readonly [string, 'value' | 'get' | 'set', number, Closure['captured']][],
  ): object {
    for (const [name, role, offset, captured] of rows) {
      const method: unknown = Object.getOwnPropertyDescriptor(object, name)?.[role]
      if (typeof method === 'function' && Noted.of(method) === undefined)
        Noted.note(method, { module, offset, captured })
    }
    return object
  }

  /** Notes how to read a class's private fields. */
  fields(class_: { prototype: object }, read: (object: object) => readonly unknown[]): void {
    this.readers.set(class_.prototype, read)
  }

  /** What is known of a function or class; undefined if it closes over nothing. */
  closureOf(value: object): Closure | undefined {
    return Noted.of(value)
  }

  /** Reads private fields of objects with this prototype; undefined if there are none. */
  readerOf(prototype: object): ((object: object) => readonly unknown[]) | undefined {
    return this.readers.get(prototype)
  }

  /** What a module's transformation told. */
  tableOf(module: Module): ModuleTable {
    let known = this.tables.get(module)
    if (known === undefined) {
      known = new ModuleTable(this.tables.size, module())
      this.tables.set(module, known)
    }
    return known
  }

  /** The modules that bodies have used. */
  usedTables(): ModuleTable[] {
    return [...this.tables.values()]
  }

  /** The module that the engine calls by this name; undefined if it was not transformed. */
  tableOfScript(script: string): ModuleTable | undefined {
    const used = this.usedTables().find(module => module.isScript(script))
    if (used !== undefined) return used
    for (const module of this.loaded) {
      const table = this.tables.get(module) ?? new ModuleTable(-1, module())
      if (table.isScript(script)) return table
    }
    return undefined
  }
}

/** A module's table, and what is made of it. */
export class ModuleTable {
  /** Tells modules apart. */
  readonly id: number
  readonly table: Table
  readonly path: string
  /** By call, where the engine was found to stand at it, once it was. */
  readonly positions: number[] = []
  private readonly sites: Site[] = []

  constructor(id: number, table: Table) {
    this.id = id
    this.table = table
    this.path = pathOf(table.url)
  }

  /** Whether the engine's name for a script means this module. */
  isScript(name: string | null | undefined): boolean {
    return name === this.table.url || name === this.path
  }

  /** The place of a call, for people. */
  site(call: number): Site {
    this.sites[call] ??= this.newSite(call)
    return this.sites[call]
  }

  /** The place in the source of a place in the module, with the call if there is one. */
  siteAt(line: number, column: number): Site {
    const call = this.table.sites.findIndex(row => row[0] === line && row[1] === column)
    if (call >= 0) return this.site(call)
    return { file: displayPath(this.table.file), line: this.lineOf(line), text: '' }
  }

  /** The line of the source that a line of the module was compiled from. */
  lineOf(line: number): number {
    return this.table.lines?.[line - 1] ?? line
  }

  private newSite(call: number): Site {
    const [, , line, text] = this.table.sites[call] as SiteRow
    return { file: displayPath(this.table.file), line, text }
  }
}

declare global {
  var $hotplug: Frames | undefined
}

globalThis.$hotplug ??= new Frames()

/** The frames of this thread. */
export const frames: Frames = globalThis.$hotplug
