// A minimal workflow with Temporal's own cost of an order's life: the commands that ours needs, without an application.

import {
  CancellationScope,
  condition,
  defineSignal,
  defineUpdate,
  proxyLocalActivities,
  setHandler,
  sleep,
} from '@temporalio/workflow'
import type { BareActivities } from './bare_worker.ts'

export const changed = defineSignal('changed')
export const advance = defineUpdate<number>('advance')

const WINDOW_MS = 15 * 60_000
/** Shipping and delivery. */
const ADVANCES = 2

const { pass } = proxyLocalActivities<BareActivities>({ startToCloseTimeout: 6_500, retry: { maximumAttempts: 1 } })

export async function bare(): Promise<void> {
  let isChanged = false
  let advances = 0
  setHandler(changed, () => void (isChanged = true))
  setHandler(advance, () => (advances += 1))
  await pass('reserved')
  const timer = new CancellationScope()
  timer.run(() => sleep(WINDOW_MS)).catch(() => undefined)
  await condition(() => isChanged)
  await pass('paid')
  timer.cancel()
  await condition(() => advances === ADVANCES)
}
