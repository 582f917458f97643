// Which test files a stage begins with: one that takes long and is left for the end runs there alone.

import { statSync } from 'node:fs'
import { basename } from 'node:path'

/** By name, the longest first. `npm test` prints what each stage spent most time on. */
export const LONGEST = [
  'model.int.test.ts',
  'fuzz.int.test.ts',
  'failure.int.test.ts',
  'race.int.test.ts',
  'scale.int.test.ts',
  'lost_answer.int.test.ts',
  'order.int.test.ts',
  'start.int.test.ts',
  'continue.int.test.ts',
  'promote.int.test.ts',
  'verify.int.test.ts',
  'hung.int.test.ts',
  'expiry.int.test.ts',
  'kill.test.ts',
  'outage.test.ts',
]

/** All others by size, as jest itself orders them where it has not run them yet. */
export function longestFirst<T extends { path: string }>(tests: readonly T[]): T[] {
  const weighed = tests.map((test) => {
    const rank = LONGEST.indexOf(basename(test.path))
    return { test, rank: rank < 0 ? LONGEST.length : rank, bytes: statSync(test.path).size }
  })
  return weighed.toSorted((a, b) => a.rank - b.rank || b.bytes - a.bytes).map(({ test }) => test)
}
