// Late policy (requirement D-8): what becomes of money that is final only after its order has expired.

import type { AssessedOrder } from './assessment.ts'

export const LATE_POLICIES = ['accept', 'refund'] as const

/** How old the api's last price of a coin may be. The api repeats it every minute. */
export const MAX_RATE_AGE_MS = 600_000

export type LatePolicy = {
  /** Whether late money may pay a replacement of its order. Otherwise all of it is owed back. */
  accepts: boolean
  /** How long after the quote and its grace the money may come. */
  withinMs: number
  /** How far the present cost of the same lines may be from the amount due, in hundredths of a percent. */
  driftBps: number
  /** The present cost is unknown when the last price of the coin is older. */
  rateAgeMs: number
}

/** The expired order once its late money has paid a replacement: only the excess is still owed back. */
export function withAccepted(order: AssessedOrder): AssessedOrder {
  const { due, totals } = order
  const received = totals.final + totals.lateFinal
  return { ...order, totals: { ...totals, accepted: received < due ? received : due } }
}
