// Assessment: what the transfers credited to an order mean for its payment, status and hold. Pure functions: the caller
// holds the order's lock and reads the facts. Requirements D-1, D-5, D-7 and D-9 define the machine and its edge cases.
// Refunds are counted afterwards (refundStateOf in refund.ts).

import { statusAfter, type CancelReason, type OrderHold, type OrderStatus } from './order.ts'
import { isEnough, type PaymentFlag, type PaymentState } from './payment.ts'

/** Sums of the outputs credited to an order, in base units. `seen` includes final and reorged ones. */
export type Totals = {
  /** First seen within the quote's window and grace: only this money can pay the order. */
  seen: bigint
  final: bigint
  /** First seen later: owed back in every case. */
  lateSeen: bigint
  lateFinal: bigint
  /** Of the final money, what an accepted late payment gave to the replacement order: not owed back. */
  accepted: bigint
  isLate: boolean
  isReorged: boolean
  isReplaced: boolean
}

export type AssessInput = {
  status: OrderStatus
  paymentState: PaymentState
  cancelReason: CancelReason | null
  due: bigint
  dustFloor: bigint
  totals: Totals
  /** The network is suspended (circuit breaker): no order of it becomes paid now. */
  isSuspended: boolean
}

export type Assessment = {
  paymentState: PaymentState
  /** Recomputed flags. The order keeps its other flags. */
  flags: readonly PaymentFlag[]
  /** Final money that is owed back, if more than dust: the excess over the due, or all money of a cancelled order. */
  refundDue: bigint
}

/** Flags that each assessment recomputes; all others only grow. */
const RECOMPUTED_FLAGS: readonly PaymentFlag[] = ['over', 'under']

export function assess(input: AssessInput): Assessment {
  const refundDue = refundDueOf(input)
  const paymentState = paymentStateOf(input, refundDue)
  return { paymentState, flags: flagsOf(input, paymentState), refundDue }
}

function refundDueOf({ status, due, dustFloor, totals }: AssessInput): bigint {
  const { final, lateFinal, accepted } = totals
  const excess = final > due ? final - due : 0n
  const owed = status === 'cancelled' ? final + lateFinal - accepted : excess + lateFinal
  return owed > dustFloor ? owed : 0n
}

function paymentStateOf(input: AssessInput, refundDue: bigint): PaymentState {
  const { seen, final, lateSeen, lateFinal } = input.totals
  const isFinal = isEnough(final, input.due)
  const isSeen = isEnough(seen, input.due)
  switch (input.status) {
    case 'pending':
      if (isFinal) return input.isSuspended ? 'confirming' : 'paid'
      if (isSeen) return 'confirming'
      return seen > 0n ? 'partial' : 'awaiting'
    case 'processing':
    case 'shipped':
    case 'delivered':
      if (isFinal) return 'paid'
      return isSeen ? 'at_risk' : 'reversed'
    case 'cancelled':
      if (refundDue > 0n) return 'unresolved'
      if (seen + lateSeen > final + lateFinal) return 'late_confirming'
      return input.cancelReason === 'expired' ? 'expired' : 'cancelled'
  }
}

function flagsOf({ status, due, totals }: AssessInput, state: PaymentState): PaymentFlag[] {
  const { final, lateFinal, seen, lateSeen } = totals
  const [all, allSeen] = [final + lateFinal, seen + lateSeen]
  const flags: PaymentFlag[] = []
  if (all > due) flags.push('over')
  if (state === 'paid' && final < due) flags.push('within_tolerance')
  if (status === 'cancelled' && allSeen > 0n && !isEnough(allSeen, due)) flags.push('under')
  if (totals.isLate) flags.push('late')
  if (totals.isReorged) flags.push('reorged')
  if (totals.isReplaced) flags.push('replaced')
  return flags
}

/** What an assessment reads of an order. */
export type AssessedOrder = AssessInput & {
  hold: OrderHold
  flags: readonly PaymentFlag[]
  /** A transfer of another asset than the quote's was credited. */
  hasWrongAsset: boolean
  /** Money was there before the order was made. */
  hasEarly: boolean
}

/** What an assessment writes to an order. */
export type Decision = {
  paymentState: PaymentState
  /** All flags of the order, sorted. */
  flags: readonly PaymentFlag[]
  status: OrderStatus
  hold: OrderHold
  refundDue: bigint
}

export function decisionOf(order: AssessedOrder): Decision {
  const { paymentState, flags, refundDue } = assess(order)
  const kept = new Set([...order.flags.filter((flag) => !RECOMPUTED_FLAGS.includes(flag)), ...flags])
  if (order.hasWrongAsset) kept.add('wrong_asset')
  // Money that was there before the order is credited to no order: an operator must look at it.
  if (order.hasEarly) kept.add('manual')
  const status = (paymentState === 'paid' ? statusAfter(order.status, 'paid') : undefined) ?? order.status
  return {
    paymentState,
    flags: [...kept].toSorted(),
    status,
    hold: holdOf(order.hold, status, paymentState),
    refundDue,
  }
}

/** Money that is gone, or may be, stops shipping; money that came back releases that stop. Operators set other holds. */
export function holdOf(hold: OrderHold, status: OrderStatus, paymentState: PaymentState): OrderHold {
  if (status !== 'processing') return hold
  if ((paymentState === 'at_risk' || paymentState === 'reversed') && hold === 'none') return 'payment'
  return paymentState === 'paid' && hold === 'payment' ? 'none' : hold
}
