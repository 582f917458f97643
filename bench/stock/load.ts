// A closed-loop load generator in this process: each caller calls again as soon as it is answered.

import { setTimeout as sleep } from 'node:timers/promises'
import { percentile } from '../statistics.ts'

const MAX_MESSAGES = 5

export type Load = { inFlight: number; warmUpS: number; seconds: number }
export type Loaded = { rate: number; p50Ms: number; p99Ms: number; errors: number; messages: string[] }

/** @param act one call; what it throws is counted */
export async function runLoad({ inFlight, warmUpS, seconds }: Load, act: () => Promise<unknown>): Promise<Loaded> {
  const tookMs: number[] = []
  const messages: string[] = []
  let errors = 0
  const stage = { isMeasuring: false, isOver: false }
  const caller = async (): Promise<void> => {
    while (!stage.isOver) {
      const start = performance.now()
      try {
        await act()
        if (stage.isMeasuring) tookMs.push(performance.now() - start)
      } catch (error) {
        errors += 1
        if (messages.length < MAX_MESSAGES) messages.push(String(error))
      }
    }
  }
  const callers = Array.from({ length: inFlight }, caller)
  await sleep(warmUpS * 1_000)
  stage.isMeasuring = true
  await sleep(seconds * 1_000)
  stage.isOver = true
  const rate = tookMs.length / seconds
  await Promise.all(callers)
  return { rate, p50Ms: percentile(tookMs, 0.5), p99Ms: percentile(tookMs, 0.99), errors, messages }
}
