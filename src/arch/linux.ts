/*
 * What we ask of Linux by FFI. Only the service thread imports this, for a thread that is
 * terminated while it loads koffi takes the whole process with it.
 */

const SYS_MEMBARRIER_X64 = 324
const PRIVATE_EXPEDITED = 1 << 3
const REGISTER_PRIVATE_EXPEDITED = 1 << 4

/** The little of koffi that we use. */
interface Koffi {
  load(path: null): { func(prototype: string): (...args: number[]) => number }
}

/**
 * Registers the process for expedited barriers.
 *
 * @returns The barrier: a full fence on every running thread of the process, about 1 µs.
 * @throws {Error} The machine has none: not x86-64 Linux, koffi does not load, the kernel refuses.
 */
export async function membarrier(): Promise<() => void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`no membarrier on ${process.platform} ${process.arch}`)
  }
  const { default: koffi } = (await import('koffi')) as { default: Koffi }
  const syscall = koffi
    .load(null)
    .func('long syscall(long number, int command, uint flags, int cpu)')
  const call = (command: number): void => {
    const result = syscall(SYS_MEMBARRIER_X64, command, 0, 0)
    if (result !== 0) throw new Error(`membarrier(${command}) returned ${result}`)
  }
  call(REGISTER_PRIVATE_EXPEDITED)
  return () => call(PRIVATE_EXPEDITED)
}
