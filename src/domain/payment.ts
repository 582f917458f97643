// What transfers on a chain mean for an order. Pure: the caller holds the order's lock and knows the facts.
// The machine and its edge cases are those of requirements D-1, D-5, D-7 and D-9.

import type { OrderStatus } from './order.ts'

export const ASSETS = ['BTC', 'LTC', 'ETH', 'SOL'] as const
export type Asset = (typeof ASSETS)[number]

export type AssetPolicy = {
  decimals: number
  /** Depth at which a transfer is final; the including block counts as 1 (D-9). */
  confirmations: number
  /** Slack after the quote's end within which a transfer still counts as in time. */
  graceMs: number
  /** From «enough was seen in time» until the hold gives up waiting for depth: about the 99.9th percentile. */
  confirmWithinMs: number
}

const MINUTE_MS = 60_000

export const ASSET_POLICY: Readonly<Record<Asset, AssetPolicy>> = {
  BTC: { decimals: 8, confirmations: 3, graceMs: MINUTE_MS, confirmWithinMs: 120 * MINUTE_MS },
  LTC: { decimals: 8, confirmations: 6, graceMs: MINUTE_MS, confirmWithinMs: 60 * MINUTE_MS },
  ETH: { decimals: 18, confirmations: 12, graceMs: MINUTE_MS, confirmWithinMs: 30 * MINUTE_MS },
  SOL: { decimals: 9, confirmations: 32, graceMs: MINUTE_MS, confirmWithinMs: 10 * MINUTE_MS },
}

export const PAYMENT_STATES = [
  'awaiting',
  'partial',
  'confirming',
  'paid',
  'at_risk',
  'reversed',
  'expired',
  'late_confirming',
  'unresolved',
  'cancelled',
  'refunding',
  'partially_refunded',
  'refunded',
] as const
export type PaymentState = (typeof PAYMENT_STATES)[number]

/**
 * Where a payment state may go. Seen money comes and goes until the order is paid; a closed order's money is late or
 * unresolved; and what was handed back never counts again. The database's table payment_transition says the same.
 */
export const PAYMENT_MOVES: Readonly<Record<PaymentState, readonly PaymentState[]>> = {
  awaiting: ['partial', 'confirming', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled'],
  partial: ['awaiting', 'confirming', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled'],
  confirming: ['awaiting', 'partial', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled'],
  paid: ['at_risk', 'unresolved', 'refunding'],
  at_risk: ['paid', 'reversed', 'late_confirming', 'unresolved', 'cancelled'],
  reversed: [],
  expired: ['late_confirming', 'unresolved'],
  late_confirming: ['unresolved'],
  unresolved: ['late_confirming', 'refunding'],
  cancelled: ['late_confirming', 'unresolved', 'refunding'],
  refunding: ['partially_refunded', 'refunded'],
  partially_refunded: ['refunding'],
  refunded: [],
}

export const PAYMENT_FLAGS = [
  'late',
  'under',
  'over',
  'within_tolerance',
  'wrong_asset',
  'replaced',
  'reorged',
  'slow_confirm',
  'manual',
] as const
export type PaymentFlag = (typeof PAYMENT_FLAGS)[number]

export const TRANSFER_STATES = ['seen', 'final', 'replaced', 'dropped', 'reorged'] as const
/** seen: in a block, or known to the network; final: deep enough; the others no longer count. */
export type TransferState = (typeof TRANSFER_STATES)[number]

/** The present view of one output: the report with the highest seq. */
export type Transfer = { amount: bigint; state: TransferState; isInTime: boolean }

/** Least amount that pays an order in full: 0.1 % below due, and nothing below for tiny amounts (D-7). */
export const minimumOf = (due: bigint): bigint => due - due / 1000n

/** D-4, the rule minimumOf is derived from. */
export const isEnough = (received: bigint, due: bigint): boolean => received * 1000n >= due * 999n

export type AssessInput = {
  status: OrderStatus
  paymentState: PaymentState
  due: bigint
  transfers: readonly Transfer[]
}

export type Assessment = {
  paymentState: PaymentState
  /** Recomputed flags; the others an order carries stay. */
  flags: readonly PaymentFlag[]
  seenTotal: bigint
  finalTotal: bigint
  /** Final money that is owed back: the excess of a paid order, or all of a cancelled one's. */
  refundDue: bigint
}

/** Flags that assess recomputes each time; all others only grow. */
export const RECOMPUTED_FLAGS: readonly PaymentFlag[] = ['over', 'within_tolerance', 'under']

export function assess(input: AssessInput): Assessment {
  const seenTotal = sumOf(input.transfers, (transfer) => transfer.state === 'seen' || transfer.state === 'final')
  const finalTotal = sumOf(input.transfers, (transfer) => transfer.state === 'final')
  const paymentState = paymentStateOf(input, seenTotal, finalTotal)
  const refundDue = input.status === 'cancelled' ? finalTotal : finalTotal > input.due ? finalTotal - input.due : 0n
  return { paymentState, flags: flagsOf(input, paymentState, finalTotal), seenTotal, finalTotal, refundDue }
}

function paymentStateOf(input: AssessInput, seenTotal: bigint, finalTotal: bigint): PaymentState {
  const isFinal = isEnough(finalTotal, input.due)
  switch (input.status) {
    case 'pending':
      if (isFinal) return 'paid'
      if (isEnough(seenTotal, input.due)) return 'confirming'
      return seenTotal > 0n ? 'partial' : 'awaiting'
    case 'processing':
    case 'shipped':
    case 'delivered':
      return isFinal ? 'paid' : 'at_risk'
    case 'cancelled':
      if (finalTotal > 0n) return 'unresolved'
      if (seenTotal > 0n) return 'late_confirming'
      return input.paymentState
  }
}

function flagsOf(input: AssessInput, state: PaymentState, finalTotal: bigint): PaymentFlag[] {
  const flags: PaymentFlag[] = []
  if (finalTotal > input.due) flags.push('over')
  if (state === 'paid' && finalTotal < input.due) flags.push('within_tolerance')
  if (input.status === 'cancelled' && finalTotal > 0n && !isEnough(finalTotal, input.due)) flags.push('under')
  if (input.transfers.some((transfer) => !transfer.isInTime)) flags.push('late')
  if (input.transfers.some((transfer) => transfer.state === 'reorged')) flags.push('reorged')
  if (input.transfers.some((transfer) => transfer.state === 'replaced')) flags.push('replaced')
  return flags
}

const sumOf = (transfers: readonly Transfer[], counts: (transfer: Transfer) => boolean): bigint =>
  transfers.reduce((sum, transfer) => (counts(transfer) ? sum + transfer.amount : sum), 0n)
