// Jest's test sequencer of `npm run test:shake`: test files in an order that jest's seed decides.
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

  /** The next order owes nothing to how long each took. */
  cacheResults() {}
}
