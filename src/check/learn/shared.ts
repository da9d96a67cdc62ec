/*
 * Shared memory as a body sees it while it is learned: views that know which words they are and
 * hold nothing.
 *
 * They are proxies, so that lock constructors take them for what they look like, while whatever
 * would touch an element past the seam is refused. Their buffer is a proxy too: no view can be
 * built over it behind the checker's back.
 */

/** A stretch of the model's words. All views lie in one buffer. */
export interface LearnView {
  /** Its first word's number. */
  readonly start: number
  /** Words. */
  readonly length: number
}

/** Makes views over a model's words and recognises them. */
export class SharedMemory {
  readonly views: readonly Int32Array[]
  private readonly words: Int32Array
  private readonly buffer: object
  private readonly known = new WeakMap<object, Int32Array>()
  private readonly refuse: (what: string) => void

  /** @param refuse Throws a refusal. */
  constructor(nrWords: number, views: readonly LearnView[], refuse: (what: string) => void) {
    this.refuse = refuse
    this.words = new Int32Array(new SharedArrayBuffer(4 * nrWords))
    this.buffer = this.hideBuffer()
    this.views = views.map(({ start, length }) =>
      this.hide(this.words.subarray(start, start + length)),
    )
  }

  /** The number of the word at `index` of a view; -1 if it is no view of the model. */
  wordOf(view: object, index: number): number {
    const words = this.known.get(view)
    if (words === undefined) return -1
    if (!(Number.isInteger(index) && index >= 0 && index < words.length)) {
      this.refuse(`index ${index} is not within the view's ${words.length} words`)
    }
    return words.byteOffset / 4 + index
  }

  /** What an object of this memory is; undefined if it is none. */
  describe(object: object): string | undefined {
    if (object === this.buffer) return 'B'
    const words = this.known.get(object)
    return words && `M${words.byteOffset / 4}+${words.length}`
  }

  private hide(words: Int32Array): Int32Array {
    const outside = (what: string): void => {
      this.refuse(`touches shared memory outside the seam: ${what}`)
    }
    const subarray = (begin?: number, end?: number): Int32Array =>
      this.hide(words.subarray(begin, end))
    const proxy = new Proxy(words, {
      get: (target, key) => {
        if (key === 'buffer') return this.buffer
        if (key === 'subarray') return subarray
        if (typeof key === 'string' && /^-?\d/.test(key)) outside(`[${key}] is read`)
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value === 'function' && key !== 'constructor') outside(`${String(key)}()`)
        return value
      },
      set: (_, key) => {
        outside(`[${String(key)}] is written`)
        return false
      },
      ownKeys: target => {
        outside('its elements are listed')
        return Reflect.ownKeys(target)
      },
      getOwnPropertyDescriptor: (target, key) => {
        outside(`[${String(key)}] is read`)
        return Reflect.getOwnPropertyDescriptor(target, key)
      },
    })
    this.known.set(proxy, words)
    return proxy
  }

  private hideBuffer(): object {
    return new Proxy(this.words.buffer, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        const harmless = typeof value !== 'function' && value !== undefined
        if (!harmless && key !== 'constructor') {
          const what = 'a view is built over the shared memory of the model'
          this.refuse(`${what}, past the checker: use the declared views and their subarray()`)
        }
        return value
      },
    })
  }
}
