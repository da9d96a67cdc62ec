/*
 * `npm run bench [-- PART... [--rounds N] [--sizes N] [--markdown]]`: prints what the machine is
 * and the tables of docs/benchmarks.md. The node that runs it is the one measured.
 *
 *     PART        locks, map, readers, memory, scale, spin, check: all of them if left out
 *     --rounds    of each lock and call, and of memory that leaves (three times, where a core can
 *                 be kept for one thread); medians are taken of them (9)
 *     --sizes     how many sizes of SPIN's model, smallest first (2; the second takes minutes)
 *     --markdown  tables as the docs have them
 */
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { checkAll, compareWithSpin } from './checker.ts'
import { measureLocks } from './locks.ts'
import { MAP_SETTINGS, measureMaps } from './map.ts'
import { measureArrivals, measureIdle, measureSpace } from './memory.ts'
import { measureMoves } from './moves.ts'
import { measureReaders } from './readers.ts'
import {
  checkTable,
  locksTable,
  mapsTable,
  memoryTable,
  scaleTable,
  spinTable,
  type Table,
  tableText,
} from './report.ts'
import { measureScale } from './scale.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '9' },
    sizes: { type: 'string', default: '2' },
    markdown: { type: 'boolean', default: false },
  },
})

const parts = new Map<string, () => Promise<Table[]>>([
  ['check', async () => [checkTable(checkAll())]],
  ['spin', async () => [spinTable(compareWithSpin(Number(values.sizes)))]],
  [
    'map',
    async () => {
      const tables = []
      for (const setting of MAP_SETTINGS) {
        console.error(`map: ${setting.codec}, ${setting.valueBytes} bytes, ${setting.keys} keys`)
        tables.push(mapsTable(await measureMaps(setting, Number(values.rounds))))
      }
      return tables
    },
  ],
  [
    'readers',
    async () => {
      const title = 'Two threads that read one map, values of 100 bytes'
      return [memoryTable(title, await measureReaders(Number(values.rounds)))]
    },
  ],
  [
    'memory',
    async () => [
      memoryTable('Memory in use that leaves', await measureMoves(Number(values.rounds))),
      memoryTable('Memory that arrives', await measureArrivals()),
      memoryTable('Space', await measureSpace()),
      memoryTable('Idle', await measureIdle()),
    ],
  ],
  [
    'scale',
    async () => {
      const sizes = reservations()
      return [scaleTable(sizes, await measureScale(sizes, Number(values.rounds)))]
    },
  ],
  ['locks', async () => [locksTable(await measureLocks(Number(values.rounds)))]],
])

console.log(machineText())
for (const [part, measure] of parts) {
  if (positionals.length > 0 && !positionals.includes(part)) continue
  for (const table of await measure()) console.log(`\n${tableText(table, values.markdown)}`)
}

/** Node 20 reserves 4 GiB at most. */
function reservations(): number[] {
  const isOld = Number(process.versions.node.split('.')[0]) < 22
  return isOld ? [2 ** 26, 2 ** 30, 2 ** 32] : [2 ** 26, 2 ** 30, 2 ** 34, 2 ** 38, 2 ** 40]
}

function machineText(): string {
  const cores = cpus()
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  return `Node ${process.version.slice(1)}, ${cores.length} x ${cores[0]?.model}, ${memory}`
}
