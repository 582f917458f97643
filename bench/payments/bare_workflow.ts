// What a payment costs Temporal alone: a waiting workflow with a timer, an update, and a step that does nothing.

import {
  CancellationScope,
  condition,
  defineUpdate,
  proxyLocalActivities,
  setHandler,
  sleep,
} from '@temporalio/workflow'
import type { NothingActivities } from './bare_worker.ts'

export const look = defineUpdate('look')

const WINDOW_MS = 15 * 60_000
const LIFE_MS = 24 * 60 * 60_000

const { doNothing } = proxyLocalActivities<NothingActivities>({
  startToCloseTimeout: 6_500,
  retry: { maximumAttempts: 1 },
})

export async function bare(): Promise<void> {
  let isAsked = false
  setHandler(look, () => void (isAsked = true))
  const timer = new CancellationScope()
  timer.run(() => sleep(WINDOW_MS)).catch(() => undefined)
  await condition(() => isAsked)
  await doNothing()
  timer.cancel()
  // As an order does, it lives on.
  await condition(() => false, LIFE_MS)
}
