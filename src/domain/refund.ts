// Refunds: money that goes back to a customer. How much may go back, who approves it, and what the order is then. Pure
// functions on bigint. Refunds are never more than the order's final money (requirement D-7).

import type { PaymentState } from './payment.ts'
import { isEnough } from './payment.ts'
import type { OrderStatus } from './order.ts'

export const REFUND_STATUSES = [
  'awaiting_destination',
  'awaiting_approval',
  'approved',
  'paying',
  'paid',
  'rejected',
  'cancelled',
] as const
export type RefundStatus = (typeof REFUND_STATUSES)[number]

/** Allowed moves. Equal to the database's table refund_transition. From `paying` on, money may be on its way. */
export const REFUND_MOVES: Readonly<Record<RefundStatus, readonly RefundStatus[]>> = {
  awaiting_destination: ['awaiting_approval', 'rejected', 'cancelled'],
  awaiting_approval: ['awaiting_destination', 'approved', 'rejected', 'cancelled'],
  approved: ['paying', 'rejected'],
  paying: ['paid'],
  paid: [],
  rejected: [],
  cancelled: [],
}

/** owed: the order received more than it needs. goodwill: an operator's wish. */
export const REFUND_KINDS = ['owed', 'goodwill'] as const
export type RefundKind = (typeof REFUND_KINDS)[number]

/** shop: the amount is sent whole. customer: the amount is sent less the network's fee. */
export const FEE_BEARERS = ['shop', 'customer'] as const
export type FeeBearer = (typeof FEE_BEARERS)[number]

/** Which rate turned fiat into coin: that of the order, of the day, or one that the operator stated. */
export const RATE_BASES = ['order', 'today', 'stated'] as const
export type RateBasis = (typeof RATE_BASES)[number]

/** Four-eyes principle: so many people must approve a refund. Neither its requester nor the customer is one of them. */
export const REFUND_APPROVALS = 2

/** What decides the payment state of an order once refunds are counted. Base units of the invoice's asset. */
export type RefundedOrder = {
  status: OrderStatus
  /** What an assessment of its payments says. */
  paymentState: PaymentState
  due: bigint
  dustFloor: bigint
  /** All final money, late money included. */
  received: bigint
  paying: bigint
  paid: bigint
}

/**
 * The payment state of an order once its refunds are counted. An order that keeps enough stays paid: an excess that goes
 * back changes nothing about it. Equal to the database's refund_state.
 */
export function refundStateOf(order: RefundedOrder): PaymentState {
  const { status, paymentState, due, dustFloor, received, paying, paid } = order
  if (status === 'pending' || paying + paid === 0n) return paymentState
  if (status !== 'cancelled') {
    if (paymentState === 'at_risk' || paymentState === 'reversed') return paymentState
    if (isEnough(received - paying - paid, due)) return 'paid'
  }
  if (paying > 0n) return 'refunding'
  return received - paid <= dustFloor ? 'refunded' : 'partially_refunded'
}
