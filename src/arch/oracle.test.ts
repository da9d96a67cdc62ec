import { equal, notEqual } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { sharedWords, until } from '../../test/thread.ts'
import { FAMILY_WORDS, kernelOracle, openOracle, portableOracle, watchWorkers } from './oracle.ts'

const ENDS_AT_ONCE = 'data:text/javascript,'

test('the kernel knows this thread, and tells two users of an id apart by their start', t => {
  if (!existsSync('/proc/thread-self')) return t.diagnostic('no /proc here')
  const { tid, start, exists } = kernelOracle()

  equal(exists(tid, start), true)
  equal(exists(tid, 0), true)
  equal(exists(tid, start + 1), false)
  equal(exists(0x3fffff, start), false)
})

test('nobody is taken for dead because a file descriptor is wanting', t => {
  if (!existsSync('/proc/thread-self')) return t.diagnostic('no /proc here')
  const code = `
    import { openSync } from 'node:fs'
    import { kernelOracle } from ${JSON.stringify(new URL('./oracle.js', import.meta.url).href)}
    const { tid, start, exists } = kernelOracle()
    try { for (;;) openSync('/dev/null') } catch {}
    process._rawDebug(String(exists(tid, start)))`
  const script = `ulimit -n 64; exec "$0" --input-type=module -e "$1" 2>&1`

  const said = execFileSync('sh', ['-c', script, process.execPath, code], { encoding: 'utf8' })

  equal(said.trim(), 'true')
})

test('a portable oracle of one machine is made where it is asked for', () => {
  const family = sharedWords(FAMILY_WORDS)

  equal(openOracle('portable', family).isKernels, false)
  equal(openOracle('auto', family).isKernels, existsSync('/proc/thread-self'))
  equal(openOracle('portable', family).oracle.tid, 1)
})

test('a worker that has ended is dead, and so are all that it made', () => {
  const family = sharedWords(FAMILY_WORDS)
  const oracle = portableOracle(family)
  const asChild = (threadId: number): number => threadId + 1

  oracle.made(7)
  family.set([asChild(7), asChild(8), asChild(8), asChild(9), asChild(5), asChild(6)], 2)
  oracle.ended(7)

  for (const id of [7, 8, 9]) equal(oracle.exists(asChild(id), 1), false)
  for (const id of [5, 6]) equal(oracle.exists(asChild(id), 1), true)
  equal(family.filter(word => word !== 0).length, 2)
})

test('more workers than there is room for are still seen by their own maker', () => {
  const oracle = portableOracle(sharedWords(FAMILY_WORDS))

  for (let id = 1; id <= FAMILY_WORDS; id++) oracle.made(id)
  oracle.ended(FAMILY_WORDS)

  equal(oracle.exists(FAMILY_WORDS + 1, 1), false)
})

test('the ends of workers are seen until watching ends', async () => {
  const seen: string[] = []
  const oracle = {
    ...portableOracle(sharedWords(FAMILY_WORDS)),
    made: (id: number) => void seen.push(`made ${id}`),
    ended: (id: number) => void seen.push(`ended ${id}`),
  }
  let nrEnded = 0

  const watch = watchWorkers(oracle, () => nrEnded++)
  const worker = new Worker(new URL(ENDS_AT_ONCE))
  const { threadId } = worker
  await until('its end is seen', () => nrEnded === 1)
  watch[Symbol.dispose]()
  const unseen = new Worker(new URL(ENDS_AT_ONCE))
  await new Promise(resolve => unseen.once('exit', resolve))

  equal(seen.join(), `made ${threadId},ended ${threadId}`)
  notEqual(threadId, -1)
})
