// Fault injection for workflow tests: an activity that fails once, before or after its effect.

import { ApplicationFailure } from '@temporalio/common'
import type { Activities } from '../../src/activities/index.ts'

export const FAULTS = ['fails', 'succeeds but loses its answer'] as const
export type Fault = (typeof FAULTS)[number]

/** Activities for a worker whose first call of `name` fails. @param gone `isWrong` is set once the call has failed */
export const withFault =
  (name: keyof Activities, fault: Fault, gone: { isWrong: boolean } = { isWrong: false }) =>
  (real: Activities): Partial<Activities> => {
    const act = real[name] as (...args: unknown[]) => Promise<never>
    return {
      [name]: async (...args: unknown[]) => {
        const isFaulty = !gone.isWrong
        gone.isWrong = true
        if (isFaulty && fault === 'succeeds but loses its answer') await act(...args)
        if (isFaulty) throw ApplicationFailure.retryable('injected', 'INJECTED')
        return act(...args)
      },
    }
  }
