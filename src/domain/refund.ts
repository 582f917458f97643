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
  /** Of paying and paid, what the order owed: an excess. The rest was given as goodwill. */
  owed: bigint
}

/**
 * The payment state of an order once its refunds are counted. An order that keeps enough stays paid: an excess that goes
 * back changes nothing about it, unless the rest is lost afterwards: then the order has lost money, as if it were
 * reversed. Equal to the database's refund_state.
 */
export function refundStateOf(order: RefundedOrder): PaymentState {
  const { status, paymentState, due, dustFloor, received, paying, paid, owed } = order
  if (status === 'pending' || paying + paid === 0n) return paymentState
  if (status !== 'cancelled') {
    if (paymentState === 'at_risk' || paymentState === 'reversed') return paymentState
    if (isEnough(received - paying - paid, due)) return 'paid'
    if (!isEnough(received - owed, due)) return 'reversed'
  }
  if (paying > 0n) return 'refunding'
  return received - paid <= dustFloor ? 'refunded' : 'partially_refunded'
}

/** What an operator asks for. Fiat in minor units of the order's currency. */
export type RefundWish =
  | { kind: 'everything' }
  | { kind: 'coin'; units: bigint }
  | { kind: 'fiat'; minor: bigint; basis: 'order' | 'today' }
  | { kind: 'fiat'; minor: bigint; basis: 'stated'; rateMinor: bigint }

/** What a refund of an order can come out of, and at which rates. Rates in minor units per whole coin. */
export type Refundable = {
  status: OrderStatus
  /** Base units of the invoice's asset: final money that no refund has promised yet. */
  available: bigint
  decimals: number
  orderRateMinor: bigint
  /** Undefined: there is no current rate. */
  todayRateMinor: bigint | undefined
}

/** A refund as it is stored: what was named, and the base units that it comes to. */
export type RefundAmount =
  | { units: bigint; namedIn: 'coin' }
  | { units: bigint; namedIn: 'fiat'; fiatMinor: bigint; basis: RateBasis; rateMinor: bigint }

export type RefundAmountRefusal =
  | { reason: 'REFUND_TOO_LARGE'; available: bigint }
  | { reason: 'RATE_UNAVAILABLE' }
  | { reason: 'ORDER_STATUS'; status: OrderStatus }

/**
 * Base units for an amount of fiat, rounded up to one base unit, as a quote is: the whole total at the order's rate is
 * then the amount that was due, to the unit.
 */
export const unitsOfFiat = (minor: bigint, rateMinor: bigint, decimals: number): bigint =>
  (minor * 10n ** BigInt(decimals) + rateMinor - 1n) / rateMinor

/** How much a wish comes to, or why it is refused. An open order is paid or cancelled first: its money may yet pay it. */
export function refundAmountOf(wish: RefundWish, order: Refundable): RefundAmount | RefundAmountRefusal {
  const amount = amountOf(wish, order)
  if ('reason' in amount) return amount
  if (amount.units > order.available || amount.units <= 0n)
    return { reason: 'REFUND_TOO_LARGE', available: order.available }
  return order.status === 'pending' ? { reason: 'ORDER_STATUS', status: order.status } : amount
}

function amountOf(wish: RefundWish, order: Refundable): RefundAmount | RefundAmountRefusal {
  if (wish.kind === 'everything') return { units: order.available, namedIn: 'coin' }
  if (wish.kind === 'coin') return { units: wish.units, namedIn: 'coin' }
  const rateMinor = rateOf(wish, order)
  if (rateMinor === undefined) return { reason: 'RATE_UNAVAILABLE' }
  const units = unitsOfFiat(wish.minor, rateMinor, order.decimals)
  return { units, namedIn: 'fiat', fiatMinor: wish.minor, basis: wish.basis, rateMinor }
}

function rateOf(wish: RefundWish & { kind: 'fiat' }, order: Refundable): bigint | undefined {
  if (wish.basis === 'stated') return wish.rateMinor
  return wish.basis === 'order' ? order.orderRateMinor : order.todayRateMinor
}

/** What is asked of a refund that exists. */
export type RefundAct = 'approve' | 'reject' | 'set address'

export type RefundStanding = {
  status: RefundStatus
  version: bigint
  requestedBy: string
  /** The actor of the order's customer. */
  customer: string
  /** Who has approved this version. */
  approvers: readonly string[]
}

export type RefundRefusal =
  | { reason: 'REFUND_STATUS'; message: string }
  | { reason: 'REFUND_APPROVER'; message: string }
  | { reason: 'VERSION_MISMATCH'; message: string }

const ACTS_IN: Readonly<Record<RefundAct, readonly RefundStatus[]>> = {
  approve: ['awaiting_approval'],
  reject: ['awaiting_destination', 'awaiting_approval', 'approved'],
  'set address': ['awaiting_destination', 'awaiting_approval'],
}

/**
 * Why a caller may not do this to a refund, or undefined. An approval is of the version that its author has seen; the
 * database checks each of these rules again.
 */
export function refundRefusalOf(
  act: RefundAct,
  by: { actor: string; version?: bigint },
  refund: RefundStanding,
): RefundRefusal | undefined {
  if (by.version !== undefined && by.version !== refund.version)
    return { reason: 'VERSION_MISMATCH', message: 'The refund has changed since it was read.' }
  if (!ACTS_IN[act].includes(refund.status))
    return { reason: 'REFUND_STATUS', message: `A refund that is ${refund.status} cannot do this.` }
  if (act !== 'approve') return undefined
  if (by.actor === refund.requestedBy || by.actor === refund.customer)
    return { reason: 'REFUND_APPROVER', message: 'Neither the requester of a refund nor its customer approves it.' }
  if (refund.approvers.includes(by.actor))
    return { reason: 'REFUND_APPROVER', message: 'This person has approved it; another one must.' }
  return undefined
}

/** Characters at either end that people compare. */
const COMPARED_CHARACTERS = 4
/** What addresses of one kind have in common, before the part that people compare. */
const ADDRESS_PREFIX = /^(0x|(bc|tb|bcrt|ltc|tltc|rltc)1[qp])/

/**
 * Address poisoning: two different addresses that begin and end alike, which people take for the same. By chance
 * that happens once in four billion pairs.
 */
export function isLookAlike(one: string, other: string): boolean {
  const [a, b] = [one.replace(ADDRESS_PREFIX, ''), other.replace(ADDRESS_PREFIX, '')]
  return (
    a !== b &&
    a.slice(0, COMPARED_CHARACTERS) === b.slice(0, COMPARED_CHARACTERS) &&
    a.slice(-COMPARED_CHARACTERS) === b.slice(-COMPARED_CHARACTERS)
  )
}
