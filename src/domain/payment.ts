// Assets and their policy, the states of a payment and of a transfer, and how much money is enough.

export const ASSETS = ['BTC', 'LTC', 'ETH', 'SOL'] as const
export type Asset = (typeof ASSETS)[number]

export const ASSETS_RULE = `must be assets out of ${ASSETS.join(', ')}, separated by commas`
/** Assets from a list; undefined where one of its words is none. */
export function parseAssets(list: string): readonly Asset[] | undefined {
  const found = list.split(',').map((word) => ASSETS.find((asset) => asset === word.trim()))
  return found.every((asset) => asset !== undefined) ? found : undefined
}

export type AssetPolicy = {
  decimals: number
  /** Depth at which a transfer is final; the including block counts as 1 (D-9). */
  confirmations: number
  /** Slack after the quote's end within which a transfer still counts as in time. */
  graceMs: number
  /** How long a hold waits for depth once enough was seen in time: about the chain's 99.9th percentile. */
  confirmWithinMs: number
  /** Largest lag of a watcher behind its chain at which quotes are given: several of the chain's slowest blocks. */
  maxLagMs: number
  /** An excess up to this many base units is not owed back: its refund would cost about as much. */
  dustFloor: bigint
  /** Tolerance of block times. Money seen earlier than this before an order was made is not credited to the order. */
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

const AFTER_REFUND = ['refunding', 'partially_refunded', 'refunded'] as const
/** What an order may be again after a refund: its payments are judged as before, and refundStateOf has the last word. */
const JUDGED_AGAIN = ['paid', 'at_risk', 'reversed', 'late_confirming', 'unresolved', 'cancelled'] as const

/**
 * Allowed transitions of the payment state. Until the order is paid, seen money may appear and disappear. Money of a
 * closed order is late or unresolved. Refunds: see refundStateOf. Equal to the database's table payment_transition.
 */
export const PAYMENT_MOVES: Readonly<Record<PaymentState, readonly PaymentState[]>> = {
  awaiting: ['partial', 'confirming', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  partial: ['awaiting', 'confirming', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  confirming: ['awaiting', 'partial', 'paid', 'expired', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  paid: ['at_risk', 'reversed', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  at_risk: ['paid', 'reversed', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  reversed: ['paid', 'at_risk', 'late_confirming', 'unresolved', 'cancelled', ...AFTER_REFUND],
  expired: ['late_confirming', 'unresolved', 'refunding'],
  late_confirming: ['unresolved', 'expired', 'cancelled', 'refunding'],
  unresolved: ['late_confirming', 'expired', 'cancelled', 'refunding'],
  cancelled: ['late_confirming', 'unresolved', 'refunding'],
  refunding: ['partially_refunded', 'refunded', ...JUDGED_AGAIN],
  partially_refunded: ['refunding', 'refunded', ...JUDGED_AGAIN],
  refunded: ['refunding', 'partially_refunded', ...JUDGED_AGAIN],
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
 * seen: in a block, or known to the network. final: deep enough. reorged: its block was lost, and it may come back; until
 * the order is paid it still counts as seen (D-9). Transfers in the other states do not count.
 */
export type TransferState = (typeof TRANSFER_STATES)[number]

/** Least amount that pays an order in full (D-4, D-7). The tolerance of 0.1 % is rounded down: none for tiny amounts. */
export const minimumOf = (due: bigint): bigint => due - due / 1000n

export const isEnough = (received: bigint, due: bigint): boolean => received >= minimumOf(due)
