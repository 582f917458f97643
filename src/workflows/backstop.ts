// Backstop for the duties, which normally run without Temporal: once a minute, runs each duty that has not succeeded
// lately.

import { step } from './policy.ts'

/** @returns the duties that were run */
export const backstop = (): Promise<readonly string[]> => step('runStaleDuties')
