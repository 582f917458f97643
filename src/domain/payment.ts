// Assets and their policy, the states of a payment and of a transfer, and how much money is enough.

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
  /** How far behind its chain a watcher may be before no more quotes are made: some of the chain's slowest blocks. */
  maxLagMs: number
  /** Base units up to which an excess is not owed back: about what its refund would cost on the chain. */
  dustFloor: bigint
  /** How far a block's own time may lie from the true one: money seen earlier than that before its order is not its. */
  clockToleranceMs: number
}

const MINUTE_MS = 60_000

export const ASSET_POLICY: Readonly<Record<Asset, AssetPolicy>> = {
  BTC: {
    decimals: 8,
    confirmations: 3,
    graceMs: MINUTE_MS,
    confirmWithinMs: 120 * MINUTE_MS,
    maxLagMs: 180 * MINUTE_MS,
    dustFloor: 546n,
    clockToleranceMs: 120 * MINUTE_MS,
  },
  LTC: {
    decimals: 8,
    confirmations: 6,
    graceMs: MINUTE_MS,
    confirmWithinMs: 60 * MINUTE_MS,
    maxLagMs: 90 * MINUTE_MS,
    dustFloor: 5_460n,
    clockToleranceMs: 120 * MINUTE_MS,
  },
  ETH: {
    decimals: 18,
    confirmations: 12,
    graceMs: MINUTE_MS,
    confirmWithinMs: 30 * MINUTE_MS,
    maxLagMs: 5 * MINUTE_MS,
    dustFloor: 10_000_000_000_000n,
    clockToleranceMs: MINUTE_MS,
  },
  SOL: {
    decimals: 9,
    confirmations: 32,
    graceMs: MINUTE_MS,
    confirmWithinMs: 10 * MINUTE_MS,
    maxLagMs: 2 * MINUTE_MS,
    dustFloor: 890_880n,
    clockToleranceMs: MINUTE_MS,
  },
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
  paid: ['at_risk', 'reversed', 'late_confirming', 'unresolved', 'cancelled', 'refunding'],
  at_risk: ['paid', 'reversed', 'late_confirming', 'unresolved', 'cancelled'],
  reversed: ['paid', 'at_risk', 'late_confirming', 'unresolved', 'cancelled'],
  expired: ['late_confirming', 'unresolved'],
  late_confirming: ['unresolved', 'expired', 'cancelled'],
  unresolved: ['late_confirming', 'expired', 'cancelled', 'refunding'],
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
/**
 * seen: in a block, or known to the network; final: deep enough; reorged: its block was lost, and it may come back:
 * before the order is paid it still counts as seen (D-9). The others no longer count.
 */
export type TransferState = (typeof TRANSFER_STATES)[number]

/** Least amount that pays an order in full: 0.1 % below due, and nothing below for tiny amounts (D-4, D-7). */
export const minimumOf = (due: bigint): bigint => due - due / 1000n

export const isEnough = (received: bigint, due: bigint): boolean => received >= minimumOf(due)
