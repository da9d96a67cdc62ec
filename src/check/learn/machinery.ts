/* Which modules are the checker's own. */

const CHECK_FOLDER = new URL('../', import.meta.url).href

/** Whether a script belongs to the checker: it lies in its folder, and is no model or test. */
export function isMachinery(script: string | null | undefined): boolean {
  return script?.startsWith(CHECK_FOLDER) === true && !/\.(test|check)\.js$/.test(script)
}
