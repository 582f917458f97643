// Payouts: sending an approved refund by a transaction of the shop. Pure rules: the moves of a payout, the fee of its
// transactions, and when one is replaced. Amounts and fees in base units, as bigint.

export const PAYOUT_STATUSES = ['prepared', 'signed', 'broadcast', 'stuck', 'confirmed', 'failed'] as const
export type PayoutStatus = (typeof PAYOUT_STATUSES)[number]

/**
 * Allowed moves. Equal to the database's guard_payout. A payout may end from any open status, because an earlier
 * transaction of it may be executed while a later one is awaited.
 */
export const PAYOUT_MOVES: Readonly<Record<PayoutStatus, readonly PayoutStatus[]>> = {
  prepared: ['signed', 'stuck', 'confirmed', 'failed'],
  signed: ['broadcast', 'stuck', 'confirmed', 'failed'],
  broadcast: ['stuck', 'confirmed', 'failed'],
  stuck: ['signed', 'confirmed', 'failed'],
  confirmed: [],
  failed: [],
}

/** A transaction that is to be signed: the coin of the network, without data. Addresses in lower case. */
export type PayoutTransaction = {
  chainId: number
  sender: string
  nonce: number
  to: string
  value: bigint
  gasLimit: bigint
  maxFee: bigint
  priorityFee: bigint
}

/** A destination may be a contract, such as a wallet of several signers. More than this is no receipt of money. */
export const MAX_TRANSFER_GAS = 100_000n

export type GasPrice = { maxFee: bigint; priorityFee: bigint }

/** So many times the base fee: it doubles within six full blocks. */
const BASE_FEE_MARGIN = 2n

/**
 * The fee per gas. A customer who bears the fee is told it: then all of it goes to the block's producer, so that the
 * network takes exactly what was stated. A shop pays what the network takes at that time.
 */
export function gasPriceOf(baseFee: bigint, tip: bigint, bearer: 'shop' | 'customer'): GasPrice {
  const maxFee = BASE_FEE_MARGIN * baseFee + tip
  return { maxFee, priorityFee: bearer === 'customer' ? maxFee : tip }
}

/** Nodes take a replacement only with at least a tenth more of both fees. */
const BUMP_PERCENT = 13n
const raised = (fee: bigint): bigint => fee + (fee * BUMP_PERCENT) / 100n + 1n
const max = (one: bigint, other: bigint): bigint => (one > other ? one : other)

/** The fee of a replacement: enough above the last one for every node, and not below the present price. */
export const bumpedPriceOf = (last: GasPrice, present: GasPrice): GasPrice => ({
  maxFee: max(raised(last.maxFee), present.maxFee),
  priorityFee: max(raised(last.priorityFee), present.priorityFee),
})
