/*
 * `npm run break -- [KIND]... [--runs N] [--least N]`: leaves out one protection, and sees that
 * `npm start` notices, in at least so many of at most so many runs (all of one, if left out).
 *
 * Each run is act two on a small machine, again and again (`--voyages`), with a test build's twin
 * of lib/protections.ts. It must end with a failure or be stopped by its watchdog. As a control,
 * the same with nothing left out must pass.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const KINDS = ['memHotplugLock', 'memAddRemoveLock', 'guard', 'writeProtect'] as const
const NONE = 'none'
const DEMO = fileURLToPath(new URL('../../demo/main.js', import.meta.url))
const SHIP = ['--act', 'ship', '--size', '48MiB', '--block', '4MiB', '--value', '8000']
const SAILORS = ['--sailors', '4']
/** Long enough for a protection that is missing to be missed. */
const BROKEN = ['--voyages', '30', '--seconds', '70']
const WHOLE = ['--voyages', '1', '--seconds', '70']
const LIMIT_MS = 90_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1' },
    least: { type: 'string' },
  },
})
const runs = Number(values.runs)
const least = Number(values.least ?? runs)
const kinds = positionals.length === 0 ? [...KINDS, NONE] : positionals
const ends = kinds.map(kind => judge(kind))
process.exitCode = ends.every(Boolean) ? 0 : 1

/** Runs a kind so many times. */
function judge(kind: string): boolean {
  let [noticed, done] = [0, 0]
  for (; done < runs && (kind === NONE ? noticed === 0 : noticed < least); done++) {
    if (!passes(kind)) noticed++
  }
  const isAsItMust = kind === NONE ? noticed === 0 : noticed >= least
  const verdict = isAsItMust ? 'as it must be' : 'NOT AS IT MUST BE'
  console.log(`without ${kind}: ${noticed} of ${done} runs failed, ${verdict}`)
  return isAsItMust
}

function passes(kind: string): boolean {
  const long = kind === NONE ? WHOLE : BROKEN
  const args = ['--conditions=broken', DEMO, ...SHIP, ...SAILORS, ...long]
  const env = { ...process.env, HOTPLUG_BREAK: kind }
  const { status } = spawnSync(process.execPath, args, { env, stdio: 'ignore', timeout: LIMIT_MS })
  return status === 0
}
