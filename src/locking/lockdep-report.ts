import { HotplugError } from '../lib/errors.ts'
import { type Edge, Mode } from './lockdep-graph.ts'
import type { Place, Taking, Tracked } from './lockdep-held.ts'

const FRAMES_MAX = 8

/** What an edge's text says: who took `held` and then asked for the other, with both stacks. */
export function orderText(slot: number, held: Taking, asked: Taking): string {
  return `slot ${slot} ${heldText(held)}\n  then ${askedText(asked)}`
}

/**
 * A cycle of orders.
 *
 * @param path The orders seen before, from what is asked for to what is held.
 * @param now The text of the order that would close it.
 */
export function cycleReport(
  path: readonly Edge[],
  now: string,
  asked: Taking,
  nameOf: (index: number) => string,
): HotplugError {
  const names = path.map(edge => nameOf(edge.from))
  const cycle = [...names, nameOf(path[path.length - 1]!.to), names[0]!].join(' -> ')
  const reason = [
    `it would close the cycle ${cycle}, in which each can wait for the next for ever`,
    ...path.map(edge => `  before: ${edge.text}`),
    `  now: ${now}`,
    '  take them in one order, or only try and start over',
  ]
  return report(asked, reason)
}

/** A lock, or another of its class, that the asking operation holds already. */
export function nestedReport(held: Taking, asked: Taking, isSameLock: boolean): HotplugError {
  const reason = [
    isSameLock ? selfText(held, asked) : `${held.lock.className} is the name of one already held`,
    `  ${heldText(held)}`,
    `  now ${askedText(asked)}`,
  ]
  if (!isSameLock) reason.push('  if there is an order among them, say so with nest()')
  return report(asked, reason)
}

/** A release by one who does not hold it. */
export function releaseReport(lock: Tracked, place: Place): HotplugError {
  const reason = `this thread does not hold it\n${frames(place)}\n `
  return new HotplugError('EPERM', `release ${lock.className}`, reason)
}

/** A lock made anew over one that the thread holds. */
export function initReport(held: Taking, place: Place): HotplugError {
  const reason = `this thread holds it\n  ${heldText(held)}\n  made anew\n${frames(place)}\n `
  return new HotplugError('EDEADLK', `make ${held.lock.className}`, reason)
}

function report(asked: Taking, reason: readonly string[]): HotplugError {
  const verb = asked.lock.isRegion ? 'wait for' : 'take'
  return new HotplugError('EDEADLK', `${verb} ${nameText(asked)}`, reason.join('\n'))
}

function selfText(held: Taking, asked: Taking): string {
  if (held.lock.isRegion) return 'it waits for what it must do itself'
  if (held.mode === Mode.Exclusive) return 'it has it already'
  if (asked.mode === Mode.Exclusive) return 'it reads already, and would wait for itself to leave'
  return 'it reads already; a writer that comes in between stops the second reader for ever'
}

function heldText(held: Taking): string {
  const verb = held.lock.isRegion ? 'entered' : 'took'
  return `${verb} ${nameText(held)}\n${frames(held.place)}`
}

function askedText(asked: Taking): string {
  const verb = asked.lock.isRegion ? 'waits for' : 'asks for'
  return `${verb} ${nameText(asked)}\n${frames(asked.place)}`
}

function nameText(of: Taking): string {
  const name = of.lock.className
  return of.mode === Mode.Exclusive || of.lock.isRegion ? name : `${name} (read)`
}

function frames(place: Place): string {
  const lines = place.stack.split('\n').slice(1)
  const ours = lines.filter(line => !line.includes('(node:') && !line.includes('at node:'))
  const shown = ours.slice(0, FRAMES_MAX).map(line => `    ${line.trim()}`)
  return shown.length === 0 ? '    at the top of the event loop' : shown.join('\n')
}
