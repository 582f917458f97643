// A step of a workflow that goes wrong once, in either way that a step can.

import { ApplicationFailure } from '@temporalio/common'
import type { Activities } from '../../src/activities/index.ts'

export const FAULTS = ['fails', 'succeeds but loses its answer'] as const
export type Fault = (typeof FAULTS)[number]

/** For a worker: the first call of a step goes wrong. @param gone told when it has */
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
