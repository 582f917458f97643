// Encoder and decoder of accept_orders(): the order it reads, and the verdict it returns.

import type { Actor } from '../../domain/audit.ts'
import { DomainError } from '../../domain/failure.ts'
import { formatFiat, parseFiat } from '../../domain/money.ts'
import { ASSET_POLICY, type Asset } from '../../domain/payment.ts'
import type { RateOrigin } from '../../domain/rate.ts'
import type { Line, Shortage } from '../../domain/stock.ts'

export type ProposedOrder = {
  orderId: string
  userId: bigint
  /** The caller's idempotency key, a UUID. */
  key: string
  /** Keyed hash of the canonical request. */
  requestHash: Buffer
  /** The customer, with the call and the token. */
  by: Actor
  currency: string
  lines: readonly Line[]
  addressSealed: Buffer
  asset: Asset
  network: string
  /** Payment address: not used by any other order. */
  address: string
  /** Minor units per coin. */
  rateMinor: bigint
  /** The prices that made the rate; none for a fixed one. */
  rateOrigin?: RateOrigin | undefined
  windowMs: number
  graceMs: number
  confirmWithinMs: number
  /** Milliseconds since the epoch; after it the caller no longer waits for the answer. */
  deadline: number
}

export type AcceptedLine = { productId: string; name: string; quantity: number; unitPriceMinor: bigint }

/** Immutable facts only, so that every replay renders to the same bytes. */
export type AcceptedOrder = {
  orderId: string
  currency: string
  totalMinor: bigint
  lines: readonly AcceptedLine[]
  network: string
  asset: Asset
  address: string
  amountDue: bigint
  rateMinor: bigint
  expiresAt: Date
  createdAt: Date
}

export type AcceptVerdict =
  | { verdict: 'accepted' | 'replayed'; order: AcceptedOrder }
  | { verdict: 'OUT_OF_STOCK'; shortages: readonly Shortage[] }
  | { verdict: 'PRICE_CHANGED'; prices: readonly { productId: string; unitPriceMinor: bigint }[] }
  | { verdict: 'PRODUCT_UNKNOWN'; productIds: readonly string[] }
  | { verdict: 'AMOUNT_OUT_OF_RANGE' }
  | { verdict: 'IDEMPOTENCY_KEY_REUSED' }

export type VerdictRow = {
  ordinal: number
  verdict: AcceptVerdict['verdict'] | 'reclaim'
  detail: {
    /** `returning`: units of expired holds that can be released; only where nothing was decided. */
    shortages?: { product: string; wanted: number; available: number; returning?: number }[]
    prices?: { product: string; unit_price: string }[]
    products?: string[]
  } | null
  order_id: string
  currency: string
  total: string
  lines: { product: string; name: string; quantity: number; price: string }[]
  network: string
  asset: Asset
  address: string
  amount_due: string
  rate: string
  expires_at: Date
  created_at: Date
}

const originPayload = ({ rateId, madeAt, prices }: RateOrigin) => ({
  id: rateId,
  made_at: madeAt.toISOString(),
  prices: prices.map(({ source, text, readAt }) => ({ source, price: text, read_at: readAt.toISOString() })),
})

/** The shape accept_orders() reads. */
export const payloadOf = (order: ProposedOrder, ordinal: number) => ({
  ordinal,
  order_id: order.orderId,
  user_id: order.userId.toString(),
  key: order.key,
  hash: order.requestHash.toString('hex'),
  currency: order.currency,
  asset: order.asset,
  network: order.network,
  address: order.address,
  rate: formatFiat(order.rateMinor),
  ...(order.rateOrigin !== undefined && { rate_from: originPayload(order.rateOrigin) }),
  decimals: ASSET_POLICY[order.asset].decimals,
  sealed: order.addressSealed.toString('base64'),
  window_ms: order.windowMs,
  grace_ms: order.graceMs,
  confirm_ms: order.confirmWithinMs,
  lines: order.lines.map((line, at) => ({
    line: at + 1,
    product: line.productId,
    quantity: line.quantity,
    price: formatFiat(line.unitPriceMinor),
  })),
})

/** Undefined when nothing was decided, since expired holds must be released first. */
export function verdictOf(row: VerdictRow): AcceptVerdict | undefined {
  switch (row.verdict) {
    case 'reclaim':
      return undefined
    case 'accepted':
    case 'replayed':
      return { verdict: row.verdict, order: orderOf(row) }
    case 'OUT_OF_STOCK':
      return {
        verdict: 'OUT_OF_STOCK',
        shortages: (row.detail?.shortages ?? []).map(({ product, wanted, available }) => ({
          productId: product,
          wanted: BigInt(wanted),
          available: BigInt(available),
        })),
      }
    case 'PRICE_CHANGED':
      return {
        verdict: 'PRICE_CHANGED',
        prices: (row.detail?.prices ?? []).map(({ product, unit_price }) => ({
          productId: product,
          unitPriceMinor: minorOf(unit_price),
        })),
      }
    case 'PRODUCT_UNKNOWN':
      return { verdict: 'PRODUCT_UNKNOWN', productIds: row.detail?.products ?? [] }
    case 'AMOUNT_OUT_OF_RANGE':
    case 'IDEMPOTENCY_KEY_REUSED':
      return { verdict: row.verdict }
  }
}

const orderOf = (row: VerdictRow): AcceptedOrder => ({
  orderId: row.order_id,
  currency: row.currency,
  totalMinor: minorOf(row.total),
  lines: row.lines.map(({ product, name, quantity, price }) => ({
    productId: product,
    name,
    quantity,
    unitPriceMinor: minorOf(price),
  })),
  network: row.network,
  asset: row.asset,
  address: row.address,
  amountDue: BigInt(row.amount_due),
  rateMinor: minorOf(row.rate),
  expiresAt: row.expires_at,
  createdAt: row.created_at,
})

/** Parses fiat as the database writes it. @throws {DomainError} INTERNAL when the column's scale has changed */
export function minorOf(text: string): bigint {
  const minor = parseFiat(text)
  if (minor === undefined) throw new DomainError('INTERNAL', 'The database holds an amount that is not money.')
  return minor
}
