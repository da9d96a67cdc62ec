/* How `npm start` can end, and what it tells the shell. */

/** Whether all was done and well; not all was done, but nothing is wrong; or something is wrong. */
export type Verdict = 'good' | 'unfinished' | 'bad'

/** Exit statuses. An exception that nobody catches ends with 1 as well: that is Node's. */
export const EXIT = { good: 0, bad: 1, refused: 2, unfinished: 3 } as const
