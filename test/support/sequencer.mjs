// Jest's test sequencer of every run but `npm run test:shake`: the files that take longest come first.
// Plain JavaScript, as jest loads it itself.

import { longestFirst } from './longest.ts'

export default class LongestFirst {
  sort(tests) {
    return longestFirst(tests)
  }

  /** The order is the same on every machine, whatever ran there before. */
  cacheResults() {}
}
