// Late money of an expired order: the decision on it, and the assessment of the order that it pays. Called inside the
// transaction of an assessment, which holds the locks of both orders.

import { decisionOf, type AssessedOrder, type Decision } from '../domain/assessment.ts'
import type { LatePolicy } from '../domain/late.ts'
import type { CancelReason, OrderHold, OrderStatus } from '../domain/order.ts'
import type { PaymentFlag, PaymentState } from '../domain/payment.ts'
import { statement, type Tx } from './connection/pool.ts'
import type { StateRow } from './order.ts'

/** What assessed_order() returns. */
export type AssessedRow = {
  status: OrderStatus
  payment_state: PaymentState
  cancel_reason: CancelReason | null
  hold: OrderHold
  flags: PaymentFlag[]
  amount_due: string
  dust_floor: string
  seen: string
  final: string
  late_seen: string
  late_final: string
  accepted: string
  is_late: boolean
  is_reorged: boolean
  is_replaced: boolean
  /** The order that its late money paid. */
  replacement_id: string | null
  /** Enough final money of an expired order is there, and it is not decided on. */
  is_undecided: boolean
}

const DECIDE = statement('late_decide', 'select replacement_id from decide_late_money($1, $2::jsonb)')

/** @returns whether the money was accepted; otherwise it is owed back */
export async function decideLateMoney(tx: Pick<Tx, 'run'>, orderId: string, policy: LatePolicy): Promise<boolean> {
  const [decided] = await tx.run<{ replacement_id: string | null }>(DECIDE, [orderId, JSON.stringify(policy)])
  return decided !== undefined && decided.replacement_id !== null
}

const READ = statement('late_read', 'select * from assessed_order($1)')
const WAKE = statement('late_wake', 'select request_wake(array[$1::uuid])')
const END = statement('assess_end', 'select * from end_assessment($1, $2, $3, $4, $5, $6, $7, $8)')

type Place = { orderId: string; generation: number | null; step: number | null }

/** Writes what an assessment decided; returns the order's state. */
export const endAssessment = (
  tx: Pick<Tx, 'run'>,
  { orderId, generation, step }: Place,
  { paymentState, flags, status, hold, refundDue }: Decision,
): Promise<StateRow[]> =>
  tx.run<StateRow>(END, [orderId, generation, step, paymentState, flags, status, hold, refundDue.toString()])

/**
 * Assesses a replacement order again when the money that pays it has changed. Its workflow is woken where that changes
 * whether the order may be shipped.
 */
export async function assessReplacement(tx: Pick<Tx, 'run'>, orderId: string): Promise<void> {
  const [row] = await tx.run<AssessedRow>(READ, [orderId])
  if (row === undefined) return
  const decision = decisionOf({ ...assessedOrderOf(row), hasWrongAsset: false, hasEarly: false, isSuspended: false })
  await endAssessment(tx, { orderId, generation: null, step: null }, decision)
  if (decision.paymentState !== row.payment_state || decision.hold !== row.hold) await tx.run(WAKE, [orderId])
}

export const assessedOrderOf = (
  row: AssessedRow,
): Omit<AssessedOrder, 'hasWrongAsset' | 'hasEarly' | 'isSuspended'> => ({
  status: row.status,
  paymentState: row.payment_state,
  cancelReason: row.cancel_reason,
  hold: row.hold,
  flags: row.flags,
  due: BigInt(row.amount_due),
  dustFloor: BigInt(row.dust_floor),
  totals: {
    seen: BigInt(row.seen),
    final: BigInt(row.final),
    lateSeen: BigInt(row.late_seen),
    lateFinal: BigInt(row.late_final),
    accepted: BigInt(row.accepted),
    isLate: row.is_late,
    isReorged: row.is_reorged,
    isReplaced: row.is_replaced,
  },
})
