// Compares all there is with itself, now and then.

import { longStep } from './policy.ts'

/** @returns how many differences there are */
export const consistency = (): Promise<number> => longStep('checkConsistency')
