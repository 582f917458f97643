// What the payment page says of an order: pure rules from facts to one stage, an amount to send, and a depth.

import type { PaymentFacts } from '../db/payment_page.ts'
import { ASSET_POLICY, isEnough, type PaymentState } from '../domain/payment.ts'

/**
 * The states of a payment as its payer sees them. `seen`: enough money, in no block or not assessed yet. `ended`: the
 * time is over, and the order not closed yet. Money of a closed order was `too_little`, `too_late`, or of an order that
 * was cancelled (`cancelled_paid`). Late money that pays another order: `replaced`, whose page tells the rest.
 */
export const PAY_STAGES = [
  'awaiting',
  'partial',
  'seen',
  'confirming',
  'paid',
  'at_risk',
  'reversed',
  'ended',
  'expired',
  'late_confirming',
  'replaced',
  'too_little',
  'too_late',
  'cancelled_paid',
  'cancelled',
  'refunding',
  'partially_refunded',
  'refunded',
] as const
export type PayStage = (typeof PAY_STAGES)[number]

export type PayView = Omit<PaymentFacts, 'needed'> & {
  stage: PayStage
  /** What to send now; undefined: nothing must be sent. */
  asks: bigint | undefined
  /** Confirmations that the payment needs: those of the watchers that decide on it, or those of the asset's policy. */
  needed: number
  /** Confirmations that it has, at most those it needs. */
  confirmations: number
}

/** Money of such an order may still change its state for a while, but nothing more is asked of its payer. */
const CLOSED: Readonly<Partial<Record<PaymentState, true>>> = { refunded: true }

/** Whether the page has nothing more to tell. */
export const isFinished = ({ paymentState }: PaymentFacts): boolean => CLOSED[paymentState] === true

export function payViewOf(facts: PaymentFacts): PayView {
  const stage = stageOf(facts)
  const needed = facts.needed ?? ASSET_POLICY[facts.asset].confirmations
  return {
    ...facts,
    stage,
    asks: stage === 'awaiting' || stage === 'partial' ? facts.due - facts.seen : undefined,
    needed,
    confirmations: Math.min(facts.depth ?? 0, needed),
  }
}

function stageOf(facts: PaymentFacts): PayStage {
  const { paymentState, flags, seen, due, now, endsAt, depth } = facts
  if (facts.replacedBy !== null) return 'replaced'
  switch (paymentState) {
    case 'awaiting':
    case 'partial':
      if (isEnough(seen, due)) return 'seen'
      if (now >= endsAt) return 'ended'
      return seen > 0n ? 'partial' : 'awaiting'
    case 'confirming':
      return (depth ?? 0) > 0 ? 'confirming' : 'seen'
    case 'unresolved':
      if (facts.cancelReason === 'customer' || facts.cancelReason === 'admin') return 'cancelled_paid'
      if (flags.includes('under')) return 'too_little'
      return flags.includes('late') ? 'too_late' : 'cancelled_paid'
    case 'paid':
    case 'at_risk':
    case 'reversed':
    case 'expired':
    case 'late_confirming':
    case 'cancelled':
    case 'refunding':
    case 'partially_refunded':
    case 'refunded':
      return paymentState
  }
}
