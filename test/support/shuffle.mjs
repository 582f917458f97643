// Jest's test sequencer for `npm run test:shake`: orders test files by jest's seed.
// Plain JavaScript, as jest loads it itself.

import { relative } from 'node:path'
import { shuffled } from './shake.ts'

export default class Shuffle {
  constructor({ globalConfig }) {
    this.globalConfig = globalConfig
  }

  sort(tests) {
    const { seed, rootDir } = this.globalConfig
    return shuffled(tests, seed, ({ path }) => relative(rootDir, path))
  }

  /** The next order does not depend on durations. */
  cacheResults() {}
}
