/*
 * Memory that really arrives and leaves: madvise on ranges of the address space.
 *
 *     prepare    MADV_NOHUGEPAGE: the first touch of a huge page stalls 6.5 ms
 *     populate   MADV_POPULATE_WRITE: faster than touching from JavaScript
 *     discard    MADV_DONTNEED; of memory that was locked, MADV_DONTNEED_LOCKED
 *     resident   /proc/self/pagemap, or mincore
 *
 * What has really left is what was resident before and is not afterwards. pagemap tells pages that
 * are this process's own from the shared page of zeroes, which a page becomes that was read before
 * it was ever written, and which occupies nothing; mincore cannot, and is asked only where there is
 * no pagemap.
 *
 * Only the service thread calls this: a thread that is terminated while it loads koffi takes the
 * process with it.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { or } from '#atomics'
import { assert } from '../lib/assert.ts'
import { HotplugError } from '../lib/errors.ts'
import type { RealMemory } from './real-memory.ts'

const MADV_DONTNEED = 4
const MADV_NOHUGEPAGE = 15
const MADV_POPULATE_WRITE = 23
const MADV_DONTNEED_LOCKED = 24

const EAGAIN = 11
const EINVAL = 22
/** A signal, or memory that was moving, interrupts populating; each time it gets further. */
const POPULATE_TRIES_MAX = 100

const PAGEMAP_ENTRY_BYTES = 8
/** In the upper half of an entry: bit 63. */
const PAGEMAP_PRESENT = 1 << 31
/** In the upper half: bit 56, mapped by nobody else; never of the page of zeroes. */
const PAGEMAP_EXCLUSIVE = 1 << 24
/** In the upper half: bit 61, a file's; a file's pages are shared, and are here all the same. */
const PAGEMAP_FILE = 1 << 29
const PAGEMAP_CHUNK_BYTES = 128 * 1024

/** The little of koffi that we use. */
interface Koffi {
  load(path: null): { func(prototype: string): (...args: unknown[]) => number }
  address(of: Uint8Array): bigint
  errno(): number
}

/** The system's calls, on absolute addresses. */
export interface System {
  readonly pageBytes: number
  /** @returns 0, or the errno. */
  madvise(address: number, bytes: number, advice: number): number
  /** @returns Pages that are resident, by mincore. */
  nrInCore(address: number, bytes: number): number
  addressOf(view: Uint8Array): number
}

/**
 * The calling thread's hold on the memory of an address space.
 *
 * @throws {Error} There is none: not Linux, or koffi does not load.
 */
export async function linuxMemory(buffer: SharedArrayBuffer): Promise<RealMemory> {
  if (process.platform !== 'linux') throw new Error(`no madvise on ${process.platform}`)
  return new LinuxMemory(buffer, await openSystem())
}

async function openSystem(): Promise<System> {
  const { default: koffi } = (await import('koffi')) as { default: Koffi }
  const libc = koffi.load(null)
  const pageBytes = libc.func('int getpagesize()')()
  const madvise = libc.func('int madvise(uintptr_t address, size_t bytes, int advice)')
  const mincore = libc.func('int mincore(uintptr_t address, size_t bytes, _Out_ uint8_t *pages)')
  return {
    pageBytes,
    madvise: (address, bytes, advice) =>
      madvise(address, bytes, advice) === 0 ? 0 : koffi.errno(),
    nrInCore: (address, bytes) => {
      const pages = new Uint8Array(bytes / pageBytes)
      const result = mincore(address, bytes, pages)
      assert(result === 0, `memory: mincore failed with errno ${koffi.errno()}`)
      return pages.reduce((sum, page) => sum + (page & 1), 0)
    },
    addressOf: view => Number(koffi.address(view)),
  }
}

/** See `linuxMemory`. */
export class LinuxMemory implements RealMemory {
  readonly discards = true
  private readonly buffer: SharedArrayBuffer
  private readonly system: System
  private readonly base: number
  private readonly entries = new Uint32Array(PAGEMAP_CHUNK_BYTES / 4)

  constructor(buffer: SharedArrayBuffer, system: System) {
    this.buffer = buffer
    this.system = system
    this.base = system.addressOf(new Uint8Array(buffer))
    const isAligned = this.base > 0 && this.base % system.pageBytes === 0
    assert(isAligned, `memory: the buffer is at ${this.base}, not at a page`)
  }

  prepare(start: number, bytes: number): void {
    const address = this.addressOf(start, bytes)
    const errno = this.system.madvise(address, bytes, MADV_NOHUGEPAGE)
    assert(errno === 0 || errno === EINVAL, `memory: NOHUGEPAGE failed with errno ${errno}`)
  }

  populate(start: number, bytes: number): void {
    const { pageBytes } = this.system
    const from = Math.floor(start / pageBytes) * pageBytes
    const length = Math.ceil((start + bytes - from) / pageBytes) * pageBytes
    const address = this.addressOf(from, length)
    let errno = EAGAIN
    for (let i = 0; i < POPULATE_TRIES_MAX && errno === EAGAIN; i++) {
      errno = this.system.madvise(address, length, MADV_POPULATE_WRITE)
    }
    if (errno === EINVAL || errno === EAGAIN) this.touch(from, length)
    else if (errno !== 0) {
      const reason = `the system has no memory for it (errno ${errno})`
      throw new HotplugError('ENOMEM', `populate ${length} bytes at ${from}`, reason)
    }
  }

  discard(start: number, bytes: number): number {
    const address = this.addressOf(start, bytes)
    const before = this.resident(start, bytes)
    let errno = this.system.madvise(address, bytes, MADV_DONTNEED)
    if (errno === EINVAL) errno = this.system.madvise(address, bytes, MADV_DONTNEED_LOCKED)
    if (errno !== 0) {
      const reason = `the system keeps it (errno ${errno}); is it locked?`
      throw new HotplugError('EBUSY', `discard ${bytes} bytes at ${start}`, reason)
    }
    return Math.max(0, before - this.resident(start, bytes))
  }

  resident(start: number, bytes: number): number {
    const address = this.addressOf(start, bytes)
    const { pageBytes } = this.system
    const nrPages = this.nrInPagemap(address, bytes) ?? this.system.nrInCore(address, bytes)
    return nrPages * pageBytes
  }

  /** A page at a time: what a kernel before 5.14 leaves us. */
  private touch(start: number, bytes: number): void {
    const words = new Int32Array(this.buffer, start, bytes / 4)
    const step = this.system.pageBytes / 4
    for (let i = 0; i < words.length; i += step) or(words, i, 0)
  }

  private addressOf(start: number, bytes: number): number {
    const { pageBytes } = this.system
    const isOfPages = start % pageBytes === 0 && bytes % pageBytes === 0
    assert(isOfPages, `memory: range ${start}, ${bytes} is not of whole pages`)
    const isWithin = start >= 0 && bytes > 0 && start + bytes <= this.buffer.byteLength
    assert(isWithin, `memory: range ${start}, ${bytes} is not within the address space`)
    return this.base + start
  }

  /** Null: there is no pagemap. */
  private nrInPagemap(address: number, bytes: number): number | null {
    let fd = -1
    try {
      fd = openSync('/proc/self/pagemap', 'r')
      return this.countPages(fd, address, bytes)
    } catch {
      return null
    } finally {
      if (fd !== -1) closeSync(fd)
    }
  }

  private countPages(fd: number, address: number, bytes: number): number {
    const { entries } = this
    let at = (address / this.system.pageBytes) * PAGEMAP_ENTRY_BYTES
    let left = (bytes / this.system.pageBytes) * PAGEMAP_ENTRY_BYTES
    let nrPages = 0
    while (left > 0) {
      const length = Math.min(left, PAGEMAP_CHUNK_BYTES)
      const read = readSync(fd, entries, 0, length, at)
      if (read <= 0) throw new Error('pagemap ends early')
      for (let i = 1; i < read / 4; i += 2) if (occupies(entries[i]!)) nrPages++
      at += read
      left -= read
    }
    return nrPages
  }
}

function occupies(upper: number): boolean {
  if ((upper & PAGEMAP_PRESENT) === 0) return false
  return (upper & (PAGEMAP_EXCLUSIVE | PAGEMAP_FILE)) !== 0
}
