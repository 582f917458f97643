// Stands behind the fast duties, which run without Temporal: once a minute, whatever has not succeeded lately is run.

import { step } from './policy.ts'

/** @returns the duties that were run */
export const backstop = (): Promise<readonly string[]> => step('runStaleDuties')
