// Money, from what watchers say (inbox) to what it means for an order. Reports are facts and carry no authority;
// assessPayments is the only writer of payments and payment_state.

import { decisionOf, type AssessedOrder } from '../domain/assessment.ts'
import type { Asset, PaymentFlag, PaymentState, TransferState } from '../domain/payment.ts'
import type { Actor } from '../domain/audit.ts'
import type { Fence } from '../domain/command.ts'
import type { CancelReason, OrderHold, OrderState, OrderStatus } from '../domain/order.ts'
import { actorText } from './audit/actor.ts'
import { assertEntered, getOrderState, stateOf, withStepReached, type StateRow, type StepOutcome } from './order.ts'
import { retrying, statement, type Database } from './connection/pool.ts'

/** One fact about one output, in the watcher's canonical form. */
export type Observation = {
  /** Hex SHA-256 of network, tx, output, state, block hash and seq. */
  reportId: string
  network: string
  asset: Asset
  txId: string
  outputIndex: number
  /** Counted by the watcher per output; the highest is the present view. */
  seq: number
  state: TransferState
  address: string
  amount: bigint
  blockHeight: bigint | undefined
  blockHash: string | undefined
  firstSeenAt: Date
}

const RECORD = statement('report_record', 'select record_report($1, $2::jsonb, $3) as fresh')

/**
 * Takes a verified report into the inbox, extends holds that were paid in time and asks the workflows to look again:
 * one transaction. Facts already known change nothing.
 * @returns how many facts were new
 */
export async function recordReport(
  database: Pick<Database, 'run'>,
  source: string,
  observations: readonly Observation[],
  call: { deadline?: number; origin?: Omit<Actor, 'actor' | 'role'> } = {},
): Promise<number> {
  const by: Actor = { actor: `watcher:${source}`, role: 'watcher', ...call.origin }
  const facts = JSON.stringify(observations.map(rowOf))
  const values = [source, facts, actorText(by)]
  const [row] = await retrying(() => database.run<{ fresh: number }>(RECORD, values), call.deadline)
  return row?.fresh ?? 0
}

const rowOf = (fact: Observation) => ({
  report_id: fact.reportId,
  network: fact.network,
  asset: fact.asset,
  tx_id: fact.txId,
  output_index: fact.outputIndex,
  seq: fact.seq,
  state: fact.state,
  address: fact.address,
  amount: fact.amount.toString(),
  block_height: fact.blockHeight?.toString() ?? null,
  block_hash: fact.blockHash ?? null,
  first_seen_at: fact.firstSeenAt.toISOString(),
})

type Begun = {
  outcome: StepOutcome
  /** How many outputs had news; 0: there is nothing to decide. */
  outputs: number
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
  is_late: boolean
  is_reorged: boolean
  is_replaced: boolean
  has_wrong_asset: boolean
  has_early: boolean
}

// Order lock, fence and credit; then, in the same transaction, what it means and the order's state.
const BEGIN = statement('assess_begin', 'select * from begin_assessment($1, $2, $3)')
const END = statement('assess_end', 'select * from end_assessment($1, $2, $3, $4, $5, $6, $7, $8)')

/**
 * Reads what is new in the inbox of an order and brings payments and status in line: confirming, paid (and so to
 * processing with its holds committed), at risk, or late money of a closed order. At most 500 outputs at a time:
 * where `hasUnassessed` stays true there is more, and it is to be called again.
 * @throws {DomainError} STALE_RUN, NOT_FOUND
 */
export const assessPayments = (database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> =>
  assessInbox(database, fence.orderId, fence.generation, fence.step)

/** The same for an order that has ended, on behalf of its aftercare; an open order is its own workflow's. */
export const assessLatePayments = (database: Pick<Database, 'transaction'>, orderId: string): Promise<OrderState> =>
  assessInbox(database, orderId, null, null)

const assessInbox = (
  database: Pick<Database, 'transaction'>,
  orderId: string,
  generation: number | null,
  step: number | null,
): Promise<OrderState> =>
  database.transaction(async (tx) => {
    const [begun] = await tx.run<Begun>(BEGIN, [orderId, generation, step])
    assertEntered(begun?.outcome)
    if (begun?.outcome === 'repeated') return withStepReached(tx, orderId, await getOrderState(tx, orderId))
    if (begun === undefined || begun.outputs === 0) return getOrderState(tx, orderId)
    const { paymentState, flags, status, hold, refundDue } = decisionOf(assessedOrderOf(begun))
    const values = [orderId, generation, step, paymentState, flags, status, hold, refundDue.toString()]
    return stateOf(await tx.run<StateRow>(END, values))
  })

const assessedOrderOf = (begun: Begun): AssessedOrder => ({
  status: begun.status,
  paymentState: begun.payment_state,
  cancelReason: begun.cancel_reason,
  hold: begun.hold,
  flags: begun.flags,
  hasWrongAsset: begun.has_wrong_asset,
  hasEarly: begun.has_early,
  due: BigInt(begun.amount_due),
  dustFloor: BigInt(begun.dust_floor),
  totals: {
    seen: BigInt(begun.seen),
    final: BigInt(begun.final),
    lateSeen: BigInt(begun.late_seen),
    lateFinal: BigInt(begun.late_final),
    isLate: begun.is_late,
    isReorged: begun.is_reorged,
    isReplaced: begun.is_replaced,
  },
})
