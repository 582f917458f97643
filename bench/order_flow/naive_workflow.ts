// The order saga as tutorials write it: an ordinary activity per effect, a signal per event.

import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow'
import type { NaiveActivities, NaiveLine } from './naive_activities.ts'

export const paid = defineSignal('paid')
export const shipped = defineSignal('shipped')
export const delivered = defineSignal('delivered')

const WINDOW_MS = 15 * 60_000

const { reserve, confirmPayment, ship, deliver } = proxyActivities<NaiveActivities>({ startToCloseTimeout: 6_500 })

export async function naive(orderId: string, lines: readonly NaiveLine[]): Promise<void> {
  let isPaid = false
  let isShipped = false
  let isDelivered = false
  setHandler(paid, () => void (isPaid = true))
  setHandler(shipped, () => void (isShipped = true))
  setHandler(delivered, () => void (isDelivered = true))
  for (const line of lines) await reserve(orderId, line)
  await condition(() => isPaid, WINDOW_MS)
  await confirmPayment(orderId)
  await condition(() => isShipped)
  await ship(orderId)
  await condition(() => isDelivered)
  await deliver(orderId)
}
