// Scheduled consistency check: compares orders, stock, payments and workflows.

import { longStep } from './policy.ts'

/** @returns the number of differences */
export const consistency = (): Promise<number> => longStep('checkConsistency')
