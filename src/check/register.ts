/*
 * `node --import hotplug/check/register`: code that is loaded from now on can be checked.
 *
 * Public as `hotplug/check/register`. What it does to a module is told in learn/transform.ts;
 * outside a check the code runs as it would without.
 */
import module from 'node:module'
import './learn/frames.ts'
import { installGuards } from './learn/guards.ts'
import { loadSync } from './learn/hooks.ts'

installGuards()

const { registerHooks } = module as { registerHooks?: (hooks: { load: unknown }) => void }
if (registerHooks !== undefined) registerHooks({ load: loadSync })
else module.register('./learn/hooks.js', import.meta.url)
